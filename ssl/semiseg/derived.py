"""What follows from a finished stage's weights, in files beside them: made by who first needs it, then kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from semiseg.batches import unlabelled_rows
from semiseg.data.pack import Pack
from semiseg.data.splits import Splits
from semiseg.lazy import torch
from semiseg.pseudo import pseudo_masks
from semiseg.quality import Quality
from semiseg.stage import Stage
from semiseg.store import Store

if TYPE_CHECKING:
    from torch import Tensor

Read = TypeVar("Read")


def derived_name(what: str, prefix: str, kind: str) -> str:
    """Name of a file that the network made whose weights have the prefix."""
    return f"{what}-{prefix.rstrip('.').replace('.', '-')}.{kind}"


def derived(store: Store, stage: Stage, name: str, write: Callable[[Path], None], read: Callable[[Path], Read]) -> Read:
    """What the stage's file of the name holds; it is written if it is not there, or cannot be read."""
    try:
        return read(store.add(stage.key, name, write))
    except (OSError, ValueError, KeyError) as error:  # cut short by a crash or a full disk
        store.set_aside(store.folder(stage.key) / name, f"no {name.partition('-')[0]}: {type(error).__name__}")
        return read(store.add(stage.key, name, write))


def quality_of(
    stage: Stage, weights: Mapping[str, Tensor], prefix: str, pack: Pack, splits: Splits, store: Store, device: torch.device
) -> Quality:
    """Of the pseudo-masks of unlabelled images that the network made; they are predicted anew where the masks are older than this."""
    rows = unlabelled_rows(splits)

    def write(path: Path) -> None:
        quality = Quality(pack, rows)
        for _ in pseudo_masks(stage, weights, prefix, pack, rows, device, seen=quality.add):
            pass
        quality.write(path)

    return derived(store, stage, derived_name("quality", prefix, "json"), write, Quality(pack, rows).read)
