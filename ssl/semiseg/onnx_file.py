"""A network as an ONNX file, checked against onnxruntime; with the extra `onnx`."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from semiseg.config import SettingError
from semiseg.data.arrays import library
from semiseg.lazy import torch
from semiseg.model import Model
from semiseg.nets.weights import brief

if TYPE_CHECKING:
    from torch import nn

INPUT, OUTPUT = "image", "probabilities"
OPSET = 18
TRACED = (127, 255)
"""Height and width with which the graph is drawn: halves of them, rounded down, are odd six times, so that whatever is done for odd
sides is in it."""
TOLERANCE = 1e-4
"""Of probabilities."""
AXES = {0: "batch", 2: "height", 3: "width"}


class Agreement(NamedTuple):
    """The largest difference of probabilities from torch's, and the sizes (height, width) that were tried."""

    difference: float
    sizes: tuple[tuple[int, int], ...]


def write_onnx(model: Model, file: Path, about: Mapping[str, str]) -> Agreement:
    """Write the network as a graph from images (N,C_in,H,W) float32 in [0,1], of any size, to probabilities (N,C,H,W).

    Standardisation and softmax are in it; `about` becomes its metadata. SettingError, one line, for a network without such a graph,
    and for a graph that differs from torch by more than TOLERANCE and by more than twice what torch differs from float64: the
    file appears when it has passed.
    """
    onnx = library("onnx", "onnx", f"onnx: got {str(file)!r}")
    library("onnxruntime", "onnx", f"onnx: got {str(file)!r}")
    from semiseg.nets.around import Probabilities

    network = Probabilities(model.network.to("cpu")).eval()
    example = torch.rand((2, model.network.mean.shape[1], *TRACED), generator=torch.Generator().manual_seed(0))
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.part")
    try:
        try:
            with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
                warnings.simplefilter("ignore")  # of what is fixed in a graph: it is tried with other sizes below
                torch.onnx.export(
                    network,
                    (example,),
                    str(aside),
                    dynamo=False,  # the newer exporter takes one way of every `if` about sizes, and only sizes that go it
                    opset_version=OPSET,
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    dynamic_axes={INPUT: AXES, OUTPUT: {0: "batch"} if model.network.image_level else AXES},
                )
        except Exception as error:  # noqa: BLE001  a network of one's own may do anything
            raise SettingError(f"onnx: {model.net.name} has no graph ({brief(error)}); allowed: another network") from None
        graph = onnx.load(str(aside))
        onnx.helper.set_model_props(graph, dict(about))
        onnx.save(graph, str(aside))
        checked = check(network, aside, sizes_for(model.train.crop))
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    return checked


def sizes_for(crop: tuple[int, int] | None) -> tuple[tuple[int, int], ...]:
    """That of training, and three about as large with odd sides."""
    height, width = crop or (64, 64)
    return (height, width), (height + 3 | 1, width + 10 | 1), (height + height // 2 | 1, width | 1), (height | 1, 2 * width + 1)


def check(network: nn.Module, file: Path, sizes: Sequence[tuple[int, int]]) -> Agreement:
    """Compare onnxruntime with torch on smooth images with noise. SettingError where it differs."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  onnxruntime's own kinds are of its binary
        raise SettingError(f"onnx: onnxruntime does not take the graph ({brief(error)}); allowed: another network") from None
    channels = session.get_inputs()[0].shape[1]
    worst = 0.0
    for number, size in enumerate(sizes):
        image = some_image(channels, size, number)
        with torch.inference_mode():
            wanted = network(torch.from_numpy(image)).numpy()
        found = ran(session, image, size)
        if found.shape != wanted.shape:
            raise SettingError(f"onnx: the graph gives {found.shape} for images of {size}, torch {wanted.shape}; allowed: the same")
        difference = float(abs(found - wanted).max())
        if not difference <= TOLERANCE:
            with torch.inference_mode():
                exact = copy.deepcopy(network).double()(torch.from_numpy(image).double()).numpy()
            allowed = max(TOLERANCE, 2 * float(abs(wanted - exact).max()))
            if not difference <= allowed:
                raise SettingError(
                    f"onnx: the graph differs from torch by {difference:.1e} for images of {size}; allowed: {allowed:.0e}"
                )
        worst = max(worst, difference)
    return Agreement(worst, tuple(sizes))


def ran(session: Any, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What onnxruntime makes of an image."""
    try:
        return session.run(None, {INPUT: image})[0]
    except Exception as error:  # noqa: BLE001  as above
        raise SettingError(
            f"onnx: the graph fails for images of {size} ({brief(error)}); allowed: a network for any size"
        ) from None


def some_image(channels: int, size: tuple[int, int], seed: int) -> np.ndarray:
    """Float32 (1,channels,*size) in [0,1]: waves and a little noise."""
    row, column = np.mgrid[: size[0], : size[1]]
    waves = [0.5 + 0.4 * np.sin(row / (5 + channel) + column / (9 + 2 * channel)) for channel in range(channels)]
    noise = np.random.default_rng(seed).uniform(-0.1, 0.1, (channels, *size))
    return (np.stack(waves) + noise).clip(0, 1).astype(np.float32)[None]
