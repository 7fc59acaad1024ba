"""How everything moves with the pixels, alike for every entry of PERTURBATIONS and every chain of two: a new entry is tested here by
being registered."""

import pytest
import torch
import torch.nn.functional as F
from perturbation_tools import (
    CLASSES,
    COUNT,
    EVERY,
    SIZE,
    bits,
    call,
    moving,
    padded,
    pair_of_scenes,
    scenes,
    some_probs,
    whole,
)
from test_augment_weak import COLOURS, interior, seeded
from torch import Tensor

from semiseg.augment import PERTURBATIONS, perturbation_named
from semiseg.augment import randaugment as randaugment_module
from semiseg.augment.operations import GEOMETRIC
from semiseg.augment.perturbation import perturb_batch
from semiseg.batch import IGNORE


@pytest.fixture
def still_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(randaugment_module, "OPS", GEOMETRIC)


def allowed(name: str) -> float:
    """Share of pixels that may differ: the edge of a box hides that a class borders on another, which a second step's blur shows."""
    return 0.002 if "+" in name else 0.0


def one_hot(labels: Tensor) -> Tensor:
    return F.one_hot(labels, CLASSES).movedim(3, 1).float()


@EVERY
@pytest.mark.usefixtures("still_colours")
def test_labels_move_with_the_pixels_that_show_them(name: str) -> None:
    """The colour of every valid pixel away from borders is that of its label."""
    view, labels, partner, others = pair_of_scenes()
    for seed in range(3):
        made = call(moving(name), view, partner, seed)
        moved = made.labels(labels, others)
        inside = interior(moved, made.valid, 3)
        assert inside.float().mean() > 0.03
        colours = torch.from_numpy(COLOURS).float()[moved.clamp(max=CLASSES - 1)] / 255
        wrong = (made.image.movedim(1, 3) - colours)[inside].abs().amax(1) > 2e-3
        assert wrong.float().mean() <= allowed(name)
        assert (moved[made.valid] != IGNORE).all()
        assert (moved[~made.valid] == IGNORE).all()


@EVERY
def test_probabilities_move_with_labels(name: str) -> None:
    view, labels, partner, others = pair_of_scenes()
    made = call(moving(name), view, partner)
    moved, probs = made.labels(labels, others), made.move(one_hot(labels), one_hot(others))
    assert made.move.logits(one_hot(labels), one_hot(others)).equal(probs)
    inside = interior(moved, made.valid, 3)
    wrong = (probs.movedim(1, 3)[inside] - F.one_hot(moved[inside], CLASSES)).abs().amax(1) > 1e-4
    assert wrong.float().mean() <= allowed(name)
    whole_sum = interior(made.valid.long(), made.valid, 2) if "+" in name else made.valid
    torch.testing.assert_close(probs.sum(1)[whole_sum], torch.ones(int(whole_sum.sum())), atol=1e-5, rtol=0)
    assert (probs >= 0).all()


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_labels_are_those_of_the_nearest_pixel(name: str) -> None:
    """Numbers of rows and columns, read as labels and as floats, are half a pixel apart at most."""
    view, _, partner, _ = pair_of_scenes()
    made = call(moving(name), view, partner)
    y, x = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    own = torch.stack([y, x]).expand(COUNT, 2, -1, -1)
    theirs = own + 100
    apart = (made.move(own.float(), theirs.float()) - made.move(own, theirs)).abs().amax(1)
    assert apart[made.valid].max() <= 0.5 + 1e-3


@EVERY
def test_one_channel_moves_like_many_and_keeps_shape_and_type(name: str) -> None:
    view, labels, partner, others = pair_of_scenes()
    made = call(moving(name), view, partner)
    probs, theirs = some_probs(), some_probs(1)
    several = made.move(torch.stack([labels, 3 - labels], 1), torch.stack([others, 3 - others], 1))
    moved = made.move(labels, others), made.move(3 - labels, 3 - others)
    assert several.equal(torch.stack(moved, 1))
    assert (several.dtype, moved[0].shape) == (torch.int64, labels.shape)
    assert made.move(probs[:, 0], theirs[:, 0]).equal(made.move(probs, theirs)[:, 0])
    shown = made.move(view.valid, partner.valid)
    assert (shown.dtype, shown.shape) == (torch.bool, view.valid.shape)
    assert (made.image.shape, made.image.dtype, made.valid.dtype) == (view.image.shape, torch.float32, torch.bool)
    assert made.clean.shape == view.image.shape


@EVERY
def test_where_an_image_shows_nothing_labels_are_ignored_bools_false_and_floats_0(name: str) -> None:
    view, labels, partner, others = pair_of_scenes()
    for seed in range(3):
        made = call(moving(name), view, partner, seed)
        shown, share = made.move(view.valid, partner.valid), made.move(view.valid.float(), partner.valid.float())
        nothing = made.move(labels, others) == IGNORE
        assert not (made.valid & ~shown).any()
        assert not (shown & nothing).any()
        all_of_it = interior(shown.long(), shown, 2) if "+" in name else shown
        torch.testing.assert_close(share[all_of_it], torch.ones(int(all_of_it.sum())))
        assert (share[~nothing] > 0).all()
        assert nothing[share == 0].all()
        assert (made.move(some_probs(), some_probs(1))[(share == 0)[:, None].expand(-1, CLASSES, -1, -1)] == 0).all()


@EVERY
def test_what_does_not_count_before_does_not_count_after(name: str) -> None:
    view, _, partner, _ = pair_of_scenes()
    for seed in range(3):
        full, part = (call(moving(name), *views, seed) for views in ((view, partner), (padded(view), padded(partner))))
        assert part.image.equal(full.image)
        assert not (part.valid & ~full.valid).any()
        assert not (part.valid & ~part.move(padded(view).valid, padded(partner).valid)).any()
        assert part.valid.sum() < full.valid.sum()


@EVERY
def test_a_class_of_a_whole_image_keeps_its_shape_and_probabilities_their_sum(name: str) -> None:
    view, partner = whole(scenes()[0]), whole(scenes(COUNT)[0])
    for perturbation in (perturbation_named(name), moving(name)):
        made = call(perturbation, view, partner)
        assert made.image.shape == view.image.shape
        assert made.valid.equal(view.valid)
        classes, others = (torch.arange(first, first + COUNT).reshape(COUNT, 1, 1) for first in (0, COUNT))
        moved = made.labels(classes, others)
        assert moved.shape == classes.shape
        assert ((moved == classes) | (moved == others)).all()
        probs, theirs = some_probs(0, (1, 1)), some_probs(1, (1, 1))
        mixed = made.move(probs, theirs)
        assert mixed.shape == probs.shape
        torch.testing.assert_close(mixed.sum(1), torch.ones(COUNT, 1, 1))
        torch.testing.assert_close(made.move.logits(probs.log() + 3, theirs.log() - 2).softmax(1), mixed)
        torch.testing.assert_close(made.move(probs[:, 0], theirs[:, 0]), mixed[:, 0])


def smooth() -> Tensor:
    """Values (N,1,H,W) in -1..1 that bilinear reading hardly changes."""
    y, x = torch.meshgrid(torch.linspace(0, 3, SIZE[0]), torch.linspace(0, 4, SIZE[1]), indexing="ij")
    return torch.sin(x + 2 * torch.cos(y)).expand(COUNT, 1, -1, -1)


@EVERY
@pytest.mark.usefixtures("still_colours")
def test_what_is_shared_with_a_teacher_is_the_motion_and_the_mix(name: str) -> None:
    """Without a change of colours a teacher that shares them sees the student's images; of Cutout, those beside its boxes."""
    view, _ = scenes()
    for one in (view,) if "cutout" in name else (view, whole(view)):
        made = perturb_batch(moving(name), one, seeded())
        apart = (made.shared(view.image) - made.image).abs().amax(1)
        seen = interior(made.valid.long(), made.valid, 2) if "cutout" in name else torch.ones_like(view.valid)
        assert seen.float().mean() > 0.03
        assert (apart[seen] > 1e-5).float().mean() <= allowed(name)


@EVERY
@pytest.mark.usefixtures("still_colours")
def test_two_draws_of_a_pair_differ_and_meet_where_that_is_said(name: str) -> None:
    """Values that a network says of one view, moved to the other, are the values of the clean images moved there."""
    for perturbation in (perturbation_named(name), moving(name)):
        view, labels, partner, _ = pair_of_scenes()
        seen, other = perturbation.pair(view, seeded(), partner=partner if perturbation.partner else None)
        assert not seen.image.equal(other.image)
        if not perturbation.meets:
            with pytest.raises(ValueError, match="two views that do not meet"):
                seen.move.meet(other.move)
            continue
        across, values = seen.move.meet(other.move), smooth()
        both = seen.valid & across(other.valid)
        assert both.float().mean() > 0.15
        wrong = (across(other.move(values)) - seen.move(values)).abs()[both[:, None]]
        assert wrong.max() < 0.06
        assert wrong.mean() < 0.005
        moved = across(other.move(labels))
        agree = (moved == seen.move(labels))[interior(seen.labels(labels), both, 2)]
        assert agree.float().mean() > 0.999


@EVERY
def test_gradients_pass_through_a_move_as_through_a_linear_map(name: str) -> None:
    """w . move(own, partner) is the sum of both maps times their gradients."""
    perturbation = moving(name)
    for size, view in ((SIZE, scenes()[0]), ((1, 1), whole(scenes()[0]))):
        made = call(perturbation, view, view)
        own, partner = some_probs(0, size).requires_grad_(), some_probs(1, size).requires_grad_()
        weight = torch.randn(own.shape, generator=seeded(5))
        total = (weight * made.move(own, partner)).sum()
        gradients = torch.autograd.grad(total, (own, partner), allow_unused=not perturbation.partner)
        assert gradients[0].abs().max() > 0
        parts = [(grad * map_).sum() for grad, map_ in zip(gradients, (own, partner), strict=True) if grad is not None]
        torch.testing.assert_close(torch.stack(parts).sum(), total, atol=1e-3, rtol=1e-4)
        (gradient,) = torch.autograd.grad((weight * made.move.logits(own, partner)).sum(), own)
        assert gradient.isfinite().all()


@EVERY
def test_autocast_around_it_changes_nothing(name: str) -> None:
    view, labels, partner, _ = pair_of_scenes()
    maps = labels, some_probs(), view.valid
    expected = bits(call(moving(name), view, partner), *maps)
    with torch.autocast("cpu", torch.bfloat16):
        found = bits(call(moving(name), view, partner), *maps)
        narrow = call(moving(name), view, partner).move(maps[1].bfloat16(), maps[1].bfloat16())
    assert all(one.equal(other) for one, other in zip(expected, found, strict=True))
    assert narrow.isfinite().all()
