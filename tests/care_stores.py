"""Stores and studies of made-up stages: nothing is trained. Not a test module."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semiseg.results import write_table
from semiseg.stage import hash_of
from semiseg.store import Store


def settings_of(number: int, teachers: Sequence[str] = (), **changes: Any) -> dict[str, Any]:
    return {"format": 2, "number": 1, "seed": number, "train": {"steps": 10, "rate": 0.5}, "teachers": list(teachers)} | changes


def make_stage(store: Store, settings: Mapping[str, Any], weights: bytes = b"w" * 64) -> str:
    """Publish a stage of these settings; its key."""
    key = hash_of(settings)

    def write(folder: Path) -> None:
        (folder / "weights.safetensors").write_bytes(weights)
        (folder / "metrics.parquet").write_bytes(b"numbers of " + key.encode())

    store.publish(
        key, write, {"name": f"s{settings['number']}", "settings": dict(settings), "teachers": settings["teachers"], "ended": 0.0}
    )
    return key


def make_results(folder: Path, chains: Mapping[str, Sequence[str]], state: str = "done") -> None:
    """rows.parquet and stages.parquet of rows with these keys."""
    rows = [
        {"row": row, "seed": 0, "position": place, "stage": f"s{place}", "key": key, "final": place == len(chain)}
        for row, chain in chains.items()
        for place, key in enumerate(chain, 1)
    ]
    blank = dict.fromkeys(("seconds", "images_per_second", "device", "chosen_step", "started", "ended"))
    texts = {"name": "s1", "error": "", "evaluated": "student", "precision": "fp32", "state": state}
    stages = [
        {"key": key, "number": 1, "seed": 0, "steps": 10, "teachers": []} | texts | blank
        for key in sorted({key for chain in chains.values() for key in chain})
    ]
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder, "rows", rows)
    write_table(folder, "stages", stages)
