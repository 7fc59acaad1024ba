"""What a step of each kind of stage took on this kind of machine, remembered in the cache: measured before, or told by finished stages.

A kind is a rule, a network, the training settings of a step and the sizes of the images, whatever the value of real numbers in them
other than 0; so what has a cost has been trained here, and need not be tried before it is planned again.
"""

import contextlib
import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from semiseg.data import Pack
from semiseg.provenance import machine
from semiseg.results import write_bytes
from semiseg.runner import Place
from semiseg.stage import Stage, for_key, hash_of, plain
from semiseg.sweep.elsewhere import cost_elsewhere

FILE = "costs.json"
STAGE = "stage"
"""How it begins who measured a cost, when that is a finished stage."""
SCORING = 1 / 3
"""Of what training takes for as many pixels: a forward pass without the backward one."""


class Cost(NamedTuple):
    """Seconds of an optimiser step, and of scoring an image with all networks of the stage."""

    step: float
    image: float


class Costs:
    """Remembered costs by kind, in `place.cache`. What is damaged, of another machine or of another torch counts as not there."""

    def __init__(self, place: Place) -> None:
        self.place, self.file = place, place.cache / FILE
        self.machine = machine(place.device, place.threads)
        self.entries = self._read()
        self._kinds: dict[str, str] = {}
        self.guessed: set[str] = set()
        """Keys of stages whose cost was taken from elsewhere."""

    def kind(self, stage: Stage) -> str:
        """The kind of a stage on this kind of machine."""
        if stage.key not in self._kinds:
            pack, _ = self.place.reopen(stage.split)
            parts = [signs(plain(part)) for part in (stage.rule, stage.net, settings_of_a_step(stage))]
            self._kinds[stage.key] = hash_of([type(stage.rule).__name__, *parts, image_sizes(pack), self.machine])
        return self._kinds[stage.key]

    def of(self, stage: Stage) -> Cost | None:
        """What is remembered of the stage's kind."""
        return usable(self.entries.get(self.kind(stage)))

    def elsewhere(self, stage: Stage) -> Cost | None:
        """What a step of the stage's kind would take here, by what it took on another machine; None where that is not known."""
        if self.place.device != "cpu" or self.place.threads != 1:
            return None
        found = cost_elsewhere(portable(stage, self.place.reopen(stage.split)[0]))
        if found is not None:
            self.guessed.add(stage.key)
        return None if found is None else Cost(*found)

    def said(self) -> str:
        """That costs were not all measured on this machine, if so."""
        return ", not timed on this machine" if self.guessed else ""

    def by(self, stage: Stage) -> str:
        """Who measured it; "" for a kind that is not remembered."""
        return "" if self.of(stage) is None else str(self.entries[self.kind(stage)].get("by"))

    def keep(self, stage: Stage, cost: Cost, by: str) -> None:
        """Remember the cost of the stage's kind and who measured it: for this process alone where the cache cannot be written."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        of = portable(stage, self.place.reopen(stage.split)[0])
        entry = cost._asdict() | {"by": by, "machine": self.machine, "written": now, "of": of}
        self.entries = self._read() | self.entries | {self.kind(stage): entry}  # another process may have measured too
        with contextlib.suppress(OSError):
            write_bytes(self.file, (json.dumps(self.entries, indent=1, sort_keys=True) + "\n").encode())

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def portable(stage: Stage, pack: Pack) -> str:
    """The kind of a stage on any machine, whatever fields its settings are given later."""
    parts = [signs(for_key(part)) for part in (stage.rule, stage.net, settings_of_a_step(stage))]
    return hash_of([type(stage.rule).__name__, *parts, image_sizes(pack)])[:20]


def usable(entry: Any) -> Cost | None:
    """A cost out of what a file says; None where that is none."""
    numbers: list[Any] = [entry.get(name) for name in Cost._fields] if isinstance(entry, dict) else []
    if not numbers or not all(isinstance(one, int | float) and math.isfinite(one) and one >= 0 for one in numbers):
        return None
    return Cost(*map(float, numbers)) if numbers[0] > 0 else None


def told(stage: Stage, seconds: float, scored: int, pack: Pack) -> Cost:
    """What a stage that took that long and scored that many images says of its kind: scoring takes SCORING of training, by pixels."""
    assert stage.train.crop is not None
    trained = (stage.train.batch_labelled + stage.train.batch_unlabelled) * math.prod(stage.train.crop)
    ratio = SCORING * float((pack.heights * pack.widths.astype(float)).mean()) / trained
    step = seconds / (stage.train.steps + scored * ratio)
    return Cost(step, step * ratio)


def image_sizes(pack: Pack) -> list[Any]:
    """What of images makes a step, or scoring, take longer or fail."""
    sides = sorted({(int(height), int(width)) for height, width in zip(pack.heights, pack.widths, strict=True)})
    return [len(pack.classes), pack.channels, pack.image_level, sides[0], sides[-1], max(sides, key=math.prod)]


def settings_of_a_step(stage: Stage) -> Any:
    """Training settings without those that say how often."""
    return replace(stage.train, steps=1, evaluations=1)


def signs(value: Any) -> Any:
    """Plain values with real numbers as whether they are 0."""
    if isinstance(value, dict):
        return {name: signs(item) for name, item in value.items()}
    if isinstance(value, list):
        return [signs(item) for item in value]
    return value != 0 if isinstance(value, float) else value
