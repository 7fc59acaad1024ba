"""Which settings are best, and which of them matter, judging from one results folder of a search?

Reads `results/<study>/` (search.journal, and best.json and search.json when the search has finished), writes `report.html` into it
and prints the page's path. Takes a few seconds; needs neither torch nor ray. A search does the same when it ends or is stopped.

    python analysis/search_report.py results/search_three_stage
"""

import argparse
import sys
from pathlib import Path

from semiseg.search.folder import read_search
from semiseg.search.report import write_search_report


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 written, 2 a folder that cannot be read or written (one line says what)."""
    parser = argparse.ArgumentParser(description="Write the report of one search.")
    parser.add_argument("folder", type=Path, help="results folder of the search, such as results/search_three_stage")
    folder = parser.parse_args(arguments).folder
    try:
        read_search(folder)  # a ValueError after this is a mistake in the report, not in the folder, and keeps its traceback
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        page = write_search_report(folder)
    except OSError as error:
        print(f"{folder}: cannot be written: {error}", file=sys.stderr)
        return 2
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
