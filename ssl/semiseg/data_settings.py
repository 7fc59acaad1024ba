"""Which images: the settings of a data set and of its splits, typed, validated, with their defaults."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from semiseg.refusals import require, require_choices

OF_MASKS = ("trimap",)
"""Fields of Data that say what masks hold."""
OF_ROWS = ("labelled", "unlabelled", "stratify", *OF_MASKS)
"""Fields of Data that a row of a table may change; all others are the whole study's."""


def is_count_or_share(number: float) -> bool:
    """Whether a number above 1 is a whole one."""
    return number < 1 or isinstance(number, int) or number.is_integer()


def captures(pattern: str) -> bool:
    """Whether a text is a regular expression with a group."""
    try:
        return re.compile(pattern).groups > 0
    except re.error:
        return False


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which images, which of them are labelled, at which size."""

    name: str = "synthetic"
    """Data set: a name in DATASETS."""
    root: Path | None = None
    """Folder of the data set on disk; `synthetic` needs none."""
    labelled: int | float | Literal["all"] | None = None
    """Labelled training images: a count (1 is one image), a share (1.0 is all of them) or "all"; None: the data set's default."""
    labelled_list: Path | None = None
    """Text file, an id a line, of the labelled training images of a published split, of which `labelled` None takes all and a
    smaller number some; a name of a volume or group (a patient) stands for its images. In place of a list that the data set has."""
    stratify: str = "none"
    """What labelled subsets hold in the shares of all training images: "class" (balanced occurrence of classes), an attribute that
    the data set knows (breed of oxford_pets), or a regular expression whose first group in an id is one; "none": drawn at random."""
    unlabelled: int | float | Literal["all"] = "all"
    """Training images without labels that are trained on: a count, a share, or "all"; with 0 training images are the labelled
    ones."""
    size: tuple[int, int] | Literal["native"] | None = None
    """Height and width in pixels to which images are resized once; "native" keeps each file's; None: the data set's default."""
    selection: int | float = 0.1
    """Images (count, or share below 1) carved out of training to choose weights when the data set has no third split."""
    split_seed: int = 0
    """Draws the labelled and unlabelled subsets and the carved selection split; never depends on the training seed."""
    labelled_seed: int | None = None
    """Draws the labelled subset alone; None: split_seed."""
    variant: tuple[str, ...] = ()
    """Choices that the data set offers under names, such as border_ignored of oxford_pets or ego_black of cityscapes."""
    trimap: Literal["border_is_pet", "border_ignored", "three_classes"] | None = None
    """What the border in masks of oxford_pets is: pet, ignored, or a class; None: ignored with variant border_ignored, else pet.
    A row that says so learns such masks and is scored on those of the study."""
    download: bool = False
    """Fetch what is missing under `root` with torchvision, for data sets that it can fetch."""
    classes: tuple[str, ...] = ()
    """Names of class ids 0, 1, ...; empty: what the data set says (`folder` reads classes.txt or the masks)."""
    channels: int | None = None
    """Of images, for `folder`: 1 keeps grey as one channel, 3 repeats it, another number has to be that of the files; None: what
    the files have, of 8-bit grey 3."""
    groups: str = ""
    """Regular expression, for `folder`: its first group in an image's name is what the image belongs to (patient, film, tile)."""
    normalise: Literal["none", "dataset", "zscore", "percentile", "minmax", "window"] | None = None
    """What becomes of stored values before a network sees them: "dataset" takes the type's whole range to 0..1, then subtracts the
    mean of the training images and divides by their deviation, "none" the former alone; the others take (low, high) of each channel
    to 0..1, clip, and then do as "dataset". None: what the data set says, else "dataset" for 8 bits and min-max over the data set."""
    normalise_over: Literal["image", "group", "dataset"] = "image"
    """Of which pixels zscore, percentile and minmax are: of the image, of its group (a patient), or of all training images."""
    percentiles: tuple[float, float] = (1, 99)
    """Low and high of `normalise` "percentile"."""
    window: tuple[float, float] | None = None
    """Low and high of `normalise` "window", in the files' units (CT: -160 240)."""

    def __post_init__(self) -> None:
        require_choices(self, "data")
        if self.labelled == 1 and isinstance(self.labelled, float):
            object.__setattr__(self, "labelled", "all")  # equal numbers are equal settings, but 1 is one image
        if isinstance(self.labelled, int | float):
            allowed = "a count >= 1, a share in (0, 1], where 1.0 is all and 1 is one image, or 'all'"
            require(self.labelled > 0 and is_count_or_share(self.labelled), "data.labelled", self.labelled, allowed)
        if self.unlabelled == 1 and isinstance(self.unlabelled, float):
            object.__setattr__(self, "unlabelled", "all")
        if isinstance(self.unlabelled, int | float):
            allowed = "a count or a share in [0, 1], where 1.0 is all and 1 is one image, or 'all'"
            require(self.unlabelled >= 0 and is_count_or_share(self.unlabelled), "data.unlabelled", self.unlabelled, allowed)
        require(bool(self.stratify), "data.stratify", self.stratify, "none, class, an attribute or a regular expression")
        trimaps = ("border_is_pet", "border_ignored", "three_classes", None)
        require(self.trimap in trimaps, "data.trimap", self.trimap, ", ".join(map(str, trimaps)))
        if isinstance(self.size, tuple):
            require(min(self.size) >= 8, "data.size", self.size, "height and width of at least 8 pixels, or 'native'")
        share_of_all = isinstance(self.selection, float) and self.selection == 1
        possible = self.selection > 0 and is_count_or_share(self.selection) and not share_of_all
        require(possible, "data.selection", self.selection, "a count >= 1 or a share in (0, 1)")
        require(self.split_seed >= 0, "data.split_seed", self.split_seed, "a whole number >= 0")
        require((self.labelled_seed or 0) >= 0, "data.labelled_seed", self.labelled_seed, "a whole number >= 0, or None")
        require(len(set(self.classes)) == len(self.classes), "data.classes", self.classes, "distinct names")
        require(self.channels is None or self.channels >= 1, "data.channels", self.channels, "a whole number >= 1")
        require(not self.groups or captures(self.groups), "data.groups", self.groups, "a regular expression with a group ( )")
        self.check_normalise()

    def check_normalise(self) -> None:
        """Raise SettingError for a normalisation that cannot be, and for settings that only another one has a use for."""
        kinds = ("none", "dataset", "zscore", "percentile", "minmax", "window", None)  # None hides them from require_choices
        require(self.normalise in kinds, "data.normalise", self.normalise, ", ".join(map(str, kinds)))
        scoped = self.normalise in ("zscore", "percentile", "minmax") or self.normalise_over == "image"
        require(scoped, "data.normalise_over", self.normalise_over, "with data.normalise zscore, percentile or minmax")
        low, high = self.percentiles
        require(0 <= low < high <= 100, "data.percentiles", self.percentiles, "two numbers, 0 <= low < high <= 100")
        used = self.normalise == "percentile" or (low, high) == (1, 99)
        require(used, "data.percentiles", self.percentiles, "with data.normalise percentile")
        given = (self.window is not None) == (self.normalise == "window")
        require(given, "data.window", self.window, "two numbers with data.normalise window, else none")
        if self.window is not None:
            low, high = self.window
            require(-1e30 < low < high < 1e30, "data.window", self.window, "two numbers, low < high")
