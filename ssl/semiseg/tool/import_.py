"""Take in a study that `semiseg export STUDY --archive FILE` wrote: the same command then trains nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from semiseg.care.archive import read_archive
from semiseg.config import require
from semiseg.outside import local_path
from semiseg.sweep.bench import DONE
from semiseg.sweep.command import guarded
from semiseg.sweep.words import read_words
from semiseg.tool.stored import Stored


@dataclass(frozen=True, kw_only=True)
class Import(Stored):
    """Arguments of import."""

    file: tyro.conf.Positional[Path] = Path()
    """The archive."""
    out: Path | None = None
    """Results folder; None: results/STUDY."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done; 1 a disk is full; 2 no archive, a damaged one, or a folder with other results."""

    def run(words: list[str]) -> int:
        a = read_words(Import, Import(), words, __doc__ or "")
        require(a.file != Path(), "import", "nothing", "a file that `semiseg export STUDY --archive` wrote")
        store = a.open(new=True)
        found = read_archive(local_path(a.file, "import"), store, None if a.out is None else local_path(a.out, "out"))
        weights = "" if found.weights else ", without weights"
        print(f"{found.folder}: {found.stages} stages, {found.new} of them new in {store.location}{weights}")
        print(f"report: {found.folder / 'report.html'}")
        return DONE

    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
