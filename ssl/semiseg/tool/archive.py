"""A study in one file, for `semiseg export STUDY --archive FILE`."""

from pathlib import Path

from semiseg.care.archive import write_archive
from semiseg.care.held import open_store, spoken_size
from semiseg.outside import local_path


def export(
    study: Path,
    file: Path,
    *,
    weights: bool = True,
    store: str = "results/store",
    cache: Path = Path("results/cache"),
    wait_seconds: float = 60.0,
) -> None:
    """Write the archive of a results folder and say what is in it; `store`, `cache` and `wait_seconds` as in sweeps. Raises SettingError."""
    file = local_path(file, "archive")
    count, size = write_archive(study, file, open_store(store, cache, wait_seconds), weights=weights)
    print(f"{file}: {study.resolve().name}, {count} stages {'with' if weights else 'without'} weights, {spoken_size(size)}")
