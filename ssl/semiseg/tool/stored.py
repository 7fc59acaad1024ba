"""Where commands find finished stages and studies."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from semiseg.care.held import open_store
from semiseg.care.references import is_study
from semiseg.config import require
from semiseg.outside import local_path, store_location
from semiseg.store import Store

RESULTS = Path("results")
"""Where the studies of bare names are."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Which store, as in sweeps."""

    store: str = "results/store"
    """Finished stages: a folder or a URI of pyarrow.fs such as s3://bucket/store."""
    cache: Path = Path("results/cache")
    """Where what a URI holds is kept on this machine."""
    wait_seconds: float = 60.0
    """For how long an answer of a remote store is awaited."""

    def open(self, *, new: bool = False, say: Callable[[str], None] = print) -> Store:
        """The store; with `new` one that may begin here. SettingError for a folder that is none."""
        require(0 < self.wait_seconds < math.inf, "wait_seconds", self.wait_seconds, "a number > 0")
        if not new:
            return open_store(self.store, self.cache, self.wait_seconds, say)
        return Store(store_location(self.store), local_path(self.cache, "cache") / "mirror", limit=self.wait_seconds, say=say)


def results_named(word: str, places: Iterable[Path] = (RESULTS,)) -> Path | None:
    """The results folder, of a search too, that a word means: a path, or a name below one of the places; None where there is none."""
    for folder in (Path(word).expanduser(), *(place / word for place in places)):
        if word and folder.is_dir() and is_study(path.name for path in folder.iterdir()):
            return folder
    return None
