"""A phase of dynamic mutual training (feng2020_dmt, methods.md 1.2): the weight, the loss, the choice of confident pixels."""

import math
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor

from semiseg.batch import IGNORE, Batch
from semiseg.methods.dmt import DMT, STRONGER, WEAKER
from semiseg.methods.mutual import LEVELS, MutualTraining, dynamic_weight, gamma_part, lowest_kept
from semiseg.methods.rule import State
from semiseg.schedules import Moment

CLASSES = len(tiny.CLASSES)


def rule(share: float = 0.5, **changes: Any) -> MutualTraining:
    return DMT(**changes).rule(WEAKER, STRONGER, share)


def batch(seed: int = 0, **changes: Any) -> Batch:
    found = tiny.batch(seed, **changes)
    levels = torch.randint(LEVELS // CLASSES, LEVELS, found.mask.shape, generator=torch.Generator().manual_seed(seed))
    return found._replace(confidence=levels / (LEVELS - 1))


def taught(given: Batch) -> tuple[Tensor, Tensor]:
    """Pseudo-masks and confidences of a batch that has both."""
    assert given.pseudo is not None
    assert given.confidence is not None
    return given.pseudo, given.confidence


def logits_of(probs: list[list[float]]) -> Tensor:
    """(1,C,1,W) logits whose softmax is one row of `probs` a pixel."""
    return torch.tensor(probs).log().T[None, :, None, :]


def student(seed: int = 0) -> torch.nn.Conv2d:
    torch.manual_seed(seed)
    return torch.nn.Conv2d(3, CLASSES, 1)


def terms(which: MutualTraining, net: torch.nn.Module, given: Batch) -> dict[str, Tensor]:
    return dict(which.loss(State({"student": net}), given, tiny.at(0.5), torch.Generator()))


def online_terms(which: MutualTraining, net: torch.nn.Module, teacher: torch.nn.Module, given: Batch) -> dict[str, Tensor]:
    """With a teacher and without any mask that was made before."""
    state, bare = State({"student": net}, fixed={"teacher": teacher}), given._replace(pseudo=None, confidence=None)
    return dict(which.loss(state, bare, tiny.at(0.5), torch.Generator()))


def slow_weight(probs: Tensor, pseudo: Tensor, confidence: Tensor, gamma1: float, gamma2: float) -> Tensor:
    """Equation 2 pixel by pixel; probs (N,C,H,W)."""
    found = torch.zeros(pseudo.shape)
    for n, y, x in np.ndindex(*pseudo.shape):
        label = int(pseudo[n, y, x])
        if label == IGNORE:
            continue
        of = probs[n, :, y, x].tolist()
        if of.index(max(of)) == label:
            found[n, y, x] = of[label] ** gamma1
        elif confidence[n, y, x].item() >= max(of):
            found[n, y, x] = of[label] ** gamma2
    return found


def kept_by_sorting(values: list[int], share: float) -> list[bool]:
    """Which values the authors' code keeps: below number -int(n share) - 1 of the ascending ones it ignores."""
    if share >= 1 or len(values) * share < 1:
        return [True] * len(values)
    lowest = sorted(values)[-int(len(values) * share) - 1]
    return [value >= lowest for value in values]


def test_the_three_cases_of_the_weight() -> None:
    probs = [[0.6, 0.3, 0.1]] * 4
    pseudo = torch.tensor([[[0, 1, 1, IGNORE]]])
    confidence = torch.tensor([[[0.4, 0.7, 0.5, 1.0]]])
    found = dynamic_weight(logits_of(probs), pseudo, confidence, 2.0, 3.0)
    torch.testing.assert_close(found, torch.tensor([[[0.6**2, 0.3**3, 0.0, 0.0]]]))


def test_a_tie_of_confidences_goes_to_the_teacher() -> None:
    logits = logits_of([[0.6, 0.3, 0.1]] * 3)
    own = logits.softmax(1).max(1).values
    step = torch.tensor([[[0.0, 1e-6, -1e-6]]])
    found = dynamic_weight(logits, torch.ones(1, 1, 3, dtype=torch.int64), own + step, 3.0, 2.0)
    torch.testing.assert_close(found, torch.tensor([[[0.09, 0.09, 0.0]]]))


@pytest.mark.parametrize(("gamma1", "gamma2"), [(3.0, 3.0), (1.0, 5.0), (0.0, 2.0)])
def test_the_weight_of_every_pixel_equals_a_slow_loop(gamma1: float, gamma2: float) -> None:
    pseudo, confidence = taught(batch())
    pseudo[:, :3] = IGNORE
    logits = 2 * torch.randn((4, CLASSES, *tiny.SIZE), generator=torch.Generator().manual_seed(1))
    found = dynamic_weight(logits, pseudo, confidence, gamma1, gamma2)
    torch.testing.assert_close(found, slow_weight(logits.softmax(1), pseudo, confidence, gamma1, gamma2))
    assert 0 < (found == 0).float().mean() < 1


@pytest.mark.parametrize("reduction", ["pooled", "separate"])
def test_loss_and_gradient_are_those_of_a_cross_entropy_with_constant_weights(reduction: str) -> None:
    given, net = batch(), student()
    learned, confidence = taught(given)
    learned[3, :7] = IGNORE
    pseudo = learned.clone()
    pseudo[:2] = IGNORE

    logits = net(given.image)
    weight = slow_weight(logits.detach().softmax(1), pseudo, confidence, 1.0, 2.0)
    labelled = F.cross_entropy(logits[:2], given.mask[:2], reduction="sum")
    weighted = (weight * F.cross_entropy(logits, pseudo, ignore_index=IGNORE, reduction="none")).sum()
    pixels = tiny.SIZE[0] * tiny.SIZE[1]
    counts = (2 * pixels, 2 * pixels - 7 * tiny.SIZE[1])
    if reduction == "pooled":
        counts = (sum(counts), sum(counts))
    expected = {"segmentation": labelled / counts[0], "pseudo": weighted / counts[1]}

    found = terms(rule(1.0, gamma1=1.0, gamma2=2.0, reduction=reduction), net, given)
    torch.testing.assert_close(found, expected)
    for name, value in expected.items():
        ours = torch.autograd.grad(found[name], list(net.parameters()), retain_graph=True)
        constant = torch.autograd.grad(value, list(net.parameters()), retain_graph=True)
        for one, other in zip(ours, constant, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("ranking", "share"), [("global", 0.3), ("global", 1.0), ("class", 0.3)])
def test_masks_made_online_give_the_loss_of_the_report(ranking: Any, share: float) -> None:
    """Equations 2 to 5, pixel by pixel: y_A and c_A of the teacher for the unlabelled images, the most confident ones, L_X + L_U."""
    given, net, teacher = batch(), student(), student(5)
    given.valid[3, :4] = False
    found = online_terms(
        rule(share, masks="online", scope="batch", ranking=ranking, reduction="separate", gamma2=2.0), net, teacher, given
    )

    probs = teacher(given.image[2:]).detach().softmax(1)
    pixels = [place for place in np.ndindex(2, *tiny.SIZE) if given.valid[2 + place[0], place[1], place[2]]]
    label = {place: int(probs[place[0], :, place[1], place[2]].argmax()) for place in pixels}
    level = {place: round(float(probs[place[0], :, place[1], place[2]].max()) * (LEVELS - 1)) for place in pixels}
    pseudo = torch.full((2, *tiny.SIZE), IGNORE)
    for group in range(CLASSES) if ranking == "class" else (None,):
        members = [place for place in pixels if group is None or label[place] == group]
        for place, kept in zip(members, kept_by_sorting([level[place] for place in members], share), strict=True):
            pseudo[place] = label[place] if kept else IGNORE
    logits = net(given.image)
    weight = slow_weight(logits[2:].detach().softmax(1), pseudo, probs.max(1).values, 3.0, 2.0)
    unlabelled = weight * F.cross_entropy(logits[2:], pseudo, ignore_index=IGNORE, reduction="none")
    expected = {
        "segmentation": F.cross_entropy(logits[:2], given.mask[:2]),
        "pseudo": unlabelled.sum() / (pseudo != IGNORE).sum(),
    }
    torch.testing.assert_close(found, expected)
    sum(found.values(), start=torch.zeros(())).backward()
    assert teacher.weight.grad is None
    assert net.weight.grad is not None


def test_the_teacher_of_masks_made_online_does_not_change_and_is_not_stored() -> None:
    state = tiny.start(rule(masks="online", scope="batch"))
    (teacher,) = state.fixed.values()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    state.student.train()
    torch.stack(
        [*rule(masks="online", scope="batch").loss(state, batch(), tiny.at(0.5), torch.Generator()).values()]
    ).sum().backward()
    assert all(value.equal(before[name]) for name, value in teacher.state_dict().items())
    assert not any(value.requires_grad for value in teacher.parameters())
    assert state.networks().keys() == {"student"}


def test_exponents_rise_over_a_phase_as_a_half_bell() -> None:
    """gamma(t) = gamma exp(-5 (1 - t/T)^2), t = 1 ... T (Feng et al. 2020, CIFAR-10)."""
    found = [gamma_part("sigmoid", Moment(step, 8, 4)) for step in range(8)]
    assert found == pytest.approx([math.exp(-5 * (1 - t / 8) ** 2) for t in range(1, 9)])
    assert [gamma_part("constant", Moment(step, 8, 4)) for step in (0, 7)] == [1, 1]
    given, net = batch(), student()
    part = math.exp(-5 * (1 - 501 / 1000) ** 2)
    rising = terms(rule(gamma1=2.0, gamma2=4.0, gamma_schedule="sigmoid"), net, given)
    assert rising["pseudo"].item() == pytest.approx(terms(rule(gamma1=2 * part, gamma2=4 * part), net, given)["pseudo"].item())
    assert rising["pseudo"] > terms(rule(gamma1=2.0, gamma2=4.0), net, given)["pseudo"]


def test_pooled_and_separate_by_hand() -> None:
    """Three labelled pixels and one pseudo-labelled, all with probability 1/2 of their class: weight 1/4, losses of log 2."""
    net = torch.nn.Conv2d(3, 2, 1)
    for value in net.parameters():
        torch.nn.init.zeros_(value)
    mask = torch.tensor([[[0, 1, 0]], [[IGNORE] * 3]])
    pseudo = torch.tensor([[[1, 1, 1]], [[0, IGNORE, IGNORE]]])
    given = Batch(torch.rand(2, 3, 1, 3), mask, pseudo, mask >= 0, 1, torch.ones(2, 1, 3))
    log2 = np.log(2)
    pooled = terms(rule(1.0, gamma1=2.0, reduction="pooled"), net, given)
    separate = terms(rule(1.0, gamma1=2.0, reduction="separate"), net, given)
    assert {name: value.item() for name, value in pooled.items()} == pytest.approx(
        {"segmentation": 3 / 4 * log2, "pseudo": log2 / 16}
    )
    assert {name: value.item() for name, value in separate.items()} == pytest.approx({"segmentation": log2, "pseudo": log2 / 4})


def test_pseudo_masks_of_labelled_rows_are_not_learned_and_ignored_pixels_give_zero() -> None:
    given, net = batch(), student()
    pseudo, _ = taught(given)
    changed = pseudo.clone()
    changed[:2] = 1 - changed[:2].clamp(max=1)
    for scope in ("dataset", "batch"):
        one, other = (terms(rule(scope=scope), net, given._replace(pseudo=masks)) for masks in (pseudo, changed))
        assert one == other
        found = terms(rule(scope=scope), net, batch(ignored=True))
        assert {name: value.item() for name, value in found.items()} == {"segmentation": 0, "pseudo": 0}


@pytest.mark.parametrize("share", [0.01, 0.2, 0.25, 0.5, 0.9, 0.999, 1.0])
def test_the_lowest_confidence_kept_equals_that_of_sorting(share: float) -> None:
    generator = np.random.default_rng(int(share * 1000))
    groups = [generator.integers(0, top, size) for top in (LEVELS, 40, 1) for size in (1, 2, 4, 5, 99, 1000)]
    counts = torch.stack([torch.from_numpy(np.bincount(group, minlength=LEVELS)) for group in groups])
    for group, lowest in zip(groups, lowest_kept(counts, share).tolist(), strict=True):
        assert (group >= lowest).tolist() == kept_by_sorting(group.tolist(), share)


def test_one_more_than_the_share_is_kept_and_all_of_a_class_too_small_to_share() -> None:
    counts = torch.zeros(3, LEVELS, dtype=torch.int64)
    counts[0, 100:110] = 1
    counts[1, 100:104] = 1
    assert lowest_kept(counts, 0.2).tolist() == [107, 0, 0]  # 2 + 1 of 10 pixels; 4 x 0.2 < 1; none
    assert lowest_kept(counts, 0.25).tolist() == [107, 102, 0]
    assert lowest_kept(counts, 1.0).tolist() == [0, 0, 0]


def maps() -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Two masks of different sizes with three classes, of which a rare one is never confident, and their confidences."""
    generator = np.random.default_rng(0)
    masks = {3: generator.integers(0, 2, (9, 11), np.uint8), 5: generator.integers(0, 2, (6, 4), np.uint8)}
    masks[3][:2, :5] = 2
    confidences = {row: generator.integers(30000, LEVELS, mask.shape).astype(np.uint16) for row, mask in masks.items()}
    confidences[3][masks[3] == 2] = 25000 + np.arange(10)
    return masks, confidences


@pytest.mark.parametrize("ranking", ["class", "global"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.8, 1.0])
def test_the_most_confident_pixels_of_the_data_set_equal_those_of_a_slow_loop(ranking: str, share: float) -> None:
    masks, confidences = maps()
    label = np.concatenate([mask.ravel() for mask in masks.values()])
    level = np.concatenate([one.ravel() for one in confidences.values()])
    expected = label.copy()
    for group in (0, 1, 2) if ranking == "class" else (None,):
        members = np.flatnonzero(label == group) if group is not None else np.arange(len(label))
        kept = kept_by_sorting(level[members].tolist(), share)
        expected[members[~np.array(kept)]] = IGNORE
    found = rule(share, ranking=ranking).filtered(masks, confidences)
    assert np.array_equal(np.concatenate([np.ravel(found[row]) for row in masks]), expected)
    assert {row: (mask.shape, mask.dtype) for row, mask in found.items()} == {row: (m.shape, m.dtype) for row, m in masks.items()}


def test_a_rare_class_that_is_never_confident_is_learned_only_when_each_class_is_ranked() -> None:
    masks, confidences = maps()
    found = {ranking: np.asarray(rule(0.5, ranking=ranking).filtered(masks, confidences)[3]) for ranking in ("class", "global")}
    assert {ranking: int((mask == 2).sum()) for ranking, mask in found.items()} == {"class": 6, "global": 0}


@pytest.mark.parametrize("ranking", ["class", "global"])
def test_within_a_batch_only_its_unlabelled_rows_are_ranked(ranking: str) -> None:
    given, net = batch(), student()
    learned, confidence = taught(given)
    learned[3, -4:] = IGNORE  # out of frame
    levels = (confidence * (LEVELS - 1)).round().long()
    pseudo = learned.clone()
    for group in range(CLASSES) if ranking == "class" else (None,):
        members = pseudo != IGNORE if group is None else pseudo == group
        members[:2] = False
        kept = torch.zeros_like(members)
        kept[members] = torch.tensor(kept_by_sorting(levels[members].tolist(), 0.3))
        pseudo[members & ~kept] = IGNORE
    by_hand = terms(rule(1.0), net, given._replace(pseudo=pseudo))
    found = terms(rule(0.3, scope="batch", ranking=ranking), net, given)
    torch.testing.assert_close(found, by_hand)
    assert found["pseudo"] != terms(rule(1.0), net, given)["pseudo"]
    masks, confidences = maps()
    assert rule(0.3, scope="batch").filtered(masks, confidences) is masks


def test_a_class_of_a_whole_image_is_ranked_and_learned_like_a_pixel() -> None:
    given = batch()
    mask, pseudo, confidence, valid = (value[:, :1, :1] for value in (given.mask, *taught(given), given.valid))
    given = Batch(given.image[:, :, :1, :1], mask, pseudo, valid, 2, confidence)
    for scope in ("dataset", "batch"):
        assert all(value.isfinite() for value in terms(rule(scope=scope), student(), given).values())


@pytest.mark.parametrize("changes", [{"gamma1": 5.0}, {"gamma2": 5.0}, {"scope": "batch"}, {"reduction": "separate"}], ids=str)
def test_another_setting_gives_another_loss(changes: dict[str, Any]) -> None:
    given, net = batch(), student()
    assert terms(rule(**changes), net, given)["pseudo"] != terms(rule(), net, given)["pseudo"]
