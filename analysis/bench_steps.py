"""What does a training step cost beside a bare loop? CPU seconds of every method's steps, and where they go.

The bare loop has no framework: on ready tensors it makes the passes that a step of the method was seen to make (the same networks,
images of the same shapes, channels_last, teachers without gradients), cross-entropy with ready masks and with the teacher's argmax,
backward, fused Adam and a moving average by torch._foreach_lerp_. Both loops take turns in one process on one thread; a ratio is the
median over the blocks, with the interval of order statistics that holds the median with at least 95 %. Steps are those of the middle
of a stage, where every term counts, and each is followed by an update of the moving average, if there is one. Takes about
a quarter of an hour. The numbers of docs/measured.md come from

    python analysis/bench_steps.py
"""

import copy
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor

from semiseg.augment.perturbation import Move, Perturbation
from semiseg.batches import Batches
from semiseg.config import Data, Net, SettingError, Train
from semiseg.ema import Ema
from semiseg.hard import likeliest
from semiseg.methods import METHODS, Method
from semiseg.methods.rule import State
from semiseg.nets import SMP, SwiftNet, UNet
from semiseg.pseudo import blank
from semiseg.runner import Place, split_of
from semiseg.stage import Stage
from semiseg.train import Trainer

NETWORKS: dict[str, tuple[Net, int]] = {  # with the side of its crops
    "U-Net 8, depth 3": (UNet(), 64),
    "U-Net 16, depth 5": (UNet(width=16, depth=5), 64),  # the widths of SSL4MIS's, which has 1.81 M with bilinear upsampling
    "U-Net on Lite0": (SMP(), 96),
    "SwiftNet": (SwiftNet(), 96),
}
PARTS = ("networks", "losses and views", "strong", "weak", "EMA", "optimiser", "evaluation")
WARM_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to measure, and for how long."""

    networks: tuple[str, ...] = tuple(NETWORKS)
    """Names of NETWORKS in this file."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Names of METHODS; measured are those of a method's stages that compute something that no line above does."""
    blocks: int = 20
    """Blocks of each loop, which take turns."""
    steps: int = 3
    """Steps of a block."""
    size: int | None = None
    """Side of the crops; None: the network's own."""
    labelled: int = 4
    """Labelled images in a mini-batch."""
    unlabelled: int = 4
    """Unlabelled images in it."""
    cache: Path = Path("results/cache")
    """Decoded images."""


class Pass(NamedTuple):
    """A forward pass that a step makes, by `call` forward or both."""

    role: str
    call: str
    image: Tensor
    learns: bool


class Clock:
    """CPU seconds by part; what runs inside another part's function counts for the inner part alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.inner = [0.0]

    def wrap(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **options: Any) -> Any:
            started = time.process_time()
            self.inner.append(0.0)
            try:
                return function(*args, **options)
            finally:
                whole = time.process_time() - started
                self.seconds[part] = self.seconds.get(part, 0.0) + whole - self.inner.pop()
                self.inner[-1] += whole

        return timed

    @contextmanager
    def over(self, trainer: Trainer) -> Iterator[None]:
        """Inside, the parts of the trainer's steps are timed."""
        networks = (trainer.state.networks() | trainer.state.fixed).values()
        owners: list[tuple[Any, tuple[str, ...], str]] = [(one, ("forward", "both"), "networks") for one in networks]
        owners += [(torch.Tensor, ("backward",), "networks"), (Batches, ("make",), "weak"), (State, ("follow",), "EMA")]
        owners += [(kind, ("__call__", "pair", "logits"), "strong") for base in (Perturbation, Move) for kind in family(base)]
        owners += [(one, ("step", "zero_grad"), "optimiser") for one in trainer.optimisers.values()]
        found = [(owner, name, part) for owner, names, part in owners for name in names if has(owner, name)]
        with ExitStack() as patches:
            for owner, name, part in found:
                patches.enter_context(patch.object(owner, name, self.wrap(part, getattr(owner, name))))
            yield


def has(owner: Any, name: str) -> bool:
    """Whether a class defines the function itself, or an object has it."""
    return name in vars(owner) if isinstance(owner, type) else hasattr(owner, name)


def family(kind: type) -> set[type]:
    """A class and all below it."""
    return {kind}.union(*map(family, kind.__subclasses__()))


class Bare:
    """The bare loop with the passes of a trainer's step."""

    def __init__(self, trainer: Trainer) -> None:
        self.passes = passes(trainer)
        state = trainer.state
        self.trained, averages, fixed = (copy.deepcopy(nets) for nets in (state.trained, state.averages, state.fixed))
        self.networks = self.trained | averages | fixed
        moved = [(net.state_dict(), self.trained[state.follows[role]].state_dict()) for role, net in averages.items()]
        self.followed = [[[one for one in of.values() if one.is_floating_point()] for of in pair] for pair in moved]
        parameters = [one for net in self.trained.values() for one in net.parameters() if one.requires_grad]
        self.adam = torch.optim.Adam(parameters, lr=1e-3, fused=True)
        generator, classes = torch.Generator().manual_seed(0), len(trainer.pack.classes)
        with torch.no_grad():
            shapes = [self.run(one)[0].shape for one in self.passes]
        self.masks = [torch.randint(classes, (n, *size), generator=generator) for n, _, *size in shapes]

    def run(self, one: Pass) -> tuple[Tensor, ...]:
        found = getattr(self.networks[one.role], one.call)(one.image)
        return found if isinstance(found, tuple) else (found,)

    def step(self) -> None:
        guesses, learned, terms = [], torch.empty(0), []
        for one, mask in zip(self.passes, self.masks, strict=True):
            if one.learns:
                learned, *more = self.run(one)
                terms += [F.cross_entropy(logits, mask) for logits in (learned, *more)]
            else:
                with torch.no_grad():
                    guesses.append(likeliest(self.run(one)[0]))
        terms += [F.cross_entropy(learned[-len(guess) :], guess) for guess in guesses]
        self.adam.zero_grad(set_to_none=True)
        torch.stack(terms).sum().backward()
        self.adam.step()
        with torch.no_grad():
            for average, followed in self.followed:
                torch._foreach_lerp_(average, followed, 0.01)  # pyright: ignore[reportPrivateImportUsage]


def passes(trainer: Trainer) -> list[Pass]:
    """The forward passes of one step of the trainer, which makes that step."""
    found: list[Pass] = []

    def seen(role: str, call: str, function: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
        def run(image: Tensor) -> Any:
            ready = image.detach().clone().contiguous(memory_format=torch.channels_last)
            found.append(Pass(role, call, ready, torch.is_grad_enabled()))
            return function(image)

        return run

    networks = (trainer.state.networks() | trainer.state.fixed).items()
    made = [(role, name, net) for role, net in networks for name in ("forward", "both") if hasattr(net, name)]
    with ExitStack() as patches:
        for role, name, net in made:
            patches.enter_context(patch.object(net, name, seen(role, name, getattr(net, name))))
        trainer.train_step()
    return found


class Measured(NamedTuple):
    """Seconds are CPU seconds of a step, `shares` those of PARTS in a step with its part of the evaluations."""

    bare: float
    ours: float
    ratio: float
    interval: tuple[float, float]
    shares: list[float]

    def cells(self, images: int) -> list[str]:
        ratio = "{:.3f} [{:.3f}, {:.3f}]".format(self.ratio, *self.interval)
        shares = [f"{share:.1%}" for share in self.shares]
        return [f"{1000 * self.bare:.1f}", f"{1000 * self.ours:.1f}", ratio, f"{images / self.ours:.1f}", *shares]


def measure(trainer: Trainer, blocks: int, steps: int) -> Measured:
    """Both loops of a stage, then the parts of the trainer's."""
    for net in trainer.state.trained.values():
        net.train()
    trainer.progress.step = trainer.train.steps // 2
    bare = Bare(trainer)
    loops = (bare.step, trainer.train_step)
    for loop in loops:
        seconds_of(loop, WARM_STEPS)
    pairs: list[tuple[float, float]] = []
    for block in range(blocks):
        trainer.progress.step = trainer.train.steps // 2
        first = block % 2
        found = [seconds_of(loops[which], steps) / steps for which in (first, 1 - first)]
        pairs.append((found[first], found[1 - first]))
    clock, count = Clock(), max(blocks * steps // 4, 1)
    with clock.over(trainer):
        whole = seconds_of(trainer.train_step, count) / count
    parts = {part: seconds / count for part, seconds in clock.seconds.items()}
    parts["losses and views"] = whole - sum(parts.values())
    trainer._score_selection()
    parts["evaluation"] = seconds_of(trainer._score_selection, 2) / 2 * trainer.train.evaluations / trainer.train.steps
    total = sum(parts.values())
    ratios = [mine / other for other, mine in pairs]
    alone, ours = (statistics.median(one) for one in zip(*pairs, strict=True))
    shares = [parts.get(part, 0.0) / total for part in PARTS]
    return Measured(alone, ours, statistics.median(ratios), of_median(ratios), shares)


def seconds_of(loop: Callable[[], None], times: int) -> float:
    """CPU seconds of so many steps."""
    started = time.process_time()
    for _ in range(times):
        loop()
    return time.process_time() - started


def of_median(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The narrowest symmetric order statistics that hold the median with that probability, whatever the distribution; of too few
    values the lowest and the highest."""
    n, ordered = len(values), sorted(values)
    outside, least = 0.0, 0
    for rank in range(n // 2):
        outside += 2 * math.comb(n, rank) / 2**n
        if outside > 1 - confidence:
            break
        least = rank
    return ordered[least], ordered[n - 1 - least]


def stages_of(method: Method, place: Place, net: Net, train: Train) -> list[Stage]:
    """The stages of a method, each followed by its average after every step if it has one."""
    if isinstance(ema := getattr(method, "ema", None), Ema):
        method = replace(method, ema=replace(ema, every="step"))  # pyright: ignore[reportCallIssue]
    return list(method.stages(split_of(*place.open()), net, train, seed=0))


def main(arguments: Arguments) -> int:
    """Print a Markdown table, a line for each network and stage; returns the exit status."""
    torch.set_num_threads(1)
    head = ("network, crop", "method: stage", "CPU ms a step: bare", "ours", "ratio [95 %]", "images per CPU s", *PARTS)
    print(line(head), line(["---"] * len(head)), sep="\n", flush=True)
    for name in arguments.networks:
        net, own = NETWORKS[name]
        side = arguments.size or own
        place = Place(data=Data(size=(side, side), labelled=8), cache=arguments.cache.resolve(), store="")
        known, others = arguments.labelled, arguments.unlabelled
        train = Train(steps=700, batch_labelled=known, batch_unlabelled=others, crop=(side, side), precision="fp32")
        pack, splits = place.open()
        seen: set[Any] = set()
        for word in arguments.methods:
            for stage in stages_of(METHODS[word](), place, net, train):
                computed = type(stage.rule).loss, stage.rule.own_blocks
                if stage.train.steps == 0 or computed in seen:
                    continue
                seen.add(computed)
                try:
                    trainer = Trainer(stage, pack, splits, torch.device("cpu"), blank(stage.rule, pack, splits.training))
                except SettingError as error:
                    print(f"{name}, {word}: skipped: {error}", file=sys.stderr)
                    continue
                here, found = (f"{name}, {side}", f"{word}: {stage.name}"), measure(trainer, arguments.blocks, arguments.steps)
                print(line((*here, *found.cells(trainer.images_per_step))), flush=True)
    return 0


def line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
