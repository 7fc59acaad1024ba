"""Settings of data, network and training: frozen, typed, validated, and the only home of their defaults.

A value that cannot be used raises `SettingError`, one line that names the field, the value and what is allowed.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints


class SettingError(Exception):
    """Unusable arguments or data, found before anything trains; the command line exits with status 2.

    No ValueError, which tyro would turn into a box of several lines that hides the field.
    """


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise `SettingError` naming the field, its value and what is allowed, unless `condition` holds."""
    if not condition:
        raise SettingError(f"{name}: got {value!r}; allowed: {allowed}")


def require_choices(settings: Any, prefix: str) -> None:
    """Raise SettingError for a field annotated as a Literal that holds another value; scripts have no parser to guard them."""
    for name, hint in get_type_hints(type(settings)).items():
        if get_origin(hint) is Literal:
            value = getattr(settings, name)
            require(value in get_args(hint), f"{prefix}.{name}", value, ", ".join(map(str, get_args(hint))))


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which images, which of them are labelled, at which size."""

    name: str = "synthetic"
    """Data set: a name in DATASETS."""
    root: Path | None = None
    """Folder of the data set on disk; `synthetic` needs none."""
    labelled: int | float | Literal["all"] | None = None
    """Labelled training images: a count (1 or more), a share (below 1) or "all"; None: the data set's own default."""
    size: tuple[int, int] | Literal["native"] | None = None
    """Height and width in pixels to which images are resized once; "native" keeps each file's; None: the data set's default."""
    selection: int | float = 0.1
    """Images (count, or share below 1) carved out of training to choose weights when the data set has no third split."""
    split_seed: int = 0
    """Draws the labelled subset and the carved selection split; never depends on the training seed."""
    variant: tuple[str, ...] = ()
    """Choices that the data set offers under names, such as border_ignored of oxford_pets or ego_black of cityscapes."""
    download: bool = False
    """Fetch what is missing under `root` with torchvision, for data sets that it can fetch."""
    classes: tuple[str, ...] = ()
    """Names of class ids 0, 1, ...; empty: what the data set says (`folder` reads classes.txt or the masks)."""

    def __post_init__(self) -> None:
        if isinstance(self.labelled, int | float):
            whole = self.labelled < 1 or float(self.labelled).is_integer()
            require(self.labelled > 0 and whole, "data.labelled", self.labelled, "a count >= 1, a share in (0, 1) or 'all'")
        if isinstance(self.size, tuple):
            require(min(self.size) >= 8, "data.size", self.size, "height and width of at least 8 pixels, or 'native'")
        require(self.selection > 0, "data.selection", self.selection, "a count >= 1 or a share in (0, 1)")
        require(len(set(self.classes)) == len(self.classes), "data.classes", self.classes, "distinct names")


@dataclass(frozen=True, kw_only=True)
class Net:
    """Which network."""

    name: str = "unet"
    """A name in NETS, or FILE.py:FUNCTION for a network of your own (`semiseg.nets.own`)."""
    width: int = 8
    """Channels of the first level, of wide_resnet the first group; doubled at every further one (grubisic2021 on CIFAR-10: 32)."""
    depth: int = 3
    """Levels of unet, so depth - 1 poolings (pets_mean_teacher: depth 3, width 64); of wide_resnet blocks in a group
    (grubisic2021: 4)."""
    outputs: Literal["classes", "one"] = "classes"
    """A logit per class, or one for both of two classes behind a sigmoid (perone2018)."""
    weights: str = ""
    """What the student starts from: "imagenet" (torchvision's ResNet, of deeplabv2 and swiftnet), a file of weights; empty:
    random."""
    frozen_norm: bool = False
    """BatchNorm keeps its initial statistics and factors (ke2020's code)."""
    aspp_branches: Literal[2, 4] = 4
    """Of deeplabv2: dilations 6, 12, 18, 24 are summed, or by a slip in many published codes only 6 and 12."""
    caffe_stride: bool = False
    """Of deeplabv2: a bottleneck halves the resolution in its first 1x1 convolution (ke2020's code), not in its 3x3 one."""
    aux_width: Literal["full", "half"] = "full"
    """Of deeplabv2: channels of the auxiliary branch's own conv5x against f's (ke2020's code: half)."""
    aux_init: Literal["same", "normal"] = "same"
    """Of deeplabv2: the branch's own convolutions start like f's, or from N(0, 0.01) (ke2020's code)."""
    aux_dummy: bool = False
    """Of deeplabv2: the branch has one more output, of a class that never occurs (ke2020's code)."""
    digest: str = ""
    """sha256 of the files that `name` and `weights` mean; found by the tool, so that keys depend on contents and not on places."""
    dropout: float = 0.0
    """Share dropped in training: channels after each convolution of unet (perone2018: 0.5), values inside a block of
    wide_resnet."""

    def __post_init__(self) -> None:
        require_choices(self, "net")
        require(self.width >= 1, "net.width", self.width, "a whole number >= 1")
        require(1 <= self.depth <= 6, "net.depth", self.depth, "a whole number in 1..6")
        require(0 <= self.dropout < 1, "net.dropout", self.dropout, "a share in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class Train:
    """How one stage is trained."""

    steps: int = 400
    """Optimiser steps of every stage (ke2020: 60,000)."""
    batch_labelled: int = 2
    """Labelled images in a semi-supervised mini-batch (ke2020: 1 of 5)."""
    batch_unlabelled: int = 6
    """Unlabelled images in it; a supervised stage takes labelled images in their place, so all stages see as many."""
    learning_rate: float = 1e-3
    """Of Adam (pets_mean_teacher, training from random weights; ke2020 fine-tunes a pretrained network with 3e-5)."""
    optimiser: Literal["adam", "sgd"] = "adam"
    """Adam (pets_mean_teacher, perone2018, grubisic2021, ke2020) or SGD (feng2020_dmt)."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of Adam (grubisic2021: 0.9, 0.99); the first one is the momentum of SGD (feng2020_dmt: 0.9)."""
    decay: Literal["constant", "cosine", "quarter_cosine", "poly", "multistep"] = "cosine"
    """Learning-rate schedule over a stage (pets_mean_teacher, ke2020: constant; grubisic2021: a quarter of a cosine, on CIFAR-10
    multistep, a factor of 0.2 at 0.3, 0.6 and 0.8 of it; feng2020_dmt: (1 - t)^0.9)."""
    weight_decay: float = 0.0
    """L2 factor of the optimiser."""
    backbone_rate: float = 1.0
    """Factor of the learning rate of a network's backbone (grubisic2021: 0.25, ke2020: 0.1); networks without one have no use for
    it."""
    backbone_decay: float = 1.0
    """Factor of its weight decay (grubisic2021: 0.25)."""
    warmup: float = 0.0
    """Share of a stage in which the learning rate rises exponentially, before `decay` begins (perone2018: 50 of 350 epochs)."""
    crop: tuple[int, int] | None = None
    """Height and width of training crops in pixels; None: the whole image (data.size)."""
    scale: tuple[float, float] = (0.75, 1.25)
    """Range of the weak augmentation's random scale, uniform (ke2020 on VOC: 0.5..1.5)."""
    scale_law: Literal["uniform", "log_uniform"] = "uniform"
    """How the random scale is drawn from its range (grubisic2021: log_uniform)."""
    flip: float = 0.5
    """Probability of the weak augmentation's horizontal flip."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the networks; auto takes bf16 autocast where the device is faster with it."""
    evaluations: int = 8
    """Times the selection images are scored during a stage, evenly spaced, the last one at its end."""
    weights: Literal["best", "last"] = "best"
    """Which weights are reported on test: best on the selection images, or those of the last step."""
    score: str = "miou"
    """Metric over all classes that chooses weights on the selection images and is reported on test: a name in metrics.METRICS."""
    threshold: float = 0.5
    """With two classes: the probability above which a pixel is of class 1 (perone2018's code: 0.9)."""
    empty_images: Literal["skip", "zero", "one"] = "skip"
    """What an image counts in an average over images that has a class neither in its mask nor predicted (perone2018's code:
    zero)."""

    def __post_init__(self) -> None:
        require_choices(self, "train")
        for name in ("batch_labelled", "evaluations"):
            require(getattr(self, name) >= 1, f"train.{name}", getattr(self, name), "a whole number >= 1")
        for name in ("steps", "batch_unlabelled"):  # a stage of no steps hands on the weights it starts from
            require(getattr(self, name) >= 0, f"train.{name}", getattr(self, name), "a whole number >= 0")
        require(0 < self.learning_rate < math.inf, "train.learning_rate", self.learning_rate, "a number > 0")
        for name in ("weight_decay", "backbone_rate", "backbone_decay"):
            require(0 <= getattr(self, name) < math.inf, f"train.{name}", getattr(self, name), "a number >= 0")
        require(0 <= self.warmup < 1, "train.warmup", self.warmup, "a share in [0, 1)")
        require(all(0 <= beta < 1 for beta in self.betas), "train.betas", self.betas, "two numbers in [0, 1)")
        require(0 < self.threshold < 1, "train.threshold", self.threshold, "a probability in (0, 1)")
        require(0 <= self.flip <= 1, "train.flip", self.flip, "a probability in [0, 1]")
        low, high = self.scale
        require(0 < low <= high, "train.scale", self.scale, "two numbers, 0 < low <= high")
        if self.crop is not None:
            require(min(self.crop) >= 8, "train.crop", self.crop, "height and width of at least 8 pixels")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Data, network and training of one study, without its method."""

    data: Data = field(default_factory=Data)
    net: Net = field(default_factory=Net)
    train: Train = field(default_factory=Train)
