"""What every random perturbation of a batch is: images in, perturbed images out, and the one way in which everything else moves along.

A perturbation is a frozen settings value. Calling it draws its random numbers from a CPU generator, whatever the device: one seed, one
perturbation. Where a class belongs to a whole image (`View.whole`) it changes the images all the same and knows itself what that means for
classes; a method does not ask.

Images have any number of channels. Three are red, green and blue; one is grey, and is changed as three equal ones would be; two, or
more than three, are changed each on its own, and what there is of colours alone (hue, saturation, the order of channels) leaves them as
they are. The random numbers are the same whatever the channels, except of noise.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from semiseg.batch import IGNORE
from semiseg.config import require
from semiseg.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


class View(NamedTuple):
    """N images, and which of their pixels show something.

    image  (N,C,H,W) float32 in [0,1]
    valid  (N,H,W) bool, False where the pixel comes from outside the source frame; (N,1,1) where a class belongs to a whole image
    probs  (N,K,H,W) or (N,K,1,1), a teacher's probabilities of K classes for them, or None where nobody has asked it
    """

    image: Tensor
    valid: Tensor
    probs: Tensor | None = None

    @property
    def whole(self) -> bool:
        """Whether a class belongs to a whole image, so that labels are (N,1,1) and probabilities (N,K,1,1). ValueError for other shapes."""
        if self.image.ndim != 4:
            raise ValueError(f"image: (N,C,H,W) expected, got {tuple(self.image.shape)}")
        count, _, *size = self.image.shape
        if tuple(self.valid.shape) not in ((count, *size), (count, 1, 1)):
            raise ValueError(f"valid: {(count, *size)} or {(count, 1, 1)} expected, got {tuple(self.valid.shape)}")
        return self.valid.shape[1:] != self.image.shape[2:]


class Move:
    """Takes what belongs to the unperturbed images to where the perturbed ones show the same. This one leaves it where it is.

    Maps are labels int64 (N,H,W) or several (N,K,H,W), bool (N,H,W), or floats: confidences (N,H,W), probabilities or logits (N,C,H,W).
    Where the perturbed image shows nothing, labels are IGNORE, bools False, floats 0.
    """

    def __call__(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        """The moved map, of the same shape and type. `partner`: the same of the partner batch, for perturbations that take pixels from it."""
        return own

    def logits(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        """As a call, for logits: other only where values are averaged (classes of whole images), which means their probabilities."""
        return self(own, partner)

    def images(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        """As a call, for images (N,C,H,W): other only where the perturbed image shows nothing, or is read in another way than maps."""
        return self(own, partner)

    def meet(self, other: Move) -> Move:
        """The move to this view from another perturbed view of the same images. ValueError where the two do not show the same pixels."""
        if type(self) is type(other) is Move:
            return self
        raise ValueError(f"{type(self).__name__} and {type(other).__name__}: two views that do not meet")


STAY = Move()


class Perturbed(NamedTuple):
    """What a perturbation made of N images.

    image  (N,C,H,W) float32, perhaps out of [0,1]
    valid  (N,H,W) bool, or (N,1,1) where a class belongs to a whole image: where labels and the outputs of a teacher count
    move   takes labels, probabilities, logits or confidences of the unperturbed images to the perturbed ones
    clean  (N,C,H,W) what a teacher gets that is to see the unperturbed images; they themselves unless the perturbation gives it noise
    motion what happened to the place of the images' own pixels; None: `move`, from which it differs only for classes of whole images
    """

    image: Tensor
    valid: Tensor
    move: Move
    clean: Tensor
    motion: Move | None = None

    def shared(self, image: Tensor) -> Tensor:
        """What a teacher gets that is to see the unperturbed images (N,C,H,W) moved and mixed as the student does, but without the
        change of its colours and with noise of its own (perone2018, section 2.1: "the same parametrization"; Figure 1: other noise)."""
        moved = (self.motion or self.move).images(image)
        return moved if self.clean is image else moved + (self.clean - image)

    def labels(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        """Labels (N,H,W) int64 moved, and IGNORE where they do not count."""
        return self.move(own, partner).masked_fill(~self.valid, IGNORE)


@dataclass(frozen=True, kw_only=True)
class Perturbation(abc.ABC):
    """Base of the settings of a perturbation."""

    @property
    def partner(self) -> bool:
        """Whether it takes pixels from a partner batch, so that calls need one."""
        return False

    @property
    def guided(self) -> bool:
        """Whether it follows a teacher's probabilities, so that views need them: `View.probs`."""
        return False

    @property
    def meets(self) -> bool:
        """Whether two draws for the same images show the same pixels: `Move.meet`."""
        return True

    @abc.abstractmethod
    def __call__(self, view: View, generator: torch.Generator, *, partner: View | None = None) -> Perturbed:
        """Perturb N images, one draw each.

        Args: view, not written to, with probabilities where `self.guided`; partner, N other images, where `self.partner`.
        """

    def pair(self, view: View, generator: torch.Generator, *, partner: View | None = None) -> tuple[Perturbed, Perturbed]:
        """Two independent draws for the same images: for a student, and for a teacher that sees one of its own."""
        return self(view, generator, partner=partner), self(view, generator, partner=partner)


@dataclass(frozen=True, kw_only=True)
class Chain(Perturbation):
    """One perturbation after the other.

    Before a step that takes pixels from a partner batch, the partner passes through the same steps, by draws of its own; it is not mixed
    itself. What the teacher sees is what the first step gives it.
    """

    steps: tuple[Perturbation, ...]

    def __post_init__(self) -> None:
        require(len(self.steps) >= 1, "chain.steps", self.steps, "at least one perturbation")

    @property
    def partner(self) -> bool:
        return any(step.partner for step in self.steps)

    @property
    def guided(self) -> bool:
        return any(step.guided for step in self.steps)

    @property
    def meets(self) -> bool:
        return len(self.steps) == 1 and self.steps[0].meets

    def __call__(self, view: View, generator: torch.Generator, *, partner: View | None = None) -> Perturbed:
        moves: list[tuple[Move, Move]] = []
        motions: list[tuple[Move, Move]] = []
        clean: Tensor | None = None
        for number, step in enumerate(self.steps, 1):
            made = step(view, generator, partner=partner if step.partner else None)
            theirs, beside, along = partner, STAY, STAY
            if partner is not None and not step.partner and any(later.partner for later in self.steps[number:]):
                shown = step(partner, generator)
                theirs, beside = View(shown.image, shown.valid, moved_probs(shown.move, partner)), shown.move
                along = shown.motion or shown.move
            moves.append((made.move, beside))
            motions.append((made.motion or made.move, along))
            clean = made.clean if clean is None else clean
            view, partner = View(made.image, made.valid, moved_probs(made.move, view, partner)), theirs
        assert clean is not None
        return Perturbed(view.image, view.valid, one_of(moves), clean, one_of(motions))


def moved_probs(move: Move, view: View, partner: View | None = None) -> Tensor | None:
    """The probabilities of a view where its perturbed images show the same, if it has some."""
    return None if view.probs is None else move(view.probs, None if partner is None else partner.probs)


def one_of(steps: list[tuple[Move, Move]]) -> Move:
    """The moves of a chain as one."""
    return Moves(steps) if len(steps) > 1 else steps[0][0]


class Moves(Move):
    """The moves of a chain: (of the images, of their partners) for every step."""

    def __init__(self, steps: list[tuple[Move, Move]]) -> None:
        self.steps = steps

    def __call__(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        for move, beside in self.steps:
            own, partner = move(own, partner), partner if partner is None else beside(partner)
        return own

    def logits(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        for move, beside in self.steps:
            own, partner = move.logits(own, partner), partner if partner is None else beside.logits(partner)
        return own

    def images(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        for move, beside in self.steps:
            own, partner = move.images(own, partner), partner if partner is None else beside.images(partner)
        return own


def perturb_batch(perturbation: Perturbation | None, view: View, generator: torch.Generator) -> Perturbed:
    """One draw for a batch whose images are each other's partners, each that of the next; its `move` takes one's own maps alone.

    None perturbs nothing.
    """
    if perturbation is None:
        return Perturbed(view.image, view.valid, STAY, view.image)
    if not perturbation.partner:
        return perturbation(view, generator)
    partner = View(view.image.roll(1, 0), view.valid.roll(1, 0), None if view.probs is None else view.probs.roll(1, 0))
    made = perturbation(view, generator, partner=partner)
    return made._replace(move=Rolled(made.move), motion=Rolled(made.motion or made.move))


class Rolled(Move):
    """The move of a batch mixed with itself: the partner of each image is the one before it."""

    def __init__(self, move: Move) -> None:
        self.move = move

    def __call__(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        return self.move(own, own.roll(1, 0))

    def logits(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        return self.move.logits(own, own.roll(1, 0))

    def images(self, own: Tensor, partner: Tensor | None = None) -> Tensor:
        return self.move.images(own, own.roll(1, 0))


def as_maps(own: Tensor, grid: Tensor) -> Tensor:
    """A map (N,H,W) or maps (N,K,H,W) of any type as (N,K,H,W) float32. ValueError when H, W are not those of the grid (N,H,W,2)."""
    if own.shape[-2:] != grid.shape[1:3]:  # or a grid would stretch them
        raise ValueError(f"map: (N,{grid.shape[1]},{grid.shape[2]}) expected, like the image, got {tuple(own.shape)}")
    return (own if own.ndim == 4 else own[:, None]).float()


def like(moved: Tensor, own: Tensor) -> Tensor:
    """Moved maps (N,K,H,W) float32 in the shape and type of what they were before: the way back from `as_maps`. Floats stay float32."""
    moved = moved if own.ndim == 4 else moved[:, 0]
    if own.is_floating_point():
        return moved
    return moved >= 0.5 if own.dtype == torch.bool else moved.to(own.dtype)


def nothing(own: Tensor) -> float:
    """What a map holds where the perturbed image shows nothing: IGNORE for labels, 0 for all others."""
    return float(IGNORE) if own.dtype == torch.int64 else 0.0
