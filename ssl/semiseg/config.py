"""Settings of data, network and training: frozen, typed, validated, and the only home of their defaults.

A value that cannot be used raises `SettingError`, one line that names the field, the value and what is allowed.
"""

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from semiseg.data_settings import Data
from semiseg.refusals import SettingError, require, require_choices

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torchvision.models import WeightsEnum

__all__ = ["ALIGNED", "AS_BEFORE", "IN_KEYS", "Data", "Net", "SettingError", "Train", "Weak", "require", "require_choices"]

AS_BEFORE = "as_before"
"""Metadata of a field that was added when stages had been stored: the value under which they are still hits, as it is left out of keys.

    rot90: bool = field(default=True, metadata={AS_BEFORE: False})
"""
IN_KEYS = "in_keys"
"""Metadata of a field whose values were others when stages had been stored: value -> what stands for it in keys."""
ALIGNED = 32
"""Pixels of which windows and their places are multiples: the strides of all networks divide it."""


@dataclass(frozen=True, kw_only=True)
class Net(abc.ABC):
    """Which network, with the settings that all have; each one is a subclass with those that it has besides (`semiseg.nets`)."""

    name: str = ""
    """A name in NETS, smp:ARCHITECTURE, or FILE.py:FUNCTION for a network of your own (`semiseg.nets.own`)."""
    weights: str = ""
    """What the student starts from: "imagenet" (torchvision's ResNet of deeplabv2 and swiftnet, any encoder of smp:ARCHITECTURE), "lite0"
    (smp's encoder tf_efficientnet_lite0, from an installed package), a file of weights ("coco" asks for one); empty: random."""
    frozen_norm: bool = False
    """BatchNorm keeps its initial statistics and factors (ke2020's code)."""
    bn_momentum: float | None = field(default=None, metadata={AS_BEFORE: None})
    """Weight of a batch in BatchNorm's running statistics (perone2018's 0.9 is the weight of the statistics so far: 0.1 here); None:
    the network's own, 0.1 in most."""
    digest: str = ""
    """sha256 of what `name` and `weights` mean; found by the tool, so that keys depend on contents and not on places."""

    BACKBONE: ClassVar[tuple[str, ...]] = ()
    """Blocks that pretraining is for and whose learning rate and weight decay have factors; empty: no such blocks."""

    def __post_init__(self) -> None:
        require_choices(self, "net")
        self.check_name()
        if self.bn_momentum is not None:
            require(0 < self.bn_momentum <= 1, "net.bn_momentum", self.bn_momentum, "a weight in (0, 1], or None")
            require(
                not self.frozen_norm, "net.bn_momentum", self.bn_momentum, "None with net.frozen_norm, which gathers no statistics"
            )

    def check_name(self) -> None:
        """Raise SettingError for a name that is another network's; a network's own one is the default."""
        own = type(self).name
        require(self.name == own, "net.name", self.name, f"{own!r} for {type(self).__name__}")

    @abc.abstractmethod
    def blocks(self, classes: int, channels: int = 3) -> dict[str, "nn.Module"]:
        """The network's blocks by name in the order in which they run (`semiseg.nets.blocks`), with random weights.

        `channels` are those of the images.
        """

    def branch(
        self, classes: int, own: int, load: Callable[[dict[str, "nn.Module"]], None], channels: int = 3
    ) -> dict[str, "nn.Module"]:
        """The last `own` blocks of an auxiliary branch: the network's once more, unless it says otherwise.

        `load` gives all blocks of a network the weights that `weights` names.
        """
        again = self.blocks(classes, channels)
        load(again)
        return dict(list(again.items())[-own:])

    def encoder_blocks(self, blocks: Mapping[str, "nn.Module"]) -> int:
        """How many of its blocks, from the first one, are the encoder: all but the last one, unless the network says otherwise."""
        return len(blocks) - 1

    def pretrained(self) -> "WeightsEnum | None":
        """torchvision's weights of the encoder, which `weights` "imagenet" means; None: there are none."""
        return None

    def named_weights(self) -> "Mapping[str, Tensor] | None":
        """Tensors by the names of the library that the network is from, where `weights` names such and no file; None: it does not."""
        return None

    def statistics(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and deviation per channel by which images in [0,1] are standardised; None: those of the training images."""
        return None

    def backbone(self, blocks: Mapping[str, "nn.Module"]) -> tuple[str, ...]:
        """The names of BACKBONE, unless they depend on the settings."""
        return self.BACKBONE


@dataclass(frozen=True, kw_only=True)
class Weak:
    """The weak augmentation that labelled and unlabelled images get alike: scale, crop (`Train.crop`), turns and flips, rotation."""

    scale: tuple[float, float] = (0.75, 1.25)
    """Range of the random scale, uniform (ke2020 on VOC: 0.5..1.5)."""
    scale_law: Literal["uniform", "log_uniform"] = "uniform"
    """How the random scale is drawn from its range (grubisic2021: log_uniform)."""
    flip: float = 0.5
    """Probability of a horizontal flip."""
    vertical_flip: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    """Probability of a vertical flip."""
    rot90: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    """Probability of a turn by 90, 180 or 270 degrees, each as likely."""
    rotation: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    """Largest angle in degrees of a rotation about the crop's centre, either way, uniform (SSL4MIS: 20)."""
    either: float | None = field(default=None, metadata={AS_BEFORE: None})
    """None: flips, turns and rotation are drawn independently. A probability p: an image gets its flips and turns with p, otherwise
    with p its rotation (SSL4MIS: 0.5, with flip 1 and rot90 0.75)."""

    def __post_init__(self) -> None:
        require_choices(self, "train.weak")
        low, high = self.scale
        require(0 < low <= high < math.inf, "train.weak.scale", self.scale, "two numbers, 0 < low <= high")
        for name in ("flip", "vertical_flip", "rot90"):
            require(0 <= getattr(self, name) <= 1, f"train.weak.{name}", getattr(self, name), "a probability in [0, 1]")
        require(0 <= self.rotation <= 180, "train.weak.rotation", self.rotation, "degrees in [0, 180]")
        require(self.either is None or 0 < self.either <= 1, "train.weak.either", self.either, "a probability in (0, 1] or None")

    @property
    def turns(self) -> bool:
        """Whether it does more than scale, crop and flip horizontally."""
        return self.vertical_flip > 0 or self.rot90 > 0 or self.rotation > 0 or self.either is not None


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
    optimiser: Literal["adam", "sgd", "adamw"] = "adam"
    """Adam (pets_mean_teacher, perone2018, grubisic2021, ke2020), SGD (feng2020_dmt) or AdamW (Loshchilov & Hutter 2019), whose
    weight decay spares what has one axis or none: biases and factors of normalisation."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of Adam and AdamW (grubisic2021: 0.9, 0.99); the first one is the momentum of SGD (feng2020_dmt: 0.9)."""
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
    layer_decay: float = field(default=1.0, metadata={AS_BEFORE: 1.0})
    """Factor of the learning rate from each block of the backbone to the one before it; the last one has `backbone_rate`."""
    warmup: float = 0.0
    """Share of a stage in which the learning rate rises exponentially, before `decay` begins (perone2018: 50 of 350 epochs)."""
    crop: tuple[int, int] | None = None
    """Height and width of training crops in pixels; None: the whole image (data.size)."""
    weak: Weak = Weak()
    """Weak augmentation: how a crop is scaled, flipped and turned."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the networks; auto is bf16 autocast on GPUs that are faster with it, and fp32 on every CPU."""
    recompute_norm: int = field(default=0, metadata={AS_BEFORE: 0})
    """Mini-batches of training images over which the statistics of BatchNorm are averaged anew before each scoring; 0: those of
    training are scored."""
    evaluations: int = 8
    """Times the selection images are scored during a stage, evenly spaced, the last one at its end."""
    weights: Literal["best", "last"] = "best"
    """Which weights are reported on test: best on the selection images, or those of the last step."""
    score: str = "miou"
    """Metric over all classes that chooses weights on the selection images and is reported on test: a name in measures.CHOOSING."""
    threshold: float = 0.5
    """With two classes: the probability above which a pixel is of class 1 (perone2018's code: 0.9)."""
    empty_images: Literal["skip", "zero", "one"] = "skip"
    """What an image or volume counts in an average over them that has a class neither in its mask nor predicted (perone2018's code:
    zero)."""
    metrics: tuple[str, ...] = field(default=(), metadata={AS_BEFORE: ()})
    """Further metrics of `semiseg.measures.METRICS`, computed once, at the end, on selection and test; all that are named are in the
    report's second table."""
    sliding_window: tuple[int, int] | None = field(default=None, metadata={AS_BEFORE: None})
    """Height and width of the windows, multiples of 32, in which large images are scored and pseudo-labelled; None: whole."""
    window_overlap: int = field(default=64, metadata={AS_BEFORE: 64})
    """Pixels, a multiple of 32, that a window sees beyond those it decides, on each side but at the image's edge: what is decided is
    the same as with whole images where the network looks no further."""

    def __post_init__(self) -> None:
        require_choices(self, "train")
        for name in ("batch_labelled", "evaluations"):
            require(getattr(self, name) >= 1, f"train.{name}", getattr(self, name), "a whole number >= 1")
        for name in ("steps", "batch_unlabelled", "recompute_norm"):  # a stage of no steps hands on the weights it starts from
            require(getattr(self, name) >= 0, f"train.{name}", getattr(self, name), "a whole number >= 0")
        require(0 < self.learning_rate < math.inf, "train.learning_rate", self.learning_rate, "a number > 0")
        for name in ("weight_decay", "backbone_rate", "backbone_decay"):
            require(0 <= getattr(self, name) < math.inf, f"train.{name}", getattr(self, name), "a number >= 0")
        require(0 < self.layer_decay <= 1, "train.layer_decay", self.layer_decay, "a factor in (0, 1]")
        require(0 <= self.warmup < 1, "train.warmup", self.warmup, "a share in [0, 1)")
        require(all(0 <= beta < 1 for beta in self.betas), "train.betas", self.betas, "two numbers in [0, 1)")
        require(0 < self.threshold < 1, "train.threshold", self.threshold, "a probability in (0, 1)")
        if self.crop is not None:
            require(min(self.crop) >= 8, "train.crop", self.crop, "height and width of at least 8 pixels")
        require(len(set(self.metrics)) == len(self.metrics), "train.metrics", self.metrics, "distinct names")
        aligned = self.window_overlap >= 0 and self.window_overlap % ALIGNED == 0
        require(aligned, "train.window_overlap", self.window_overlap, f"a multiple of {ALIGNED}, or 0")
        if self.sliding_window is not None:
            allowed = f"height and width, multiples of {ALIGNED} above twice train.window_overlap ({2 * self.window_overlap})"
            fits = min(self.sliding_window) > 2 * self.window_overlap and not any(side % ALIGNED for side in self.sliding_window)
            require(fits, "train.sliding_window", self.sliding_window, allowed)
