"""Every metric by name: how it is called, its unit, which way is better, when it is computed. Imports no torch, so that a report can
read it; how each is computed: `semiseg.metrics.scores` of those that are always there, `semiseg.gauges.GAUGES` of the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from semiseg.config import Train, require

PER_IMAGE = " per image"
"""How labels of averages over images end."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a metric is. Its values are over all classes, and of a few of them by class too."""

    label: str
    """How reports call it."""
    unit: Literal["share", "distance"] = "share"
    """A fraction in [0, 1], which reports show in percent; or a length in pixels, or where the data say how large a pixel is in mm or units of a map."""
    better: Literal["higher", "lower"] = "higher"
    asked: bool = False
    """Whether it is computed only where `train.metrics` names it, once, at the end of a stage."""
    traced: bool = False
    """Whether curves have it whenever the selection images are scored, beside the score."""
    whole: bool = False
    """Whether it needs whole predicted masks, and so data with a mask per image."""
    library: str = ""
    """Package that it takes, of the extra of `EXTRAS`."""


METRICS: Mapping[str, Metric] = {
    "miou": Metric(label="mIoU", traced=True),
    "accuracy": Metric(label="accuracy", traced=True),
    "foreground_iou": Metric(label="foreground IoU", traced=True),
    "foreground_dice": Metric(label="foreground Dice"),
    "half_dice": Metric(label="Dice / 2 (printed as IOU in pets_mean_teacher)"),
    "image_miou": Metric(label=f"mIoU{PER_IMAGE}"),
    "image_iou": Metric(label=f"IoU{PER_IMAGE}"),
    "image_dice": Metric(label=f"Dice{PER_IMAGE}"),
    "image_accuracy": Metric(label=f"accuracy{PER_IMAGE}"),
    "image_precision": Metric(label=f"precision{PER_IMAGE}"),
    "image_recall": Metric(label=f"recall{PER_IMAGE}"),
    "image_specificity": Metric(label=f"specificity{PER_IMAGE}"),
    "volume_iou": Metric(label="IoU per volume"),
    "volume_dice": Metric(label="Dice per volume"),
    "boundary_iou": Metric(label="boundary IoU", asked=True, whole=True),
    "hd95": Metric(label="HD95", unit="distance", better="lower", asked=True, whole=True, library="monai"),
    "asd": Metric(label="surface distance", unit="distance", better="lower", asked=True, whole=True, library="monai"),
    "ece": Metric(label="calibration error", better="lower", asked=True),
}

EXTRAS: Mapping[str, str] = {"monai": "mri"}
"""The extra of the package that brings a library."""

ALWAYS: tuple[str, ...] = tuple(name for name, metric in METRICS.items() if not metric.asked)
"""Computed whenever images are scored."""

TRACED: tuple[str, ...] = tuple(name for name, metric in METRICS.items() if metric.traced)
"""In the curves of every stage."""

CHOOSING: tuple[str, ...] = tuple(name for name in ALWAYS if METRICS[name].better == "higher")
"""Those that can choose weights."""


def check_names(train: Train) -> None:
    """Raise SettingError for a score that cannot choose weights, for metrics that do not exist or whose library is not installed."""
    require(train.score in CHOOSING, "train.score", train.score, ", ".join(CHOOSING))
    for name in train.metrics:
        require(name in METRICS, "train.metrics", name, ", ".join(METRICS))
        library = METRICS[name].library
        allowed = f"metrics that need no {library}, or an installation of it: pip install -e '.[{EXTRAS.get(library)}]'"
        require(not library or find_spec(library) is not None, "train.metrics", name, allowed)


def described(name: str) -> Metric:
    """The metric of a name; one that this version does not know counts as a share that is better when higher."""
    return METRICS.get(name) or Metric(label=name.replace("_", " "))
