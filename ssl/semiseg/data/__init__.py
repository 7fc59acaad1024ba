"""Data sets: `load` decodes one into a pack once, `split` says which rows are labelled. Imports neither torch nor ray."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from semiseg.config import Data, SettingError, require
from semiseg.data import camvid, cifar10, folder, oxford_pets, scgm, synthetic
from semiseg.data.pack import Pack, open_pack
from semiseg.data.source import IGNORE, Item, Source
from semiseg.data.splits import Splits, split

__all__ = ["DATASETS", "IGNORE", "Item", "Pack", "Source", "Splits", "load", "split"]

DATASETS: dict[str, Callable[[Data], Source]] = {
    "synthetic": synthetic.synthetic,
    "folder": folder.folder,
    "camvid": camvid.camvid,
    "oxford_pets": oxford_pets.oxford_pets,
    "scgm": scgm.scgm,
    "cifar10": cifar10.cifar10,
}


def load(data: Data, cache: Path) -> Pack:
    """The images that `data` names, from the cache folder when they were decoded before. SettingError when they cannot be used."""
    require(data.name in DATASETS, "data.name", data.name, ", ".join(DATASETS))
    source = DATASETS[data.name](data)
    if data.classes and source.classes and data.classes != source.classes:
        if len(data.classes) != len(source.classes):
            count = len(source.classes)
            raise SettingError(f"data.classes: got {len(data.classes)} names; allowed: {count}, as {data.name} has {count} classes")
        source = replace(source, classes=data.classes)
    return open_pack(source, data.name, data.size, cache)
