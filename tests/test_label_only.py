"""Label-only first steps, ramp and threshold of every rule with a consistency term: a new entry of METHODS passes or fails here."""

import itertools
import math
from dataclasses import fields, replace
from typing import Any

import pytest
import tiny
import torch
from one_way_tools import Given
from test_methods import PERTURBED, STAGES
from torch import Tensor

from semiseg.augment import Move
from semiseg.codec import read_row
from semiseg.config import SettingError
from semiseg.ema import Ema
from semiseg.methods import METHODS
from semiseg.methods.rule import State
from semiseg.schedules import Moment
from semiseg.stage import Stage, for_key
from semiseg.sweep.rows import resolve_row

STEPS = 40


def started(rule: Any) -> State:
    """Networks that have parted: with equal ones a distance may be 0."""
    state = tiny.start(rule)
    state.student.train()
    for average in state.averages.values():
        average.load_state_dict(tiny.start(rule, seed=1).student.state_dict())
    return state


def terms(rule: Any, state: State, step: int, steps: int = STEPS) -> dict[str, Tensor]:
    return dict(rule.loss(state, tiny.batch(), Moment(step, steps, 10), torch.Generator().manual_seed(0)))


def gradient(state: State, found: dict[str, Tensor]) -> Tensor:
    state.student.zero_grad()
    torch.stack(list(found.values())).sum().backward()
    return torch.cat([value.grad.flatten() for value in state.student.parameters() if value.grad is not None])


def ramped(rule: Any, share: float) -> Any:
    """With a ramp from the start over a share, whether one number says it or two."""
    return replace(rule, ramp=(0.0, share) if isinstance(rule.ramp, tuple) else share)


CONSISTENT = {name: stage for name, stage in STAGES.items() if "consistency" in terms(stage.rule, started(stage.rule), 20)}
EVERY = pytest.mark.parametrize("rule", [stage.rule for stage in CONSISTENT.values()], ids=CONSISTENT.keys())
DEFAULTS = {name: stage for name, stage in CONSISTENT.items() if name.split()[0] in METHODS}
NAMES = sorted({name.split()[0] for name in DEFAULTS})
EVERY_METHOD = pytest.mark.parametrize("name", NAMES)


def test_every_method_with_a_consistency_term_has_the_settings_and_no_other() -> None:
    assert set(NAMES) >= {"mean_teacher", "one_way", "three_stage"}
    for name, kind in METHODS.items():
        found = {field.name for field in fields(kind)}
        assert ({"label_only", "ramp", "threshold", "ema"} <= found) == (name in NAMES)
        assert ("label_only" in found) == (name in NAMES)


@EVERY_METHOD
def test_off_they_are_in_no_key_and_on_in_that_of_every_stage_with_the_term(name: str) -> None:
    def keys(**changes: Any) -> list[tuple[str, bool]]:
        chain = METHODS[name](**changes).stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)
        return [(stage.key, hasattr(stage.rule, "label_only")) for stage in chain]

    off = keys()
    for changes in ({"label_only": 0.25}, {"threshold": 0.5}):
        assert all((key != before) == consistent for (key, consistent), (before, _) in zip(keys(**changes), off, strict=True))
    for rule in (stage.rule for label, stage in DEFAULTS.items() if label.split()[0] == name):
        assert "label_only" not in for_key(rule)
        assert for_key(replace(rule, label_only=0.25))["label_only"] == 0.25


@EVERY
def test_in_label_only_steps_consistency_is_zero_and_the_gradient_that_of_the_other_terms(rule: Any) -> None:
    state = started(rule)
    late = replace(rule, label_only=0.5)
    found, plain = terms(late, state, 19), terms(rule, state, 19)
    assert found.keys() == plain.keys()
    assert found["consistency"].item() == 0
    assert not found["consistency"].requires_grad
    del plain["consistency"]
    assert all(found[name].equal(value) for name, value in plain.items())
    assert gradient(state, found).equal(gradient(state, plain))


@EVERY
def test_afterwards_every_term_is_that_of_a_stage_that_begins_there(rule: Any) -> None:
    state, late = started(rule), replace(rule, label_only=0.25)
    for step in (10, 11, 20, 39):
        found, expected = terms(late, state, step), terms(rule, state, step - 10, STEPS - 10)
        assert all(found[name].equal(value) for name, value in expected.items())


@EVERY
def test_the_ramp_counts_from_the_end_of_the_label_only_steps(rule: Any) -> None:
    """exp(-5 (1 - t)^2), t = step / length, of the 30 steps that are left after a quarter of 40, half of them."""
    state, late = started(rule), ramped(replace(rule, label_only=0.25), 0.5)
    at = {step: terms(late, state, step)["consistency"].item() for step in (9, 10, 13, 16, 25, 39)}
    assert at[9] == 0
    assert at[39] > 0
    for step in (10, 13, 16, 25):
        t = min((step - 10) / 15, 1)
        assert at[step] / at[39] == pytest.approx(math.exp(-5 * (1 - t) ** 2), rel=1e-5)


@EVERY
def test_no_pixel_counts_where_the_target_is_less_sure_than_the_threshold(rule: Any) -> None:
    state, full = started(rule), ramped(rule, 0.0)
    assert terms(replace(full, threshold=1.0), state, 20)["consistency"].item() == 0
    unmoved = terms(replace(full, threshold=1e-3), state, 20)["consistency"]  # of 5 classes one has at least 0.2
    torch.testing.assert_close(unmoved, terms(full, state, 20)["consistency"])


PLAIN = {name: stage for name, stage in PERTURBED.items() if not getattr(stage.rule.perturbation, "guided", False)}


@pytest.mark.parametrize("name", [name for name in PLAIN if hasattr(PLAIN[name].rule, "label_only")])
def test_no_average_looks_at_images_in_label_only_steps(name: str) -> None:
    """Under every perturbation and in every direction; where a perturbation follows its probabilities it has to."""
    rule: Any = PLAIN[name].rule
    state = started(rule)
    calls: list[int] = []
    for average in state.averages.values():
        average.register_forward_hook(lambda *_: calls.append(1))
    found = terms(replace(rule, label_only=0.5), state, 19)
    assert (found["consistency"].item(), calls) == (0, [])
    terms(replace(ramped(rule, 0.0), label_only=0.5), state, 20)
    assert bool(calls) == bool(state.averages)


def averaged(name: str, ema: Ema) -> Stage:
    rule: Any = next(stage for label, stage in DEFAULTS.items() if label.split()[0] == name)
    changed = replace(ramped(rule.rule, 0.0), label_only=0.5, ema=ema, evaluate="teacher")
    return replace(rule, rule=changed, train=tiny.TRAIN)


@EVERY_METHOD
@pytest.mark.parametrize("buffers", ["average", "own"])
def test_an_average_can_be_a_copy_of_the_student_until_consistency_begins(name: str, buffers: Any) -> None:
    """Also its statistics of BatchNorm, which it cannot gather without images. It is what such steps score, so it must be sensible."""
    ema = Ema(decay=(0.0, 0.99), start=(0.0, 0.5), buffers=buffers, mode="train" if buffers == "own" else "eval")
    trainer = tiny.trainer(averaged(name, ema))
    assert trainer.state.teacher is not None
    for step in range(8):
        trainer.train_step()
        assert tiny.flat(trainer.state.teacher).equal(tiny.flat(trainer.state.student)) == (step < 4)
    points = {(p["step"], p["name"]): p["value"] for p in trainer.progress.curves}
    assert [points[step, "loss/consistency"] == 0 for step in range(1, 9)] == [True] * 4 + [False] * 4


@EVERY_METHOD
def test_a_row_says_that_sure_pixels_count_after_200_of_400_steps(name: str) -> None:
    base: Any = METHODS[name]()
    words = " ".join([name, *base.SWITCHES, "label_only=0.5 threshold=0.95 ema.warmup=true ema.decay=(0,0.99) ema.start=(0,0.5)"])
    ema = replace(base.ema, warmup=True, decay=(0.0, 0.99), start=(0.0, 0.5))
    resolved = resolve_row("table", "row", read_row(words, {name: base}), {name: base})
    assert resolved.method == replace(base, label_only=0.5, threshold=0.95, ema=ema)


@EVERY_METHOD
@pytest.mark.parametrize("value", [-0.1, 1.0, math.nan])
def test_unusable_values_are_refused_such_as_a_stage_of_label_only_steps_alone(name: str, value: float) -> None:
    ramp = (0.0, 1.5) if isinstance({one.name: one.default for one in fields(METHODS[name])}["ramp"], tuple) else 1.5
    for field, wrong in (("label_only", value), ("threshold", 1.5), ("ramp", ramp)):
        with pytest.raises(SettingError, match=rf"^method.{field}: got .*; allowed: .*\[0, 1"):
            METHODS[name](**{field: wrong})


class Mirrored(Move):
    """Left and right change places."""

    def __call__(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        return own.flip(-1)


@pytest.mark.parametrize("target", ["hard", "soft"])
def test_the_threshold_of_three_stage_equals_a_loop_over_pixels(target: str) -> None:
    """A mean over the pixels whose target is sure, where the perturbation of the two unlabelled images has moved it."""
    rule: Any = replace(STAGES["no masks"].rule, target=target, perturbation=Given(moves=itertools.repeat(Mirrored())))
    state, batch = started(rule), tiny.batch()
    assert state.teacher is not None
    predictions: list[Tensor] = []

    def keep(_: Any, given: Any, logits: Any) -> None:
        predictions.append(logits)

    state.student.register_forward_hook(keep)
    targets = state.teacher(batch.image).softmax(1)
    limit = targets.amax(1).median().item()
    found = terms(replace(rule, threshold=limit), state, 20)["consistency"].item()
    logs = predictions[0].log_softmax(1)
    each = []
    for n, y, x in itertools.product(range(4), *map(range, tiny.SIZE)):
        p = targets[n, :, y, x if n < batch.labelled else tiny.SIZE[1] - 1 - x].tolist()
        if max(p) >= limit:
            weights = p if target == "soft" else [float(value == max(p)) for value in p]
            each.append(-sum(weight * log for weight, log in zip(weights, logs[n, :, y, x].tolist(), strict=True)))
    assert len(each) == pytest.approx(2 * 32 * 32, abs=3)
    assert found == pytest.approx(rule.lambda1 * sum(each) / len(each), rel=1e-4)
