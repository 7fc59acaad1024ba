"""Which parts of the method earn their place, judging from one results folder of an ablation?

Reads `results/<study>/` (study.json and the Parquet tables a sweep leaves), writes `report.html`, `table.md`, `table.tex` and
`table.csv` into it, and prints the table and the page's path. Takes about two seconds; needs neither torch nor ray. A sweep does
the same after every finished row.

    python analysis/ablation_report.py results/three_stage
"""

import argparse
import sys
from pathlib import Path

from semiseg.report import text_table, write_report
from semiseg.results import read


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 written, 2 a folder that cannot be read or written (one line says what)."""
    parser = argparse.ArgumentParser(description="Write the report of one ablation study.")
    parser.add_argument("folder", type=Path, help="results folder of the study, such as results/three_stage")
    folder = parser.parse_args(arguments).folder
    try:
        results = read(folder)  # a ValueError after this is a mistake in the report, not in the folder, and keeps its traceback
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        page = write_report(folder)
    except OSError as error:
        print(f"{folder}: cannot be written: {error}", file=sys.stderr)
        return 2
    print(text_table(results))
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
