"""What the settings of presets are chosen among: declared candidates, for analysis/choose_settings.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from semiseg.change import Change, Row, change, within
from semiseg.config import Data, Train, Weak
from semiseg.data.synthetic import KINDS
from semiseg.losses import CrossEntropyDice, Dice
from semiseg.methods import MeanTeacher, OneWay, Supervised, ThreeStage
from semiseg.methods.three_stage import parts
from semiseg.nets import UNet
from semiseg.sweep.declaration import Preset
from semiseg.sweep.few_labels import ONE_WAY_PETS, PETS_LITE0, TEACHER_ACDC, TEACHER_PETS, TUNED
from semiseg.sweep.presets import ACDC_DATA, FEW, FEW_NET, PETS_DATA, SCENES, SHORT, STREET_DATA, THREE_STAGE, TURNED

Aim = Literal["score", "headroom"]


@dataclass(frozen=True)
class Proposal:
    """What it changes of the winner so far."""

    row: Row = field(default_factory=Row)
    data: Change[Data] = field(default_factory=lambda: Change(Data))

    def __or__(self, other: "Proposal") -> "Proposal":
        return Proposal(self.row | other.row, self.data | other.data)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Candidates by name, in rounds; names are distinct."""

    base: Preset
    """With the steps and seeds of a candidate: budget = steps x seeds x candidates."""
    start: str
    """What the base preset is called in the table."""
    rounds: tuple[Mapping[str, Proposal], ...]
    row: Row = field(default_factory=lambda: Row(change(Supervised)))
    """What is trained."""
    aim: Aim = "score"
    """What a candidate is judged by: its selection score, or, of images, how surely all labels beat the labelled ones."""
    trains: str = "labels alone"


def supervised(**values: Any) -> Proposal:
    """Another loss of labelled pixels."""
    return Proposal(Row(change(Supervised, **values)))


def self_trained(**values: Any) -> Proposal:
    """Other settings of the three stages."""
    return Proposal(Row(change(ThreeStage, **values)))


def trained(**values: Any) -> Proposal:
    """Other training settings."""
    return Proposal(Row(train=change(Train, **values)))


def augmented(weak: Weak) -> Proposal:
    """Another weak augmentation; said by what is not the default."""
    changed = {one.name: getattr(weak, one.name) for one in fields(Weak) if getattr(weak, one.name) != getattr(Weak(), one.name)}
    return Proposal(Row(train=within(Train, "weak", Change(Weak, changed))))


def given(**values: Any) -> Proposal:
    """Other values of the images."""
    return Proposal(data=change(Data, **values))


def consistent(**values: Any) -> Proposal:
    """Other settings of one-way consistency."""
    return Proposal(Row(change(OneWay, **values)))


def taught(**values: Any) -> Proposal:
    """Other settings of a mean teacher."""
    return Proposal(Row(change(MeanTeacher, **values)))


THREE = (0, 1, 2)
PLAIN = Weak(scale=(1.0, 1.0), flip=0.0)
LOSSES_AND_RATES: tuple[Mapping[str, Proposal], ...] = (
    {"Dice": supervised(objective=Dice()), "cross-entropy + Dice": supervised(objective=CrossEntropyDice())},
    {"rate 1e-3": trained(learning_rate=1e-3), "rate 1e-2": trained(learning_rate=1e-2)},
)
LABELS_ALONE: dict[str, Choice] = {
    name: Choice(
        base=Preset(data=data, net=FEW_NET, train=replace(FEW, batch_unlabelled=0), method=Supervised()),
        start="cross-entropy, rate 5e-3",
        rounds=rounds,
    )
    for name, data, rounds in (
        (
            "acdc",
            ACDC_DATA,
            (
                *LOSSES_AND_RATES,
                {"no augmentation": augmented(PLAIN), "SSL4MIS's turns": augmented(TURNED)},
                {"percentiles of a patient": given(normalise="percentile", normalise_over="group")},
            ),
        ),
        ("pets", PETS_DATA, LOSSES_AND_RATES),
        ("street", STREET_DATA, LOSSES_AND_RATES),
    )
} | {
    "pets-lite0": Choice(
        base=replace(PETS_LITE0, train=replace(TUNED, batch_unlabelled=0), method=Supervised(), others=(), seeds=THREE),
        start="cross-entropy, rate 1e-3",
        rounds=(
            {"Dice": supervised(objective=Dice()), "cross-entropy + Dice": supervised(objective=CrossEntropyDice())},
            {"rate 3e-4": trained(learning_rate=3e-4), "rate 3e-3": trained(learning_rate=3e-3)},
        ),
    ),
}

OTHERS: dict[str, Preset] = {
    "pets-lite0-one-way": ONE_WAY_PETS,
    "pets-lite0-mean-teacher": TEACHER_PETS,
    "acdc-mean-teacher": TEACHER_ACDC,
}
"""Of other methods than three-stage self-training."""

CHOICES: dict[str, Choice] = LABELS_ALONE | {
    "acdc-stages": Choice(
        base=replace(THREE_STAGE["acdc"], seeds=tuple(range(6)), method=replace(SHORT, objective=Dice())),
        row=Row(parts("S1", "S2", "CR", "T2", "SA")),
        trains="stages 1 and 2",
        start="Dice, both lambdas 1/2, ramp over 0.6",
        rounds=(
            {"cross-entropy + Dice": self_trained(objective=CrossEntropyDice())},
            {"label-only 0.3": self_trained(label_only=0.3), "threshold 0.95": self_trained(threshold=0.95)},
            {"lambdas 1/4": self_trained(lambda1=0.25, lambda2=0.25), "lambdas 1": self_trained(lambda1=1.0, lambda2=1.0)},
        ),
    ),
    "demo-stages": Choice(
        base=Preset(method=SHORT, net=UNet(width=8), train=replace(SCENES, learning_rate=5e-3, warmup=0.0), seeds=tuple(range(6))),
        row=Row(parts("S1", "S2", "S3", "CR", "T2", "SA", "N2")),
        trains="all three stages",
        start="cross-entropy, rate 5e-3",
        rounds=(
            {"cross-entropy + Dice": self_trained(objective=CrossEntropyDice())},
            {"rate 1e-2": trained(learning_rate=1e-2), "rate 2e-2": trained(learning_rate=2e-2)},
            {"warm-up 0.1": trained(warmup=0.1), "label-only 0.3": self_trained(label_only=0.3)},
        ),
    ),
    "demo-scenes": Choice(
        base=Preset(
            method=Supervised(objective=CrossEntropyDice()),
            net=UNet(width=8),
            train=replace(SCENES, steps=3 * SCENES.steps, batch_unlabelled=0),
            seeds=tuple(range(6)),
        ),
        start="as they are",
        rounds=({name: given(variant=(name,)) for name in KINDS},),
        aim="headroom",
        trains="labels alone and all labels",
    ),
    "pets-lite0-stages": Choice(
        base=replace(PETS_LITE0, train=TUNED, seeds=THREE),
        row=Row(parts("S1", "S2", "CR", "T2", "SA")),
        trains="stages 1 and 2",
        start="both lambdas 1/2, ramp over 0.6",
        rounds=(
            {"threshold 0.9": self_trained(threshold=0.9)},
            {"lambdas 1": self_trained(lambda1=1.0, lambda2=1.0)},
        ),
    ),
    "pets-lite0-one-way": Choice(
        base=replace(ONE_WAY_PETS, seeds=THREE),
        row=Row(change(OneWay)),
        trains="student and teacher",
        start="weight 0.5",
        rounds=(
            {"weight 1": consistent(weight=1.0), "weight 2": consistent(weight=2.0)},
            {"threshold 0.8": consistent(threshold=0.8)},
        ),
    ),
    "pets-lite0-mean-teacher": Choice(
        base=replace(TEACHER_PETS, method=replace(TEACHER_PETS.method, draw="joint"), seeds=THREE),
        row=Row(change(MeanTeacher)),
        trains="student and teacher",
        start="Dice, weight 1.5, any number of labelled images in a batch",
        rounds=(
            {"4 labelled and 4 unlabelled images": taught(draw="mixed")},
            {
                "KL, weight 1.5": taught(distance="kl", target="soft"),
                "KL, weight 5": taught(distance="kl", target="soft", weight=5.0),
            },
        ),
    ),
    "acdc-mean-teacher": Choice(
        base=replace(TEACHER_ACDC, seeds=THREE),
        row=Row(change(MeanTeacher)),
        trains="student and teacher",
        start="weight 2.9",
        rounds=({"weight 1": taught(weight=1.0), "weight 10": taught(weight=10.0)},),
    ),
}

OF_THREE_STAGE = THREE_STAGE | {"pets-lite0": PETS_LITE0}
PRESETS = {
    name: OF_THREE_STAGE[name.removesuffix("-stages").removesuffix("-scenes")] for name in CHOICES if name not in OTHERS
} | OTHERS
"""The presets whose training is chosen so, once their tables are in docs/evidence."""
