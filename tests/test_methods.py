"""What every method must do, in all its readings: a new entry of METHODS passes or fails here without new test code."""

import contextlib
import io
from dataclasses import replace
from typing import Any, get_args, get_type_hints

import pytest
import tiny
import torch

from semiseg.augment import PERTURBATIONS, Gentle, Perturbation, RandAugment, perturbation_named
from semiseg.config import SettingError
from semiseg.ema import Ema
from semiseg.methods import DMT, METHODS, ThreeStage
from semiseg.methods.rule import State
from semiseg.schedules import Moment
from semiseg.stage import Stage
from semiseg.train import Trainer

READINGS: dict[str, dict[str, Any]] = {
    "no CR": {"CR": False},
    "no SA": {"SA": False},
    "no N2": {"N2": False},
    "no masks": {"lambda2": 0.0},
    "no masks, no CR": {"lambda2": 0.0, "CR": False},
    "soft": {"target": "soft"},
    "soft mse": {"target": "soft", "distance": "mse"},
    "ramp": {"ramp": 0.5},
    "out of frame": {"mask_out_of_frame": False},
    "teacher in train mode": {"ema": replace(ThreeStage().ema, mode="train", buffers="own")},
    "copied buffers": {"ema": Ema(decay=(0.9,), buffers="copy")},
    "student reported": {"evaluate": "student", "masks_role": "student", "masks_weights": "best"},
}


def stages() -> dict[str, Stage]:
    """A stage for every rule that trains: those of every method's defaults, of mutual training with masks made online, and of
    three-stage's last stage in every other reading."""
    train = replace(tiny.TRAIN, steps=30)
    found: dict[str, Stage] = {}
    for name, method in METHODS.items():
        kinds = set()
        for stage in method().stages(tiny.SPLIT, tiny.NET, train, 0):
            kind = (type(stage.rule), stage.rule.own_blocks)
            if stage.train.steps > 0 and kind not in kinds:
                found[f"{name} {stage.name}"] = replace(stage, train=train)
            kinds.add(kind)
    online = DMT(masks="online", scope="batch", ranking="global", pseudo_on="unlabelled")
    found["dmt online"] = replace(online.stages(tiny.SPLIT, tiny.NET, train, 0)[-2], train=train)
    for name, changes in READINGS.items():
        found[name] = ThreeStage(**changes).stages(tiny.SPLIT, tiny.NET, train, 0)[-1]
    return found


STAGES = stages()
EVERY_RULE = pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES.keys())


def terms(rule: Any, state: Any, batch: Any, progress: float = 0.5) -> dict[str, torch.Tensor]:
    return dict(rule.loss(state, batch, tiny.at(progress), torch.Generator().manual_seed(0)))


def learned(term: torch.Tensor, state: State) -> bool:
    """Whether a term is a finite number with a gradient that reaches a trained network."""
    assert (term.shape, term.dtype) == ((), torch.float32)
    assert term.isfinite()
    given = [value for network in state.trained.values() for value in network.parameters()]
    gradients = torch.autograd.grad(term, given, allow_unused=True, retain_graph=True)
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)
    return any(gradient is not None and gradient.count_nonzero() > 0 for gradient in gradients)


def same(one: Trainer, other: Trainer) -> None:
    """Every weight, curve, score and sample of two finished trainers is the same to the last bit."""
    first, second = one.finish(), other.finish()
    assert first.weights.keys() == second.weights.keys()
    assert [name for name, value in first.weights.items() if not value.equal(second.weights[name])] == []
    assert repr(first.curves) == repr(second.curves)
    assert repr(first.metrics) == repr(second.metrics)
    assert all((a == second.samples[row]).all() for row, a in first.samples.items())
    assert first.samples.keys() == second.samples.keys()
    assert (first.chosen_step, first.images) == (second.chosen_step, second.images)


@EVERY_RULE
def test_every_term_is_a_finite_number_with_a_gradient_that_reaches_the_student_and_never_the_teacher(stage: Stage) -> None:
    state = tiny.start(stage.rule)
    state.student.train()
    for term in terms(stage.rule, state, tiny.batch()).values():
        assert learned(term, state)
    torch.stack(list(terms(stage.rule, state, tiny.batch()).values())).sum().backward()
    for average in state.averages.values():
        assert not any(value.requires_grad or value.grad is not None for value in average.parameters())


@EVERY_RULE
def test_the_terms_together_reach_every_parameter_of_the_student(stage: Stage) -> None:
    state = tiny.start(stage.rule)
    state.student.train()
    torch.stack(list(terms(stage.rule, state, tiny.batch()).values())).sum().backward()
    assert [n for n, v in state.student.named_parameters() if v.grad is None or v.grad.count_nonzero() == 0] == []


@EVERY_RULE
def test_when_every_pixel_is_ignored_nothing_is_learned_and_nothing_is_nan(stage: Stage) -> None:
    state = tiny.start(stage.rule)
    state.student.train()
    found = terms(stage.rule, state, tiny.batch(ignored=True))
    if not getattr(stage.rule, "mask_out_of_frame", True):
        assert found.pop("consistency").isfinite()  # this reading learns the teacher's guess there
    torch.stack(list(found.values())).sum().backward()
    assert {name: value.item() for name, value in found.items()} == dict.fromkeys(found, 0.0)
    assert all(value.grad is None or value.grad.count_nonzero() == 0 for value in state.student.parameters())


@EVERY_RULE
def test_teacher_and_student_start_from_the_same_weights_and_only_a_step_moves_the_teacher(stage: Stage) -> None:
    state = tiny.start(stage.rule)
    if state.teacher is None:
        assert state.scored().keys() == state.networks().keys() == {"student"}
        return
    assert tiny.flat(state.teacher).equal(tiny.flat(state.student))
    state.student.train()
    before = [value.clone() for value in state.teacher.parameters()]
    torch.stack(list(terms(stage.rule, state, tiny.batch()).values())).sum().backward()
    assert all(a.equal(b) for a, b in zip(before, state.teacher.parameters(), strict=True))
    with torch.no_grad():
        for value in state.student.parameters():
            value += 1
    stage.rule.after_step(state, Moment(499, 1000, 10))  # the last step of an epoch
    assert not any(a.equal(b) for a, b in zip(before, state.teacher.parameters(), strict=True))


@EVERY_RULE
def test_the_loss_is_a_function_of_networks_batch_and_generator(stage: Stage) -> None:
    state = tiny.start(stage.rule)
    state.student.train()
    first, second = (terms(stage.rule, state, tiny.batch()) for _ in range(2))
    assert {name: value.item() for name, value in first.items()} == {name: value.item() for name, value in second.items()}


@EVERY_RULE
def test_a_teacher_stage_is_asked_for_exactly_when_its_masks_are_learned(stage: Stage) -> None:
    state, needs = tiny.start(stage.rule), stage.rule.needs
    assert bool(stage.teachers) == (needs.masks is not None or bool(state.fixed))
    assert ("pseudo" in terms(stage.rule, state, tiny.batch())) == bool(stage.teachers)
    for pick in (*needs.initial.values(), *([needs.masks.of] if needs.masks else [])):
        assert max(pick.among) < len(stage.teachers)
    assert state.fixed.keys() <= needs.initial.keys() <= {*state.trained, *state.fixed}
    assert stage.rule.evaluated in state.scored()


@EVERY_RULE
def test_thirty_steps_lower_the_loss(stage: Stage) -> None:
    found = tiny.run(stage)
    for name in ("loss/segmentation", "loss/total"):
        if name == "loss/total" and (getattr(stage.rule, "ramp", 0) != 0 or hasattr(stage.rule, "rise")):
            continue  # the weight of a term grows meanwhile
        loss = tiny.losses(found, name)
        assert len(loss) == 30
        assert sum(loss[-5:]) < 0.9 * sum(loss[:5])


CONTINUED = [*(name for name in STAGES if " " in name and name.split()[0] in METHODS)]
CONTINUED += ["soft", "teacher in train mode", "no masks", "student reported"]


@pytest.mark.parametrize("name", CONTINUED)
def test_a_run_that_was_saved_and_loaded_equals_one_that_never_stopped(name: str) -> None:
    """Bit for bit, through torch.save and the safe torch.load, before and after the first score at step 4."""
    stage = replace(STAGES[name], train=replace(tiny.TRAIN, decay="cosine"))
    whole = tiny.run(stage)
    broken = tiny.trainer(stage)
    for stop in (1, 3, 4, 6):
        while broken.progress.step < stop:
            broken.advance(0.0)
        file = io.BytesIO()
        torch.save(broken.checkpoint(), file)
        torch.manual_seed(stop)  # what a new process would have is no part of the result
        broken = tiny.trainer(stage)
        broken.restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    while not broken.finished:
        broken.advance(0.0)
    same(whole, broken)


@pytest.mark.parametrize("name", ["three_stage s1", "three_stage s3"])
def test_two_runs_of_one_stage_are_the_same_and_of_two_seeds_are_not(name: str) -> None:
    stage = replace(STAGES[name], train=tiny.TRAIN)
    one = tiny.run(stage)
    same(one, tiny.run(stage))
    other = tiny.run(replace(stage, seed=1))
    assert tiny.losses(one) != tiny.losses(other)


@pytest.mark.parametrize(
    "changes",
    [
        {"lambda1": 0.25},
        {"lambda2": 0.25},
        {"target": "hard"},
        {"ramp": 0.5},
        {"ema": Ema(decay=(0.5,), warmup=True)},
        {"ema": replace(ThreeStage().ema, mode="train")},
        {"perturbation": RandAugment(ops=1)},
        {"CR": False},
        {"SA": False},
        {"N2": False},
    ],
    ids=str,
)
def test_another_setting_has_another_key_and_another_curve(changes: dict[str, Any]) -> None:
    """Of soft targets: in eight steps the hard ones need not notice which decay the teacher has."""
    soft = ThreeStage(target="soft")
    one, other = (method.stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)[-1] for method in (soft, replace(soft, **changes)))
    assert one.key != other.key
    assert tiny.losses(tiny.run(one)) != tiny.losses(tiny.run(other))


def test_a_checkpoint_of_another_stage_is_refused() -> None:
    one, other = tiny.trainer(STAGES["three_stage s1"]), tiny.trainer(STAGES["soft"])
    with pytest.raises(ValueError, match=f"checkpoint of stage {one.stage.key}, expected {other.stage.key}"):
        other.restore(one.checkpoint())


# ---- every perturbation in every method


MIXES: dict[str, Perturbation] = {
    **{name: kind() for name, kind in PERTURBATIONS.items()},
    "gentle that moves": Gentle(rotation=30.0, translate=0.1, scale=(0.8, 1.2)),
    "phtps+cutmix": perturbation_named("phtps+cutmix"),
}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "mean_teacher": [{}, {"delayed": "shared"}, {"delayed": "independent"}],
    "one_way": [{}, *({"direction": direction, "teacher": "simple"} for direction in ("1w-pt", "2w-p1", "1w-p2"))],
}
REFUSED = {f"mean_teacher delayed=independent {name}" for name in ("cutmix", "phtps+cutmix")}
REFUSED |= {
    f"one_way direction=1w-p2 teacher=simple {name}" for name in ("randaugment", "cutmix", "gentle that moves", "phtps+cutmix")
}


def perturbed() -> dict[str, Stage | None]:
    """The last stage of every method that has a perturbation, under every one in all its ways of using it; None: it refuses that."""
    found: dict[str, Stage | None] = {}
    for name, method in METHODS.items():
        hint = get_type_hints(method).get("perturbation")
        for changes in VARIANTS.get(name, [{}]) if Perturbation in (hint, *get_args(hint)) else []:
            for label, one in MIXES.items():
                words = " ".join([name, *(f"{field}={value}" for field, value in changes.items()), label])
                found[words] = None
                with contextlib.suppress(SettingError):
                    made: Any = method(**{"perturbation": one, **changes})
                    found[words] = made.stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)[-1]
    return found


TRIED = perturbed()
PERTURBED = {name: stage for name, stage in TRIED.items() if stage is not None}
EVERY_PERTURBATION = pytest.mark.parametrize("name", PERTURBED)


def test_only_what_a_method_cannot_do_is_refused() -> None:
    assert TRIED.keys() - PERTURBED.keys() == REFUSED
    assert {name.split()[0] for name in PERTURBED} >= {"supervised", "mean_teacher", "one_way", "three_stage"}


@EVERY_PERTURBATION
def test_every_method_learns_from_images_under_every_perturbation(name: str) -> None:
    rule = PERTURBED[name].rule
    state = tiny.start(rule)
    state.student.train()
    for term in terms(rule, state, tiny.batch()).values():
        assert learned(term, state)


@EVERY_PERTURBATION
def test_under_no_perturbation_is_an_ignored_pixel_learned(name: str) -> None:
    rule = PERTURBED[name].rule
    state = tiny.start(rule)
    state.student.train()
    found = terms(rule, state, tiny.batch(ignored=True))
    torch.stack(list(found.values())).sum().backward()
    assert {term: value.item() for term, value in found.items()} == dict.fromkeys(found, 0.0)
    assert all(value.grad is None or value.grad.count_nonzero() == 0 for value in state.student.parameters())


@pytest.mark.parametrize("name", [name for name in PERTURBED if METHODS[name.split()[0]].IMAGE_LEVEL])
def test_every_perturbation_knows_what_it_means_for_classes_of_whole_images(name: str) -> None:
    def network(role: str = "student") -> torch.nn.Module:
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1))

    rule, batch = PERTURBED[name].rule, tiny.batch()
    state = rule.start(network)
    batch = batch._replace(mask=batch.mask[:, :1, :1], valid=batch.valid[:, :1, :1])
    for term in terms(rule, state, batch).values():
        assert learned(term, state)
