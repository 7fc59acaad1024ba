"""Two published augmentations written with what there is, as examples of how to: ClassMix as a new entry, AugSeg as its caller."""

import math
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from perturbation_tools import everywhere, moving, padded
from test_augment_weak import seeded
from torch import Tensor

from semiseg import augment
from semiseg.augment import PERTURBATIONS, Chain, CutMix, Perturbation, Perturbed, View, perturbation_named
from semiseg.augment.cutmix import Mixed
from semiseg.augment.perturbation import perturb_batch


@dataclass(frozen=True, kw_only=True)
class ClassMix(Perturbation):
    """Half of the classes that a teacher sees in an image, rounded up, over its partner (Olsson et al. 2021, arXiv:2007.07936)."""

    @property
    def partner(self) -> bool:
        return True

    @property
    def meets(self) -> bool:
        return False  # two mixes show other images at the same place

    @property
    def guided(self) -> bool:
        return True

    def __call__(self, view: View, generator: torch.Generator, *, partner: View | None = None) -> Perturbed:
        probs = view.probs
        if partner is None or probs is None:
            raise ValueError("ClassMix: needs a partner batch and a teacher's probabilities")
        predicted = probs.max(1).indices
        seen = F.one_hot(predicted, probs.shape[1]).flatten(1, 2).amax(1)  # (N,C)
        order = seen * (1 + torch.rand(seen.shape, generator=generator).to(seen.device))  # those not seen come last
        kept = order.argsort(1, descending=True).argsort(1) < (seen.sum(1, keepdim=True) + 1) // 2
        move = Mixed(~kept.gather(1, predicted.flatten(1)).view_as(predicted)[:, None])
        return Perturbed(move(view.image, partner.image), move(view.valid, partner.valid), move, view.image)


def coded(count: int, first: int, size: tuple[int, int] = (12, 14)) -> tuple[View, Tensor]:
    """Images of one value each, (first + n) / 20, and labels of the value first + n."""
    numbers = torch.arange(first, first + count).reshape(count, 1, 1).expand(count, *size)
    return everywhere((numbers[:, None] / 20).expand(count, 3, *size).contiguous()), numbers.contiguous()


def some_classes(count: int, classes: int, size: tuple[int, int] = (12, 14)) -> Tensor:
    """Probabilities of a teacher that sees stripes of up to that many classes."""
    columns = torch.arange(size[1]) * torch.arange(1, count + 1)[:, None] // 5 % classes
    return 0.8 * F.one_hot(columns, classes + 2).movedim(2, 1)[:, :, None].expand(-1, -1, size[0], -1) + 0.2 / (classes + 2)


def test_classmix_keeps_half_of_the_classes_that_the_teacher_sees_and_all_moves_along() -> None:
    probs, (view, own), (partner, theirs) = some_classes(6, 5), coded(6, 0), coded(6, 6)
    drawn = set()
    for seed in range(10):
        made = ClassMix()(view._replace(probs=probs), seeded(seed), partner=padded(partner))
        labels = made.move(own, theirs)
        assert (made.image[:, 0] * 20).round().long().equal(labels)
        for n in range(6):
            from_own = labels[n] == n
            predicted = probs[n].argmax(0)
            kept, seen = set(predicted[from_own].tolist()), set(predicted.flatten().tolist())
            assert len(kept) == math.ceil(len(seen) / 2)
            assert from_own.equal(torch.isin(predicted, torch.tensor(sorted(kept))))
            assert made.valid[n].equal(from_own | padded(partner).valid[n])
            drawn.add((n, *sorted(kept)))
        assert made.move(probs, probs.flip(0)).equal(torch.where((labels < 6)[:, None], probs, probs.flip(0)))
    assert len(drawn) > 12


def test_one_line_registers_classmix_for_every_name_and_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "PERTURBATIONS", {**PERTURBATIONS, "classmix": ClassMix})
    assert perturbation_named("classmix") == ClassMix()
    assert perturbation_named("classmix+cutout").partner
    assert not perturbation_named("gentle+classmix").meets
    with pytest.raises(ValueError, match="needs a partner batch and a teacher's probabilities"):
        ClassMix()(coded(2, 0)[0], seeded(), partner=coded(2, 2)[0])


def test_classmix_after_a_warp_follows_what_the_teacher_sees_there() -> None:
    """A chain moves the probabilities to where the next step's images show the same."""
    probs, (view, own) = some_classes(6, 5), coded(6, 0)
    made = perturb_batch(Chain(steps=(moving("gentle"), ClassMix())), view._replace(probs=probs), seeded())
    warped = moving("gentle")(view, seeded())
    predicted, labels = warped.move(probs).argmax(1), made.move(own)
    for n in range(6):
        from_own = labels[n] == n
        kept = set(predicted[n][from_own].tolist())
        assert from_own.any()
        assert not kept & set(predicted[n][labels[n] == (n - 1) % 6].tolist())


def augseg(view: View, probs: Tensor, known: View, masks: Tensor, generator: torch.Generator) -> tuple[Perturbed, Tensor, Tensor]:
    """Adaptive label injection, then CutMix (Zhao et al. 2023, arXiv:2212.04976), of N unlabelled images with as many labelled ones.

    With probability 1 - a the partner of an image has got a box of a labelled image, with its mask and confidence 1. As in the authors'
    code a is the mean over pixels of the largest probability times 1 - entropy / log C.

    Returns: the mixed images, their pseudo-masks (N,H,W) and confidences (N,H,W).
    """
    confidence, pseudo = probs.max(1)
    certain = 1 + probs.xlogy(probs).sum(1) / math.log(probs.shape[1])
    unsure = torch.rand(len(probs), generator=generator) >= (certain * confidence).mean((1, 2)).cpu()

    def source(theirs: Tensor, own: Tensor) -> Tensor:
        """Labelled images for those the teacher is unsure of; a box of oneself changes nothing."""
        return torch.where(unsure.to(own.device).reshape(-1, *[1] * (own.ndim - 1)), theirs, own)

    known = View(source(known.image, view.image), source(known.valid, view.valid))
    injected = CutMix(area=(0.1, 0.4))(view, generator, partner=known)
    masks = injected.move(pseudo, source(masks, pseudo)).roll(1, 0)
    trust = injected.move(confidence, source(torch.ones_like(confidence), confidence)).roll(1, 0)
    mixed = CutMix()(view, generator, partner=View(injected.image.roll(1, 0), injected.valid.roll(1, 0)))
    return mixed, mixed.move(pseudo, masks), mixed.move(confidence, trust)


def predicting(labels: Tensor, sure: list[float], classes: int = 20) -> Tensor:
    """Probabilities (N,C,H,W) whose class is the label, and its probability the one given, the rest spread evenly."""
    share = torch.tensor(sure).reshape(-1, 1, 1, 1)
    return F.one_hot(labels, classes).movedim(3, 1) * (share - (1 - share) / (classes - 1)) + (1 - share) / (classes - 1)


def test_augseg_labels_and_confidences_are_those_of_the_images_that_are_shown() -> None:
    """Every value of the mixed images says which image it is from, and so its class and confidence."""
    sure = [1.0, 0.06, 0.06, 1.0, 0.06]
    (view, own), (known, masks) = coded(5, 0), coded(5, 10)
    found = set()
    for seed in range(8):
        mixed, labels, confidence = augseg(view, predicting(own, sure), known, masks, seeded(seed))
        shown = (mixed.image[:, 0] * 20).round().long()
        assert labels.equal(shown)
        torch.testing.assert_close(confidence, torch.where(shown >= 10, 1.0, torch.tensor(sure)[shown.clamp(max=4)]))
        assert mixed.valid.all()
        found |= {(n, number) for n in range(5) for number in shown[n].unique().tolist()}
    # images 0 and 3 are certain: no labels are injected into them, so none show in 1 and 4, whose partners they are
    certain = {(n, n) for n in range(5)} | {(n, (n - 1) % 5) for n in range(5)}
    assert found == certain | {(2, 11), (3, 12), (0, 14)}


def test_augseg_injects_with_the_probability_that_the_teacher_leaves() -> None:
    (view, own), (known, masks) = coded(1, 0, (4, 4)), coded(1, 10, (4, 4))
    count, probs = 2000, predicting(own, [0.8])
    row = probs[0, :, 0, 0]
    a = 0.8 * (1 + (row * row.log()).sum() / math.log(20)).item()
    many = [one.expand(count, *one.shape[1:]) for one in (view.image, view.valid, probs, known.image, known.valid, masks)]
    mixed, _, _ = augseg(View(*many[:2]), many[2], View(*many[3:5]), many[5], seeded())
    shows = (mixed.image[:, 0] > 0.4).flatten(1).any(1).float().mean().item()
    expected = (1 - a) * chance_of_overlap(count)
    assert shows == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / count))


def chance_of_overlap(count: int) -> float:
    """How often CutMix's box of a partner shows a box that was pasted into it, on 4 x 4 pixels; a box may round to nothing."""
    black, white = (everywhere(torch.full((10 * count, 3, 4, 4), value)) for value in (0.0, 1.0))
    generator = seeded(1)
    pasted = CutMix(area=(0.1, 0.4))(black, generator, partner=white)
    mixed = CutMix()(black, generator, partner=View(pasted.image, pasted.valid))
    return (mixed.image > 0).flatten(1).any(1).float().mean().item()
