"""What a seed of a study draws: initial weights and data order, the labelled subset, or both; and the two crossed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from semiseg.config import Data, require
from semiseg.development import is_development
from semiseg.results.draws import DrawRecord, Vary
from semiseg.stage import Split
from semiseg.sweep.declaration import Preset
from semiseg.sweep.rows import ResolvedRow

SAID: Mapping[Vary, str] = {
    "training": "a seed draws initial weights and data order; the labelled images are the same for all seeds",
    "labelled": "a seed draws the labelled subset; initial weights and data order are the same for all seeds",
    "both": "a seed draws initial weights, data order and the labelled subset",
    "crossed": "every training seed (initial weights, data order) with every labelled subset",
}


class SeedDraw(NamedTuple):
    """What one number in the column of seeds stands for."""

    training: int
    """Seed of initial weights and data order."""
    subset: int | None = None
    """Seed of the labelled subset; None: that of the study's data."""

    @property
    def data(self) -> dict[str, int]:
        """Values of Data that it changes."""
        return {} if self.subset is None else {"labelled_seed": self.subset}

    def of(self, line: ResolvedRow) -> ResolvedRow:
        """The row with its labelled images; of one that has all labels nothing changes."""
        return line if line.data.get("labelled") == "all" else replace(line, data={**line.data, **self.data})


@dataclass(frozen=True, kw_only=True)
class Design:
    """Which draws a study makes; tables and results know them by `numbers`."""

    vary: Vary = "training"
    seeds: tuple[int, ...]
    subsets: tuple[int, ...] = ()
    """Seeds of labelled subsets, of a crossed design."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """The seeds; of a crossed design the runs, counted from 0, all subsets of the first training seed first."""
        return tuple(range(len(self.seeds) * len(self.subsets))) if self.vary == "crossed" else self.seeds

    def draw(self, number: int) -> SeedDraw:
        """What a number stands for; but for a crossed design it need not be one of `numbers`, such as a seed that is added later."""
        if self.vary == "crossed":
            seed, subset = divmod(number, len(self.subsets))
            return SeedDraw(self.seeds[seed], self.subsets[subset])
        if self.vary == "labelled":
            return SeedDraw(self.seeds[0], number)
        return SeedDraw(number, number if self.vary == "both" else None)

    @property
    def draws(self) -> dict[int, SeedDraw]:
        return {number: self.draw(number) for number in self.numbers}

    @property
    def names(self) -> dict[int, str]:
        """What people read of a run whose number says nothing."""
        if self.vary != "crossed":
            return {}
        return {number: f"seed {draw.training} subset {draw.subset}" for number, draw in self.draws.items()}

    @property
    def first(self) -> SeedDraw:
        """That of the first number."""
        return self.draw(self.numbers[0])

    def said(self, data: Data) -> str:
        """What a seed draws, in one line; "" for built-in scenes of which it draws nothing else than ever."""
        if self.vary == "training":
            named = data.labelled_seed if data.labelled_seed is not None and not is_development(data.labelled_seed) else None
            which = "" if named is None else f" (data.labelled_seed {named})"
            return "" if data.name == "synthetic" and not which else SAID["training"] + which
        if self.vary != "crossed":
            return SAID[self.vary]
        seeds, subsets = (", ".join(map(str, some)) for some in (self.seeds, self.subsets))
        return f"{SAID['crossed']}: seeds {seeds} x subsets {subsets}, run 0 is seed {self.seeds[0]} with subset {self.subsets[0]}"


def design_of(preset: Preset) -> Design:
    """That of a preset as the command line has made it."""
    return Design(vary=preset.vary or "training", seeds=preset.seeds, subsets=preset.subsets)


def draw_records(design: Design, numbers: Iterable[int], split: Callable[..., Split]) -> tuple[DrawRecord, ...]:
    """What results say of numbers, where the labelled subset varies; `split` gives the images of values of Data."""
    return tuple(
        DrawRecord(seed=number, training=draw.training, subset=draw.subset, labelled_hash=split(**draw.data).labelled_hash)
        for number in numbers
        if (draw := design.draw(number)).subset is not None
    )


def resolved_vary(asked: Vary | None, data: Data) -> Vary:
    """What a seed draws where nothing is asked for: both, but of built-in scenes, and where `data.labelled_seed` names one subset,
    training alone. SettingError where that is contradicted."""
    named = data.labelled_seed is not None
    if asked is None:
        return "training" if named or data.name == "synthetic" else "both"
    allowed = f"training, as data.labelled_seed {data.labelled_seed} names one labelled subset"
    require(asked == "training" or not named, "vary", asked, allowed)
    return asked


def check_draws(vary: Vary, seeds: tuple[int, ...], subsets: tuple[int, ...]) -> None:
    """Raise SettingError for seeds that no subset can be drawn with, and for subsets without a crossed design."""
    require(not subsets or vary == "crossed", "subsets", subsets, "none, or --vary crossed")
    if vary in ("labelled", "both"):
        require(
            min(seeds) >= 0, "seeds", seeds, f"whole numbers >= 0, which draw labelled subsets (--vary {vary}), or --vary training"
        )
    if vary == "crossed":
        require(min(subsets) >= 0, "subsets", subsets, "whole numbers >= 0")
        require(min(len(seeds), len(subsets)) > 1, "subsets", subsets, "with --vary crossed two at least, and two --seeds")


def settled(design: Design, lines: Mapping[str, ResolvedRow], split: Callable[[ResolvedRow], Split]) -> Design:
    """The design; where all subsets are the same in every row, because all images or those of a list are labelled, a seed that would
    draw both draws training alone. SettingError where nothing would be left to draw. `split` gives a row's images."""
    subsets = {draw.subset: draw for draw in design.draws.values()}
    if len(subsets) < 2 or any(
        len({split(draw.of(line)).labelled_hash for draw in subsets.values()}) > 1 for line in lines.values()
    ):
        return design
    allowed = "training, as every seed would have the same labelled images: all of them, or those of a list"
    require(design.vary == "both", "vary", design.vary, allowed)
    return replace(design, vary="training")
