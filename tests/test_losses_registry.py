"""What every loss of labelled pixels must do, with every switch and kind of weights: a new entry of LOSSES is tested by being there."""

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from random_pixels import SHAPE, logits, one_hot, some_mask
from torch import Tensor

from semiseg.batch import IGNORE, Shares
from semiseg.codec import from_json, read_row, to_json, write_row
from semiseg.config import SettingError
from semiseg.losses import LOSSES, CrossEntropy, Focal, Loss
from semiseg.methods import METHODS, Method, Supervised
from semiseg.methods.rule import Rule
from semiseg.stage import Stage, plain
from semiseg.sweep.rows import resolve_row

SHARES = Shares(torch.tensor([0.7, 0.1, 0.2]), torch.tensor([0.7, 0.5, 0.2]))
WEIGHTS = ("inverse", "median", (0.2, 1.0, 3.0))


def variants(name: str) -> Iterator[tuple[str, Loss]]:
    """A loss with its defaults, with each switch turned, and with each kind of weights."""
    made: Any = LOSSES[name]()
    yield name, made
    for one in fields(made):
        value = getattr(made, one.name)
        others = (not value,) if isinstance(value, bool) else WEIGHTS if one.name == "weights" else ()
        for other in others:
            yield f"{name} {one.name}={other}", replace(made, **{one.name: other})


ALL = {words: loss for name in LOSSES for words, loss in variants(name)}
EVERY = pytest.mark.parametrize("loss", ALL.values(), ids=ALL.keys())


def gradient(loss: Loss, score: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Value, and gradient with respect to the logits."""
    score = score.detach().requires_grad_()
    value = loss(score, mask, SHARES)
    (found,) = torch.autograd.grad(value, score)
    return value.detach(), found


@EVERY
def test_it_is_zero_with_a_zero_gradient_when_every_pixel_is_ignored(loss: Loss) -> None:
    value, found = gradient(loss, logits(), torch.full((2, 4, 5), IGNORE))
    assert value == 0
    assert found.count_nonzero() == 0


@EVERY
def test_ignored_pixels_and_unlabelled_rows_weigh_as_if_they_were_not_there(loss: Loss) -> None:
    score, mask = logits(), some_mask(0)
    mask[:, :, 3:] = IGNORE
    score[..., 3:] = 1e4 * logits(1)[..., 3:]
    for whole, part in ((score, score[..., :3]), (score[:1], score[:1, :, :, :3])):
        value, found = gradient(loss, whole, mask[: len(whole)])
        expected = gradient(loss, part, mask[: len(whole), :, :3])
        torch.testing.assert_close((value, found[..., :3]), expected)
        assert found[..., 3:].count_nonzero() == 0
    mask[1] = IGNORE
    torch.testing.assert_close(loss(score, mask, SHARES), loss(score[:1], mask[:1], SHARES))


@EVERY
def test_it_is_smallest_at_the_truth_and_finite_for_extreme_logits(loss: Loss) -> None:
    mask = some_mask()
    best, flat = gradient(loss, 50 * one_hot(mask), mask)
    assert flat.abs().max() < 1e-6
    for scale in (0.1, 1, 1e4, 1e30):
        value, found = gradient(loss, scale * logits(), mask)
        assert value > best
        assert (value.dtype, value.shape) == (torch.float32, ())
        assert value.isfinite()
        assert found.isfinite().all()
    wrong = gradient(loss, -50 * one_hot(mask), mask)[0]
    assert wrong > gradient(loss, logits(), mask)[0]


@EVERY
def test_a_step_down_its_gradient_lowers_it(loss: Loss) -> None:
    score, mask = logits(), some_mask()
    value, found = gradient(loss, score, mask)
    assert loss(score - 0.1 * found / found.norm(), mask, SHARES) < value


@EVERY
def test_half_precision_logits_are_summed_in_single_precision_also_under_autocast(loss: Loss) -> None:
    score, mask = logits().bfloat16(), some_mask()
    expected = loss(score.float(), mask, SHARES)
    torch.testing.assert_close(loss(score, mask, SHARES), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(score, mask, SHARES)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


@EVERY
def test_foreground_classes_have_no_order(loss: Loss) -> None:
    """Class 0 is the background; the others change places with their weights and shares."""
    order = torch.tensor([0, 2, 1])
    score, mask = logits(), some_mask()
    moved = torch.where(mask == IGNORE, mask, order[mask.clamp(max=2)])
    weights = getattr(loss, "weights", None)
    other = replace(loss, weights=tuple(weights[i] for i in order)) if isinstance(weights, tuple) else loss
    shares = Shares(*(one[order] for one in SHARES))
    torch.testing.assert_close(other(score[:, order], moved, shares), loss(score, mask, SHARES))


@EVERY
def test_a_class_of_a_whole_image_counts_like_an_image_of_one_pixel(loss: Loss) -> None:
    score, truth = logits().movedim(1, 3).reshape(-1, SHAPE[1], 1, 1), some_mask().reshape(-1, 1, 1)
    value, found = gradient(loss, score, truth)
    assert value.isfinite()
    assert found[(truth != IGNORE)[:, 0, 0]].count_nonzero() > 0
    assert found[(truth == IGNORE)[:, 0, 0]].count_nonzero() == 0


@EVERY
def test_its_part_among_other_pixels_is_the_share_of_its_own(loss: Loss) -> None:
    score, mask = logits(), some_mask()
    counted = (mask != IGNORE).sum()
    for others in (0, 7, 1000):
        expected = loss(score, mask, SHARES) * counted / (counted + others)
        torch.testing.assert_close(loss.among(torch.tensor(others), score, mask, SHARES), expected)
    assert loss.among(torch.tensor(0), score, torch.full_like(mask, IGNORE), SHARES) == 0


@EVERY
def test_a_mask_of_another_size_is_refused_naming_both_shapes(loss: Loss) -> None:
    message = r"mask: expected \(N,H,W\) = \(2, 4, 5\) to go with logits \(2, 3, 4, 5\), got \(2, 5, 4\)"
    with pytest.raises(ValueError, match=message):
        loss(logits(), torch.zeros(2, 5, 4).long(), SHARES)


@EVERY
def test_it_is_spelled_in_words_json_and_keys_and_read_back(loss: Loss) -> None:
    methods = {name: kind() for name, kind in METHODS.items()}
    made = Supervised(objective=loss)
    words = write_row(read_row(f"supervised {spelled(loss)}", methods), methods)
    assert resolve_row("t", "r", read_row(words, methods), methods).method == made
    written = json.loads(json.dumps(to_json(made)))
    assert from_json(Supervised, written) == made
    kind, key = type(loss), plain(made)["objective"]
    assert key == kind.WORD if kind.WORD and loss == kind() else key == written["objective"] | {"type": kind.__name__}


def spelled(loss: Loss) -> str:
    name = next(name for name, kind in LOSSES.items() if type(loss) is kind)
    changed = [
        (one.name, getattr(loss, one.name)) for one in fields(loss) if getattr(loss, one.name) != getattr(type(loss)(), one.name)
    ]
    return " ".join([f"objective={name}", *(f"objective.{name}={value}".replace(" ", "") for name, value in changed)])


def test_what_was_a_word_before_is_its_name_in_the_registry_and_a_file_that_says_the_word_is_read() -> None:
    words = {name: kind.WORD for name, kind in LOSSES.items() if kind.WORD}
    assert words == {name: name for name in ("ce", "dice", "soft_dice")}
    for name in LOSSES:
        saved = {"type": "supervised", "objective": name, "perturbation": None}
        assert from_json(Method, saved) == Supervised(objective=LOSSES[name]())
    with pytest.raises(TypeError, match="has no type among ce, dice"):
        from_json(Method, {"type": "supervised", "objective": "mse"})


def test_every_loss_is_described() -> None:
    text = (Path(__file__).parents[1] / "docs" / "losses.md").read_text(encoding="utf-8")
    names = {*LOSSES, *(one.name for kind in LOSSES.values() for one in fields(kind))}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


# ---- every loss in every method


def stages(name: str, loss: Loss) -> list[Stage]:
    """A stage for every rule that trains of a method with a loss."""
    method: Any = METHODS[name]
    made = method(objective=loss).stages(tiny.SPLIT, tiny.NET, replace(tiny.TRAIN, steps=30), 0)
    return list({(type(one.rule), one.rule.own_blocks): one for one in made if one.train.steps > 0}.values())


def segmentation(rule: Rule) -> Tensor:
    state = tiny.start(rule)
    state.student.train()
    shares = Shares(torch.full((5,), 0.2), torch.tensor([0.2, 0.3, 0.4, 0.5, 0.6]))
    batch = tiny.batch()._replace(shares=shares)
    return rule.loss(state, batch, tiny.at(0.5), torch.Generator().manual_seed(0))["segmentation"]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_every_loss_for_its_labelled_pixels_in_every_stage(name: str) -> None:
    found = [[segmentation(one.rule).item() for one in stages(name, LOSSES[kind]())] for kind in LOSSES]
    for values in zip(*found, strict=True):
        assert len({round(value, 6) for value in values}) >= len(LOSSES) - 1  # to a fresh network all pixels are hard: ohem is ce
    kinds = [one.rule for one in stages(name, CrossEntropy(weights="median"))]
    assert all(segmentation(rule).isfinite() for rule in kinds)


@pytest.mark.parametrize("name", METHODS)
def test_another_loss_has_other_keys_in_every_stage(name: str) -> None:
    keys = [{one.key for one in stages(name, loss)} for loss in (CrossEntropy(), Focal(), Focal(gamma=3.0))]
    assert len(set().union(*keys)) == sum(map(len, keys))


@pytest.mark.parametrize("name", METHODS)
def test_an_objective_is_a_loss_and_nothing_else(name: str) -> None:
    method: Any = METHODS[name]
    with pytest.raises(SettingError, match=r"^method.objective: got 'ce'; allowed: a Loss$"):
        method(objective="ce")
