"""Which parts of the method earn their place, judging from one results folder of an ablation?

Reads `results/<study>/` (study.json and the Parquet tables a sweep leaves), writes `report.html`, `table.md`, `table.tex`,
`table.csv`, `numbers.json` and `numbers.parquet` into it, and prints the table and the page's path. Takes about two seconds; needs neither torch nor ray. A sweep does
the same after every finished row.

    python analysis/ablation_report.py results/three_stage
    python analysis/ablation_report.py results/three_stage --report.axis epoch --report.sample-rows S1 full --report.figures svg
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

from semiseg.report import text_table, write_report
from semiseg.results import read
from semiseg.results.records import ReportOptions

AXES, FIGURES = (get_args(get_type_hints(ReportOptions)[name]) for name in ("axis", "figures"))


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 written, 2 a folder that cannot be read or written (one line says what)."""
    parser = argparse.ArgumentParser(description="Write the report of one ablation study.")
    parser.add_argument("folder", type=Path, help="results folder of the study, such as results/three_stage")
    parser.add_argument("--report.axis", dest="axis", choices=AXES, help="axis that training curves begin with (as the sweep said)")
    words = "rows of the sample pictures (as the sweep said, else the reference)"
    parser.add_argument("--report.sample-rows", dest="sample_rows", nargs="+", metavar="ROW", help=words)
    words = "write every figure into figures/ as such files (needs kaleido and a browser)"
    parser.add_argument("--report.figures", dest="figures", choices=FIGURES, help=words)
    found = vars(parser.parse_args(arguments))
    folder, given = found.pop("folder"), {name: value for name, value in found.items() if value is not None}
    try:
        results = read(folder)  # a ValueError after this is a mistake in the report, not in the folder, and keeps its traceback
        options = replace(
            results.study.report, **{name: tuple(one) if isinstance(one, list) else one for name, one in given.items()}
        )
        replace(results.study, report=options)  # refuses rows that are not there
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        page = write_report(folder, options)
    except OSError as error:
        print(f"{folder}: cannot be written: {error}", file=sys.stderr)
        return 2
    print(text_table(results))
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
