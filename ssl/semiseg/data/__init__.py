"""Data sets: `load` decodes one into a pack once, `split` says which rows are labelled. Imports neither torch nor ray."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

from semiseg.config import Data, SettingError, require
from semiseg.data import acdc, camvid, cifar10, cityscapes, folder, oxford_pets, scgm, synthetic, voc_aug
from semiseg.data.dataset import DataSet
from semiseg.data.download import download
from semiseg.data.labelled_list import listed_ids
from semiseg.data.normalise import normalisation_of
from semiseg.data.pack import Pack, open_pack
from semiseg.data.source import IGNORE, Item, Source
from semiseg.data.splits import Splits, split
from semiseg.data.strata import check_stratify
from semiseg.data.understood import findings, understood

__all__ = ["DATASETS", "IGNORE", "DataSet", "Item", "Pack", "Source", "Splits", "findings", "load", "split", "understood"]

DATASETS: Mapping[str, DataSet] = {
    "synthetic": synthetic.SYNTHETIC,
    "folder": folder.FOLDER,
    "camvid": camvid.CAMVID,
    "oxford_pets": oxford_pets.OXFORD_PETS,
    "scgm": scgm.SCGM,
    "cifar10": cifar10.CIFAR10,
    "cityscapes": cityscapes.CITYSCAPES,
    "voc_aug": voc_aug.VOC_AUG,
    "acdc": acdc.ACDC,
}


def load(data: Data, cache: Path) -> Pack:
    """The images that `data` names, from the cache folder when they were decoded before. SettingError when they cannot be used."""
    require(data.name in DATASETS, "data.name", data.name, ", ".join(DATASETS))
    check_variant(data)
    check_reads(data)
    if data.download:
        download(DATASETS, data)
    source = DATASETS[data.name].source(data)
    if data.classes and source.classes and data.classes != source.classes:
        if len(data.classes) != len(source.classes):
            count = len(source.classes)
            raise SettingError(f"data.classes: got {len(data.classes)} names; allowed: {count}, as {data.name} has {count} classes")
        source = replace(source, classes=data.classes)
    check_stratify(data.stratify, [*source.attributes])
    if data.labelled_list is not None:
        source = replace(source, listed=listed_ids(data.labelled_list, source))
    source = replace(source, attributes={name: of for name, of in source.attributes.items() if name == data.stratify})
    pack = open_pack(source, data.name, data.size, cache, normalisation_of(data))
    require(data.channels in (None, pack.channels), "data.channels", data.channels, f"{pack.channels}, as these images have")
    return pack


def check_variant(data: Data) -> None:
    """Raise SettingError for a variant that the data set does not have, one named twice, and two ways to split."""
    known = DATASETS[data.name].variants
    allowed = f"of {', '.join(known)}" if known else f"none, as {data.name} has no variants"
    require(set(data.variant) <= set(known), "data.variant", data.variant, allowed)
    require(len(set(data.variant)) == len(data.variant), "data.variant", data.variant, "each name once")
    splits = [name for name in data.variant if name.startswith("split_")]
    require(len(splits) <= 1, "data.variant", data.variant, f"one of {', '.join(splits)}")


def check_reads(data: Data) -> None:
    """Raise SettingError for a setting that is of no use to the data set."""
    defaults = {each.name: each.default for each in fields(Data)}
    for name in sorted({name for entry in DATASETS.values() for name in entry.reads} - set(DATASETS[data.name].reads)):
        users = ", ".join(each for each, entry in DATASETS.items() if name in entry.reads)
        require(getattr(data, name) == defaults[name], f"data.{name}", getattr(data, name), f"for {users}")
