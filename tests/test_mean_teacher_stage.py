"""Mean teacher over a stage: weight and average by step, whom gradients reach, which settings are allowed and do something."""

import math
from dataclasses import replace
from typing import Any

import pytest
import tiny
import torch
from test_mean_teacher import PERONE2018, PLAIN, TURNING, networks, pupil, terms

from semiseg.augment import CutMix, Gentle
from semiseg.batch import IGNORE
from semiseg.config import SettingError
from semiseg.ema import Ema
from semiseg.losses import CrossEntropy, SoftDice
from semiseg.methods.mean_teacher import MeanTeacher
from semiseg.nets import build
from semiseg.schedules import Moment


def test_the_weight_of_paper_000_leaves_zero_at_epoch_8_and_is_full_at_epoch_33() -> None:
    at = {epoch: PLAIN.weight_at(Moment(50 * epoch, 5000, 50)) for epoch in (0, 7, 8, 20, 33, 99)}
    assert at[0] == at[7] == 0
    assert at[8] == pytest.approx(1.5 * math.exp(-5))
    assert at[20] == pytest.approx(1.5 * math.exp(-5 * (13 / 25) ** 2))
    assert at[33] == at[99] == 1.5


def test_the_ramp_counts_in_its_unit() -> None:
    """Step 25 of 100 with 10 steps an epoch: a quarter of the stage, epoch 2, step 25."""
    now = Moment(25, 100, 10)
    for unit, ramp, t in (("share", (0.2, 0.4), 0.25), ("epoch", (1, 5), 0.25), ("step", (20, 40), 0.25), ("step", (25, 25), 1.0)):
        rule = replace(PLAIN, ramp=ramp, ramp_unit=unit)
        assert rule.weight_at(now) == pytest.approx(1.5 * math.exp(-5 * (1 - t) ** 2))
    batch, state = tiny.batch(), networks(PLAIN)
    early, late = terms(PLAIN, state, batch, Moment(0, 100, 10)), terms(PLAIN, state, batch)
    assert early["consistency"].item() == 0
    assert early["segmentation"].equal(late["segmentation"])
    assert late["consistency"] > 0


def weights_after(rule: MeanTeacher, steps: int, student: float = 1.0) -> list[float]:
    """A parameter of the teacher, 0 at first, after each step of 4 an epoch; the student's stays the same."""
    state, found = tiny.start(rule), []
    mine, theirs = next(pupil(state).parameters()), next(state.student.parameters())
    with torch.no_grad():
        mine.fill_(0.0)
        theirs.fill_(student)
    for step in range(steps):
        rule.after_step(state, Moment(step, steps, 4))
        found.append(mine.flatten()[0].item())
    return found


def test_the_teacher_is_updated_at_the_end_of_every_epoch_or_after_every_step() -> None:
    epochs = weights_after(replace(PLAIN, ema=Ema(decay=(0.75,), every="epoch")), 12)
    assert epochs == pytest.approx([0] * 3 + [0.25] * 4 + [1 - 0.75**2] * 4 + [1 - 0.75**3])
    steps = weights_after(replace(PLAIN, ema=Ema(decay=(0.75,))), 12)
    assert steps == pytest.approx([1 - 0.75**k for k in range(1, 13)])


def test_the_decay_changes_with_the_share_of_the_stage_and_the_warm_up_counts_updates() -> None:
    rule = replace(PLAIN, ema=Ema(decay=(0.5, 0.9), start=(0.0, 0.5)))
    left = [1 - value for value in weights_after(rule, 4)]
    assert left == pytest.approx([0.5, 0.25, 0.25 * 0.9, 0.25 * 0.81])
    warm = replace(PLAIN, ema=Ema(decay=(0.9,), every="epoch", warmup=True))
    assert weights_after(warm, 8) == pytest.approx([0] * 3 + [1] * 5)  # decay 0 at the first update: the student's weights
    state = tiny.start(warm)
    for step, every, decay in ((3, "epoch", 0.0), (7, "epoch", 0.5), (11, "epoch", 2 / 3), (7, "step", 7 / 8), (39, "step", 0.9)):
        mine, theirs = next(pupil(state).parameters()), next(state.student.parameters())
        with torch.no_grad():
            mine.fill_(0.0)
            theirs.fill_(1.0)
        replace(warm, ema=replace(warm.ema, every=every)).after_step(state, Moment(step, 40, 4))
        assert mine.flatten()[0].item() == pytest.approx(1 - decay)


@pytest.mark.parametrize(
    "rule",
    [MeanTeacher(), PERONE2018, replace(PERONE2018, delayed="independent")],
    ids=["pets_mean_teacher", "perone2018", "algorithm 1"],
)
def test_gradients_reach_the_student_alone(rule: MeanTeacher) -> None:
    state = rule.start(lambda role="student": build(tiny.NET, 5, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0))
    for term in terms(rule, state, tiny.batch()).values():
        state.student.zero_grad()
        term.backward(retain_graph=True)
        assert any(value.grad is not None and value.grad.count_nonzero() for value in state.student.parameters())
    assert all(value.grad is None and not value.requires_grad for value in pupil(state).parameters())


@pytest.mark.parametrize("buffers", ["average", "copy", "own"])
def test_batch_norm_statistics_follow_the_buffers_option(buffers: Any) -> None:
    rule = replace(PLAIN, ema=Ema(decay=(0.75,), every="epoch", buffers=buffers, mode="train"))
    state, name = tiny.start(rule), "blocks.enc1.convs.1.running_var"
    state.student.get_buffer(name).fill_(5.0)
    rule.after_step(state, Moment(3, 8, 4))
    expected = {"average": 0.75 * 1 + 0.25 * 5, "copy": 5.0, "own": 1.0}[buffers]
    assert pupil(state).get_buffer(name).tolist() == pytest.approx([expected] * 4)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_teachers_mode_decides_whether_it_gathers_batch_statistics(mode: Any) -> None:
    rule = replace(PLAIN, ema=replace(PLAIN.ema, mode=mode))
    state = tiny.start(rule)
    before = tiny.flat(pupil(state))
    terms(rule, state, tiny.batch())
    assert tiny.flat(pupil(state)).equal(before) == (mode == "eval")


OTHERS: dict[str, dict[str, Any]] = {
    "objective": {"objective": SoftDice()},
    "distance": {"distance": "ce"},
    "target": {"target": "soft"},
    "weight": {"weight": 2.9},
    "ramp": {"ramp": (0.08, 1.0)},
    "ramp_unit": {"ramp": (0.0, 1.0), "ramp_unit": "epoch"},
    "label_only": {"label_only": 0.6},
    "threshold": {"threshold": 0.7},
    "consistency_on": {"consistency_on": "unlabelled"},
    "perturbation": {"perturbation": Gentle(hue=0.2)},
    "delayed": {"perturbation": TURNING, "delayed": "independent"},
    "mask_out_of_frame": {"mask_out_of_frame": False},
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_option_of_the_loss_changes_it(name: str) -> None:
    """Against the default of that field, the others being the same."""
    other, batch = replace(PLAIN, **OTHERS[name]), tiny.batch()
    valid = batch.valid.clone()
    valid[..., :10] = False  # the padding of crops
    state, batch = networks(PLAIN), batch._replace(valid=valid, mask=batch.mask.masked_fill(~valid, IGNORE))
    default = replace(other, **{name: getattr(PLAIN, name)})
    now = Moment(55, 100, 10)
    found = [{key: term.item() for key, term in terms(rule, state, batch, now).items()} for rule in (other, default)]
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "focal"}, "method.objective: got 'focal'; allowed: a Loss"),
        ({"weight": -1.0}, "method.weight: got -1.0; allowed: a number >= 0"),
        ({"ramp": (0.5, 0.2)}, r"method.ramp: got \(0.5, 0.2\); allowed: two shares in \[0, 1\], low <= high"),
        ({"ramp": (8, 33)}, r"method.ramp: got \(8, 33\)"),
        ({"ramp": (-1, 33), "ramp_unit": "epoch"}, "method.ramp: .*; allowed: two numbers, 0 <= low <= high"),
        ({"threshold": 1.5}, "method.threshold: "),
        ({"delayed": True}, "method.delayed: got True; allowed: delayed, shared, independent$"),
        ({"distance": "mse"}, "method.distance: got 'mse'; allowed: ce or dice, as method.target is hard"),
        (
            {"perturbation": CutMix(), "delayed": "independent"},
            "method.delayed: got 'independent'; allowed: delayed or shared, as two mixes of images show other images at the same place",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        MeanTeacher(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decay": (1.1,)}, r"ema.decay: got \(1.1,\); allowed: decays in \[0, 1\]"),
        ({"decay": (1.0, 1.0), "start": (0.0, 0.5)}, r"ema.decay: got \(1.0, 1.0\); allowed: a decay below 1, or ema.warmup"),
        ({"decay": (1.0, 0.9), "start": (0.0, 1.0)}, "ema.decay: .*; allowed: a decay below 1"),
        ({"start": (0.0, 0.5)}, "ema.start: .*; allowed: ascending shares from 0.0, as many as ema.decay"),
        ({"buffers": "own"}, "ema.buffers: got 'own'; allowed: average or copy, or ema.mode train"),
        ({"every": "week"}, "ema.every: got 'week'; allowed: step, epoch"),
    ],
)
def test_averages_that_cannot_be_used_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Ema(**changes)


def test_the_papers_settings_are_allowed_and_make_one_stage_of_both_networks() -> None:
    for rule, role in ((MeanTeacher(), "student"), (replace(PERONE2018, evaluate="teacher"), "teacher")):
        (stage,) = rule.stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)
        assert (stage.name, stage.rule, stage.teachers) == ("mean_teacher", rule, ())
        assert rule.needs.unlabelled
        assert rule.evaluated == role
        assert tiny.start(rule).scored().keys() == {"student", "teacher"}
    assert replace(MeanTeacher(), ramp=(8, 33), ramp_unit="epoch").weight_at(Moment(200, 1000, 10)) < 1.5


JOINT, MIXED, PER_STEP = MeanTeacher(), MeanTeacher(draw="mixed"), MeanTeacher(ema=Ema(decay=(0.9,)))


@pytest.mark.parametrize(("rule", "batch"), [(JOINT, (2, 2)), (JOINT, (1, 4)), (MIXED, (2, 2)), (MIXED, (2, 5)), (MIXED, (2, 0))])
def test_a_stage_shorter_than_an_epoch_that_would_never_update_its_teacher_is_refused(
    rule: MeanTeacher, batch: tuple[int, int]
) -> None:
    """The length of an epoch is the training loop's own."""
    train = replace(tiny.TRAIN, batch_labelled=batch[0], batch_unlabelled=batch[1])
    epoch = tiny.trainer(tiny.chain(rule, train=replace(train, steps=100))[0]).batches.epoch_steps
    said = f"^method.ema.every: got 'epoch'; allowed: step, as an epoch has {epoch} steps and the stage {epoch - 1}$"
    with pytest.raises(SettingError, match=said):
        tiny.chain(rule, train=replace(train, steps=epoch - 1))
    for allowed, steps in ((rule, epoch), (rule, 0), (replace(rule, ema=replace(rule.ema, every="step")), 1)):
        assert tiny.chain(allowed, train=replace(train, steps=steps))


@pytest.mark.parametrize("rule", [PER_STEP, JOINT, MIXED, replace(PER_STEP, ema=Ema(decay=(1.0, 0.9), start=(0.0, 0.5)))])
def test_a_stage_that_is_allowed_updates_its_teacher(rule: MeanTeacher) -> None:
    """The shortest stage of per-epoch updates; the second of two decays."""
    steps = 12 if rule.draw == "mixed" else 6
    (stage,) = tiny.chain(replace(rule, objective=CrossEntropy()), train=replace(tiny.TRAIN, steps=steps, evaluations=1))
    before = next(pupil(tiny.trainer(stage).state).parameters())
    assert not next(pupil(tiny.run(stage).state).parameters()).equal(before)


@pytest.mark.parametrize(
    "rule", [replace(MeanTeacher(), objective=CrossEntropy()), PERONE2018], ids=["pets_mean_teacher", "perone2018"]
)
def test_a_stage_learns(rule: MeanTeacher) -> None:
    (stage,) = rule.stages(tiny.SPLIT, tiny.NET, replace(tiny.TRAIN, steps=40), 0)
    finished = tiny.run(stage)
    segmentation = tiny.losses(finished, "loss/segmentation")
    assert sum(segmentation[-5:]) < sum(segmentation[:5])
    first, last = tiny.flat(tiny.start(rule).student), tiny.flat(pupil(finished.state))
    assert not first.equal(last)
