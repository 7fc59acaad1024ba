"""What a stage takes from its teacher stages: pseudo-masks with their confidences, and weights to start from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from semiseg.data.pack import Pack
from semiseg.evaluate import predict
from semiseg.methods.rule import Rule
from semiseg.nets import BlockNet, MultiTask, build
from semiseg.stage import Stage, stream


@dataclass(frozen=True)
class Learned:
    """What a stage takes from its teacher stages; None where its rule asks for nothing."""

    masks: Mapping[int, np.ndarray] | None = None
    """Pseudo-mask (H,W) uint8 of every training image by its row in the pack."""
    confidences: Mapping[int, np.ndarray] | None = None
    """Probability of the pseudo-mask's class by row, (H,W) uint16, 65535 for 1."""
    initial: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Weights that trained networks start from, by role."""


def blank(rule: Rule, pack: Pack, rows: np.ndarray) -> Learned:
    """What costs a step as much as the real thing where only time is measured: class 0 everywhere, with probability 0."""
    wanted = rule.needs.masks
    if wanted is None:
        return Learned()
    sizes = {row: (pack.heights[row], pack.widths[row]) for row in rows.tolist()}
    confidences = {row: np.zeros(size, np.uint16) for row, size in sizes.items()} if wanted.confidences else None
    return Learned({row: np.zeros(size, np.uint8) for row, size in sizes.items()}, confidences)


def network(stage: Stage, pack: Pack, device: torch.device, role: str = "student") -> BlockNet | MultiTask:
    """The stage's network of a role with its initial weights, on the device; other roles than the student begin with other ones."""
    net = build(
        stage.net,
        len(pack.classes),
        mean=tuple(float(value) for value in pack.mean),
        std=tuple(float(value) for value in pack.std),
        seed=stream(stage.seed, "init" if role == "student" else f"init {role}", stage.number),
        own=stage.rule.own_blocks,
    )
    net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return net.to(device)


def load_role(net: torch.nn.Module, weights: Mapping[str, Tensor], prefix: str) -> None:
    """Load the entries of `weights` that start with `prefix` into the network, strictly."""
    net.load_state_dict({name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)})


def pseudo_masks(
    stage: Stage, weights: Mapping[str, Tensor], prefix: str, pack: Pack, rows: np.ndarray, device: torch.device
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Masks (H,W) uint8, the argmax of a finished stage's network on whole unaugmented images, with their probability (H,W) uint16.

    Of ke2020 y^ and y~, of feng2020_dmt y and c; 65535 stands for probability 1.
    """
    net = network(stage, pack, device)
    load_role(net, weights, prefix)
    for row, probs in predict(net, pack, rows, stage.train, batch=16, device=device):
        confidence, mask = probs.max(0)
        yield whole(mask, pack, row), whole((confidence * 65535).round().int(), pack, row).astype(np.uint16)


def whole(mask: Tensor, pack: Pack, row: int) -> np.ndarray:
    """A predicted map as (H,W) int64 or, up to 255, uint8 of its image's size; the class of a whole image is repeated."""
    found = mask.cpu().numpy() if mask.dtype == torch.int32 else mask.to("cpu", torch.uint8).numpy()
    return np.ascontiguousarray(np.broadcast_to(found, (int(pack.heights[row]), int(pack.widths[row]))))


def write_masks(path: Path, ids: list[str], masks: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Masks (H,W) uint8 with their confidences (H,W) uint16 by image id as an Arrow file, compressed."""
    table = pa.table(
        {
            "id": ids,
            "height": pa.array([mask.shape[0] for mask, _ in masks], pa.int32()),
            "width": pa.array([mask.shape[1] for mask, _ in masks], pa.int32()),
            "mask": pa.array([mask.tobytes() for mask, _ in masks], pa.binary()),
            "confidence": pa.array([confidence.tobytes() for _, confidence in masks], pa.binary()),
        }
    )
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)


def read_masks(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What `write_masks` wrote, by image id."""
    with pa.OSFile(str(path), "rb") as source:
        lines = pa.ipc.open_file(source).read_all().to_pylist()
    return {
        line["id"]: (
            np.frombuffer(line["mask"], np.uint8).reshape(line["height"], line["width"]),
            np.frombuffer(line["confidence"], np.uint16).reshape(line["height"], line["width"]),
        )
        for line in lines
    }
