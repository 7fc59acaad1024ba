"""One-way consistency (grubisic2021): who sees what, who learns from whom, and what each option changes."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
from one_way_tools import (
    NOW,
    PAIRS,
    PAIRS_P2,
    ROWS,
    consistency,
    generator,
    mixed_by_loops,
    pixel_network,
    pixel_state,
    rule,
    terms,
)
from perturbation_tools import cutout_masks, phtps
from torch import Tensor, nn

from semiseg.augment import CutMix, Cutout, PhTPS
from semiseg.augment.cutmix import box_masks, boxes
from semiseg.augment.tps import warp
from semiseg.batch import IGNORE, Batch
from semiseg.config import SettingError
from semiseg.ema import Ema
from semiseg.methods.one_way import OneWay, held_statistics
from semiseg.methods.rule import State
from semiseg.nets import WideResNet, build


@pytest.mark.parametrize(("direction", "teacher"), PAIRS)
def test_gradients_reach_the_branches_that_learn_and_no_other(direction: str, teacher: str) -> None:
    """Against the same loss with the other branch detached."""
    one, batch = rule(direction, teacher), tiny.batch()
    state = pixel_state(one)
    image = batch.image[2:]
    made = phtps(image, one.perturbation, generator())
    clean = warp((state.teacher or state.student)(image) if direction == "1w-ps" else state.student(image), made.grid)
    perturbed = (state.teacher or state.student)(made.image) if direction == "1w-pt" else state.student(made.image)
    clean, perturbed = (
        (clean.detach() if direction == "1w-ps" else clean),
        (perturbed.detach() if direction == "1w-pt" else perturbed),
    )
    target, prediction = (clean, perturbed) if direction == "1w-ps" else (perturbed, clean)
    each = F.kl_div(prediction.log_softmax(1), target.log_softmax(1), reduction="none", log_target=True).sum(1)
    expected = torch.autograd.grad(each[made.valid].mean(), list(state.student.parameters()))
    terms(one, state, batch)["consistency"].backward()
    assert all(gradient.abs().max() > 1e-3 for gradient in expected)
    for parameter, gradient in zip(state.student.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)
    assert state.teacher is None or all(parameter.grad is None for parameter in state.teacher.parameters())


@pytest.mark.parametrize(("direction", "teacher"), PAIRS + PAIRS_P2)
def test_each_network_sees_the_images_that_the_direction_gives_it(direction: str, teacher: str) -> None:
    one, batch = rule(direction, teacher), tiny.batch()
    state = pixel_state(one)
    calls: list[tuple[str, bool, bool]] = []

    def watch(role: str, network: nn.Module) -> None:
        network.register_forward_hook(
            lambda _, inputs, output: calls.append((role, inputs[0].equal(batch.image[2:]), output.requires_grad))
        )

    for role, network in state.networks().items():
        watch(role, network)
    terms(one, state, batch)
    teacher_role = "teacher" if teacher == "mean" else "student"
    expected = {  # (network, clean images, learns)
        "1w-ps": {(teacher_role, True, False), ("student", False, True)},
        "1w-pt": {("student", True, True), (teacher_role, False, False)},
        "2w-p1": {("student", True, True), ("student", False, True)},
        "1w-p2": {("student", False, True), (teacher_role, False, False)},
    }[direction]
    assert calls[0] == ("student", False, True)  # labelled images
    assert len(calls) == 3
    assert set(calls[1:]) == expected


@pytest.mark.parametrize(("direction", "teacher"), PAIRS + PAIRS_P2)
def test_running_statistics_are_those_of_clean_images_alone(direction: str, teacher: str) -> None:
    one, batch = rule(direction, teacher), tiny.batch()
    state = tiny.start(one)
    expected = copy.deepcopy(state.student)
    expected(batch.image[:2])
    if direction != "1w-p2" and not (direction == "1w-ps" and teacher == "mean"):
        expected(batch.image[2:])  # the student sees them clean
    before = None if state.teacher is None else tiny.flat(state.teacher)
    terms(one, state, batch)
    torch.testing.assert_close(dict(state.student.named_buffers()), dict(expected.named_buffers()), rtol=0, atol=0)
    assert state.teacher is None or before is None or tiny.flat(state.teacher).equal(before)
    assert state.student.training
    assert state.teacher is None or not state.teacher.training


def test_held_statistics_still_normalise_by_the_batch() -> None:
    network, image = tiny.start(rule()).student, tiny.batch().image
    before = tiny.flat(network)
    with held_statistics(network):
        found = network(image)
        changed = network(image * 0.5)
    assert tiny.flat(network).equal(before)
    torch.testing.assert_close(found, network(image))
    assert not tiny.flat(network).equal(before)
    assert not torch.allclose(found, network.eval()(image), atol=1e-3)
    assert not changed.equal(found)


def test_held_statistics_are_released_after_an_error() -> None:
    network = nn.BatchNorm2d(3)
    with pytest.raises(KeyError), held_statistics(network):
        raise KeyError
    network(torch.rand(2, 3, 4, 4))
    assert network.num_batches_tracked == 1


def test_a_mean_teacher_under_perturbation_teaches_and_in_the_papers_code_does_not() -> None:
    batch = tiny.batch()
    for compat in (False, True):
        one = rule("1w-pt", paper_compat=compat)
        state = pixel_state(one)
        found = terms(one, state, batch)
        alone = torch.autograd.grad(found["segmentation"], list(state.student.parameters()), retain_graph=True)
        both = torch.autograd.grad(torch.stack(list(found.values())).sum(), list(state.student.parameters()))
        assert found["consistency"] > 0.01
        assert all(a.equal(b) for a, b in zip(alone, both, strict=True)) == compat


@pytest.mark.parametrize("changes", [{"direction": "1w-ps"}, {"direction": "1w-pt", "teacher": "simple"}], ids=["1w-ps", "simple"])
def test_paper_compat_changes_nothing_elsewhere(changes: dict[str, Any]) -> None:
    assert consistency(rule(**changes, paper_compat=True), tiny.batch()) == consistency(rule(**changes), tiny.batch())


def image_level(**changes: Any) -> tuple[OneWay, State, Batch]:
    one = rule(**changes)
    statistics = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    net = WideResNet(width=16, depth=1)

    def network(seed: int) -> nn.Module:
        built = build(net, 3, mean=statistics[0], std=statistics[1], seed=seed)
        with torch.no_grad():
            built.get_parameter("blocks.head.conv.weight").mul_(5)
        return built

    state = one.start(lambda role="student": network(0))
    if state.teacher is not None:
        state.teacher.load_state_dict(network(1).state_dict())
    classes = torch.tensor([0, 2, IGNORE, IGNORE]).reshape(4, 1, 1)
    valid = torch.ones(4, 1, 1, dtype=torch.bool)
    return one, state, tiny.batch()._replace(mask=classes, pseudo=None, confidence=None, valid=valid)


@pytest.mark.parametrize("perturbation", [PhTPS(), Cutout(), CutMix(area=(0.1, 0.3))], ids=lambda one: type(one).__name__)
def test_with_a_class_per_image_only_the_image_is_perturbed_and_every_image_counts(perturbation: PhTPS | Cutout | CutMix) -> None:
    one, state, batch = image_level(perturbation=perturbation)
    batch.image[3] *= torch.tensor([1.0, 0.1, 0.3]).reshape(3, 1, 1)
    state.student.eval()
    assert state.teacher is not None
    image = batch.image[2:]
    with torch.no_grad():
        target = state.teacher(image).softmax(1)[..., 0, 0]
    if isinstance(perturbation, PhTPS):
        seen = phtps(image, one.perturbation, generator()).image
    elif isinstance(perturbation, Cutout):
        seen = image.masked_fill(cutout_masks(2, tiny.SIZE, generator()), 0.5)
    else:
        mask = box_masks(boxes(2, tiny.SIZE, generator(), perturbation.area), tiny.SIZE, tiny.CPU)
        seen = mixed_by_loops(mask, image)
        assert (target[0] - target[1]).abs().max() > 0.02
        inner = mask.float().mean((2, 3))
        assert 0.05 < inner.min() < inner.max() < 0.35  # far from a half, so that the shares differ
        target = (1 - inner) * target + inner * target.flip(0)
    with torch.no_grad():
        log = state.student(seen).log_softmax(1)[..., 0, 0]
    expected = F.kl_div(log, target, reduction="batchmean")
    found = terms(one, state, batch)
    torch.testing.assert_close(found["consistency"], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        found["segmentation"], F.cross_entropy(state.student(batch.image[:2])[..., 0, 0], torch.tensor([0, 2]))
    )


@pytest.mark.parametrize(("direction", "teacher"), PAIRS + PAIRS_P2)
def test_every_direction_learns_from_a_class_per_image(direction: str, teacher: str) -> None:
    one, state, batch = image_level(direction=direction, teacher=teacher)
    terms(one, state, batch)["consistency"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in state.student.parameters())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in state.student.parameters())


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        ({}, {"direction": "1w-pt"}),
        ({}, {"direction": "1w-p2"}),
        ({"direction": "1w-pt", "teacher": "simple"}, {"direction": "2w-p1"}),
        ({}, {"teacher": "simple"}),
        ({}, ROWS["cutmix"]),
        ({}, {"perturbation": Cutout()}),
        ({}, ROWS["cutout"]),
        (ROWS["cutmix"], ROWS["cutmix*"]),
        (ROWS["cutmix"], {"perturbation": CutMix(area=(0.2, 0.2))}),
        ({}, {"perturbation": PhTPS(hue=0.3)}),
        ({}, {"perturbation": PhTPS(tps_grid="corners")}),
        ({}, {"distance": "mse_sum"}),
        (ROWS["cutmix*"] | {"threshold": 0.5}, {"distance": "kl"}),
        ({}, {"threshold": 0.9}),
        (ROWS["cutmix*"], {"threshold": 0.0}),
        ({}, {"weight": 0.7}),
        ({}, {"ramp": 0.9}),
        ({"direction": "1w-pt"}, {"paper_compat": True}),
    ],
    ids=str,
)
def test_each_setting_changes_the_loss_or_its_gradient(base: dict[str, Any], changes: dict[str, Any]) -> None:
    def gradient(one: OneWay) -> Tensor:
        state = pixel_state(one)
        torch.stack(list(terms(one, state, tiny.batch()).values())).sum().backward()
        return torch.cat([p.grad.flatten() for p in state.student.parameters() if p.grad is not None])

    one = rule(**base)
    assert not torch.allclose(gradient(one), gradient(replace(one, **changes)), rtol=1e-3)


@pytest.mark.parametrize("buffers", ["average", "copy"])
def test_the_mean_teacher_moves_with_every_step(buffers: Any) -> None:
    one = rule(ema=Ema(decay=(0.75,), buffers=buffers))
    state = tiny.start(one)
    assert state.teacher is not None
    name = "blocks.enc1.convs.1.running_var"
    state.student.get_buffer(name).fill_(5.0)
    before, weight = next(state.teacher.parameters()).clone(), next(state.student.parameters())
    with torch.no_grad():
        weight += 1
    one.after_step(state, NOW)
    torch.testing.assert_close(next(state.teacher.parameters()), 0.75 * before + 0.25 * weight)
    assert state.teacher.get_buffer(name).tolist() == pytest.approx([{"average": 2.0, "copy": 5.0}[buffers]] * 4)
    assert rule("1w-ps", "simple").start(lambda role="student": pixel_network(0)).teacher is None


def test_what_the_rule_asks_of_the_loop() -> None:
    assert rule().needs.unlabelled
    assert (rule().needs.draw, rule().needs.masks, rule().needs.initial) == ("mixed", None, {})
    assert (rule().evaluated, rule(evaluate="teacher").evaluated) == ("student", "teacher")
    (stage,) = tiny.chain(rule())
    assert (stage.name, stage.teachers) == ("one_way", ())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"direction": "1w"}, "method.direction: got '1w'; allowed: 1w-ps, 1w-pt, 2w-p1, 1w-p2"),
        ({"direction": "2w-p1"}, "method.teacher: got 'mean'; allowed: simple, as both branches of 2w-p1 learn"),
        (
            {"teacher": "simple", "evaluate": "teacher"},
            "method.evaluate: got 'teacher'; allowed: student, as method.teacher is simple",
        ),
        (
            {"direction": "1w-p2", "perturbation": CutMix()},
            "method.perturbation: got 'CutMix'; allowed: one such as PhTPS or Cutout, as",
        ),
        ({"weight": -1.0}, "method.weight: got -1.0; allowed: a number >= 0"),
        ({"threshold": 1.5}, r"method.threshold: got 1.5; allowed: a probability in \[0, 1\]"),
        ({"distance": "ce"}, "method.distance: got 'ce'; allowed: kl, mse_sum"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        OneWay(**changes)


def test_cutmix_needs_pairs() -> None:
    with pytest.raises(SettingError, match="train.batch_unlabelled: got 1; allowed: 2 or more with a perturbation that mixes"):
        tiny.chain(rule(perturbation=CutMix()), train=replace(tiny.TRAIN, batch_unlabelled=1))
    assert tiny.chain(rule(), train=replace(tiny.TRAIN, batch_unlabelled=1))


@pytest.mark.parametrize(
    "one",
    [OneWay(), OneWay(teacher="simple", weight=1.0, **ROWS["cutmix*"]), OneWay(direction="1w-p2")],
    ids=["mt", "cutmix*", "p2"],
)
def test_the_loss_falls_in_thirty_steps(one: OneWay) -> None:
    finished = tiny.run(tiny.chain(one, train=replace(tiny.TRAIN, steps=30, evaluations=1))[0])
    losses = tiny.losses(finished)
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_autocast_leaves_distances_in_single_precision() -> None:
    one, batch = rule(), tiny.batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = terms(one, tiny.start(one), batch)
    assert {term.dtype for term in found.values()} == {torch.float32}
