"""Do rows of the same name do as well in several studies, and which is best over data sets? Several results folders side by side.

Rows are matched by name. Each folder is compared with the first one: paired by seed where both have the same data and share seeds
that draw the same, otherwise with Welch's interval, which the table says. Rows that all folders have are ranked in each; with three
folders and three rows or more Friedman's test says whether the ranks are more than chance. Prints the tables and, with `--out`,
writes `studies.txt`, `studies.md` and `studies.csv`. Takes about two seconds; needs neither torch nor ray.

    python analysis/compare_studies.py results/three_stage results/another_study --out results/compared
"""

import argparse
import sys
from pathlib import Path

from semiseg.report.across import across, across_csv, across_markdown, across_text
from semiseg.results import read, write_bytes


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 written, 2 a folder that cannot be read, compared or written (one line says what)."""
    parser = argparse.ArgumentParser(description="Several results folders side by side.")
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="FOLDER", help="results folders, the first is what others are compared with"
    )
    parser.add_argument("--out", type=Path, help="folder for studies.txt, studies.md and studies.csv")
    found = parser.parse_args(arguments)
    try:
        if len(found.folders) < 2:
            raise ValueError(f"FOLDER: got {len(found.folders)} folder; allowed: two or more")
        made = across([read(folder) for folder in found.folders])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(across_text(made), end="")
    if found.out is None:
        return 0
    written = {"studies.txt": across_text(made), "studies.md": across_markdown(made), "studies.csv": across_csv(made)}
    try:
        for name, text in written.items():
            write_bytes(found.out / name, text.encode())
    except OSError as error:
        print(f"{found.out}: cannot be written: {error}", file=sys.stderr)
        return 2
    print(found.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
