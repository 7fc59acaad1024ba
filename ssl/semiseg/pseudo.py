"""What a stage takes from its teacher stages: pseudo-masks with their confidences, and weights to start from."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from semiseg.data.pack import Pack
from semiseg.evaluate import Place, Tile, predict, spread_over
from semiseg.lazy import torch
from semiseg.methods.rule import Masks, Rule
from semiseg.nets import build
from semiseg.stage import Stage, stream

if TYPE_CHECKING:
    from torch import Tensor

    from semiseg.nets import BlockNet, MultiTask

KIND = "pseudo-masks 1"
"""What the first line of a file of pseudo-masks says that it is."""
LINE = 64
"""Bytes of which both parts of such a file begin at multiples."""


@dataclass(frozen=True)
class Learned:
    """What a stage takes from its teacher stages; None where its rule asks for nothing."""

    masks: Masks | None = None
    """Pseudo-mask (H,W) uint8 of every training image by its row in the pack, of which only what is cut out is read."""
    confidences: Masks | None = None
    """How sure the pseudo-mask is by row, one of PLANES: (H,W) uint16, 65535 for 1."""
    initial: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """Weights that trained networks start from, by role."""


def blank(rule: Rule, pack: Pack, rows: np.ndarray) -> Learned:
    """What costs a step as much as the real thing where only time is measured: class 0 everywhere, with probability 0."""
    wanted = rule.needs.masks
    if wanted is None:
        return Learned()

    def zeros(kind: type[np.unsignedinteger]) -> dict[int, np.ndarray]:
        return {row: np.broadcast_to(kind(0), (int(pack.heights[row]), int(pack.widths[row]))) for row in rows.tolist()}

    return Learned(zeros(np.uint8), zeros(np.uint16) if wanted.confidences else None)


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


def certainty(probs: Tensor) -> Tensor:
    """1 - H(p) / ln C of probabilities (C,H,W), H(p) = -sum_c p_c ln p_c: 1 where one class has all, 0 where all C have as much."""
    entropy = -torch.xlogy(probs, probs).sum(0)
    return (1 - entropy / math.log(len(probs))).clamp(0, 1)


PLANES: Mapping[str, Callable[[Tensor], Tensor]] = {"confidence": lambda probs: probs.amax(0), "certainty": certainty}
"""How sure probabilities (C,H,W) are, (H,W) in [0,1], by name: that of the mask's class, or `certainty`."""


class PseudoTile(NamedTuple):
    """What a network says of a place of the image in a row: mask (h,w) uint8 and how sure it is (h,w) uint16, 65535 for 1."""

    row: int
    place: Place
    mask: np.ndarray
    confidence: np.ndarray


def pseudo_masks(
    stage: Stage,
    weights: Mapping[str, Tensor],
    prefix: str,
    pack: Pack,
    rows: np.ndarray,
    device: torch.device,
    plane: str = "confidence",
    seen: Callable[[Tile], None] | None = None,
) -> Iterator[PseudoTile]:
    """The argmax of a finished stage's network on unaugmented images and one of PLANES, in tiles as they are predicted.

    Of ke2020 y^ and y~, of feng2020_dmt y and c. `seen` is shown the probabilities of every tile.
    """
    net = network(stage, pack, device)
    load_role(net, weights, prefix)
    for tile in predict(net, pack, rows, stage.train, batch=16, device=device):
        if seen is not None:
            seen(tile)
        mask = tile.probs.max(0).indices
        levels = (PLANES[plane](tile.probs.float()) * 65535).round().int().cpu().numpy().astype(np.uint16)
        yield PseudoTile(
            tile.row, tile.place, spread_over(mask.to("cpu", torch.uint8).numpy(), tile.place), spread_over(levels, tile.place)
        )


def write_masks(path: Path, pack: Pack, rows: Sequence[int], tiles: Iterable[PseudoTile], *, confidences: bool) -> None:
    """Pseudo-masks of rows of the pack as a file that `read_masks` maps. Tiles are written into the mapped file as they come, so that
    however large an image is, its masks are no memory of this process alone.

    A line of JSON says ids, sizes and whether there are confidences; then come all masks, then all confidences.
    """
    ids, sizes = [pack.ids[row] for row in rows], [(int(pack.heights[row]), int(pack.widths[row])) for row in rows]
    head = json.dumps({"kind": KIND, "ids": ids, "sizes": sizes, "confidences": confidences}).encode()
    head += b" " * (-(len(head) + 1) % LINE) + b"\n"
    with path.open("wb") as file:
        file.write(head)
        file.flush()
        end = _confidences_at(len(head), sizes) + (2 * _ends(sizes)[-1] if confidences else 0)
        os.posix_fallocate(file.fileno(), 0, end)  # where a mapped file meets a full disk, the process ends without a word
    masks, levels = _mapped(path, "r+", len(head), sizes, confidences)
    at = {row: i for i, row in enumerate(rows)}
    for tile in tiles:
        masks[at[tile.row]][tile.place] = tile.mask
        if levels is not None:
            levels[at[tile.row]][tile.place] = tile.confidence
    with path.open("r+b") as file:  # before it gets its name: after a power cut a file must not be there and hold zeros
        os.fsync(file.fileno())


def read_masks(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
    """Masks (H,W) uint8 and, if they were written, confidences (H,W) uint16 by image id: read-only views of the mapped file.

    Raises ValueError or KeyError for a file that is cut or of another kind.
    """
    with path.open("rb") as file:
        head = file.readline()
    about = json.loads(head)
    if not isinstance(about, dict) or about.get("kind") != KIND:
        raise ValueError("no file of pseudo-masks")
    masks, levels = _mapped(path, "r", len(head), about["sizes"], about["confidences"])
    ids = about["ids"]
    return dict(zip(ids, masks, strict=True)), None if levels is None else dict(zip(ids, levels, strict=True))


def _mapped(
    path: Path, mode: Literal["r", "r+"], start: int, sizes: Sequence[Sequence[int]], confidences: bool
) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
    """Views of all masks and confidences; ValueError where the file is too short."""
    ends = _ends(sizes)

    def views(kind: type[np.unsignedinteger], offset: int) -> list[np.ndarray]:
        flat = np.asarray(np.memmap(path, kind, mode, offset, (ends[-1],)))
        return [flat[begin:end].reshape(size) for begin, end, size in zip([0, *ends], ends, sizes, strict=False)]

    return views(np.uint8, start), views(np.uint16, _confidences_at(start, sizes)) if confidences else None


def _ends(sizes: Sequence[Sequence[int]]) -> list[int]:
    """Where each image ends, in pixels."""
    return list(accumulate(height * width for height, width in sizes))


def _confidences_at(start: int, sizes: Sequence[Sequence[int]]) -> int:
    """Where in the file the masks are over and the confidences begin."""
    return -(-(start + _ends(sizes)[-1]) // LINE) * LINE
