"""What the random numbers of every entry of PERTURBATIONS and of every chain of two decide, and what their settings refuse."""

import ast
import inspect
import math
from dataclasses import fields
from itertools import product
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from perturbation_tools import COUNT, EVERY, bits, call, guess, moving, padded, pair_of_scenes, scenes, some_probs, whole
from test_augment_weak import seeded

from semiseg.augment import PERTURBATIONS, Chain, View, perturbation_named
from semiseg.augment.perturbation import perturb_batch
from semiseg.config import SettingError
from semiseg.methods import OneWay

SINGLE = pytest.mark.parametrize("name", PERTURBATIONS)


@EVERY
def test_the_seed_decides_and_nothing_that_goes_in_is_written_to(name: str) -> None:
    view, labels, partner, _ = pair_of_scenes()
    before = [one.clone() for one in (*view[:2], *partner[:2])]
    maps = labels, some_probs(), view.valid
    kept = [one.clone() for one in maps]
    perturbation = perturbation_named(name)
    found = [bits(call(perturbation, view, partner, seed), *maps) for seed in (0, 0, 1)]
    assert all(one.equal(same) for one, same in zip(found[0], found[1], strict=True))
    assert not found[0][0].equal(found[2][0])
    assert all(one.equal(copy) for one, copy in zip((*view[:2], *partner[:2], *maps), before + kept, strict=True))


@EVERY
def test_the_random_numbers_are_the_same_whatever_the_images_show(name: str) -> None:
    perturbation, (view, _), (partner, _) = perturbation_named(name), scenes(), scenes(COUNT)
    after = []
    for own, other in ((view, partner), (padded(partner), view), (whole(view), whole(partner))):
        generator = seeded()
        perturbation(
            own._replace(probs=guess(own)), generator, partner=other._replace(probs=guess(other)) if perturbation.partner else None
        )
        after.append(generator.get_state())
    assert all(state.equal(after[0]) for state in after)


@EVERY
def test_a_sample_does_not_depend_on_its_neighbours(name: str) -> None:
    perturbation = perturbation_named(name)
    view, labels, partner, others = pair_of_scenes()
    replaced = [scenes(20)[0], scenes(30)[0]]
    kept = torch.tensor([1, 3])
    for new, old in zip(replaced, (view, partner), strict=True):
        new.image[kept] = old.image[kept]
    here, there = call(perturbation, view, partner), call(perturbation, replaced[0], replaced[1])
    assert not here.image.equal(there.image)
    torch.testing.assert_close(here.image[kept], there.image[kept], atol=1e-5, rtol=0)
    assert here.valid[kept].equal(there.valid[kept])
    assert here.move(labels, others)[kept].equal(there.move(labels, others)[kept])
    maps = labels.index_fill(0, torch.tensor([0, 2]), 0), others.index_fill(0, torch.tensor([0, 2]), 0)
    assert here.move(*maps)[kept].equal(here.move(labels, others)[kept])


@EVERY
def test_samples_that_look_alike_get_draws_of_their_own(name: str) -> None:
    view, partner = (
        View(one.image[:1].repeat(COUNT, 1, 1, 1), one.valid[:1].repeat(COUNT, 1, 1)) for one in (scenes()[0], scenes(COUNT)[0])
    )
    made = call(perturbation_named(name), view, partner)
    assert len({image.numpy().tobytes() for image in made.image}) == COUNT


@EVERY
def test_a_batch_mixed_with_itself_takes_from_the_image_before(name: str) -> None:
    perturbation, (view, labels) = perturbation_named(name), scenes()
    made = perturb_batch(perturbation, view._replace(probs=guess(view)), seeded())
    expected = call(perturbation, view, View(view.image.roll(1, 0), view.valid.roll(1, 0)))
    assert made.image.equal(expected.image)
    assert made.valid.equal(expected.valid)
    assert made.move(labels).equal(expected.move(labels, labels.roll(1, 0)))
    probs = some_probs()
    assert made.move.logits(probs).equal(expected.move.logits(probs, probs.roll(1, 0)))


@EVERY
def test_a_batch_without_images_stays_empty(name: str) -> None:
    view, labels = scenes()
    none = View(view.image[:0], view.valid[:0])
    for perturbation, empty in product((perturbation_named(name), moving(name)), (none, View(none.image, none.valid[:, :1, :1]))):
        for made in (call(perturbation, empty, empty), perturb_batch(perturbation, empty._replace(probs=guess(empty)), seeded())):
            assert (made.image.shape, made.valid.shape) == (empty.image.shape, empty.valid.shape)
            for own in (labels[:0, : empty.valid.shape[1], : empty.valid.shape[2]], empty.valid, empty.valid[:, None].float()):
                assert made.move(own, own).shape == own.shape


@EVERY
def test_a_method_that_compares_two_views_takes_those_that_meet_alone(name: str) -> None:
    perturbation = perturbation_named(name)
    if perturbation.meets:
        assert OneWay(direction="1w-p2", perturbation=perturbation)
        return
    with pytest.raises(SettingError, match="method.perturbation: got "):
        OneWay(direction="1w-p2", perturbation=perturbation)


@SINGLE
def test_every_setting_says_what_it_means(name: str) -> None:
    (definition,) = ast.parse(inspect.getsource(PERTURBATIONS[name])).body
    assert isinstance(definition, ast.ClassDef)
    assert ast.get_docstring(definition)
    explained = {
        ast.unparse(field.target)
        for field, text in zip(definition.body, definition.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
    assert {field.name for field in fields(PERTURBATIONS[name])} == explained


@SINGLE
def test_a_setting_that_cannot_be_used_is_named(name: str) -> None:
    kind = PERTURBATIONS[name]
    bad: dict[object, list[Any]] = {
        float: [-1.0, math.nan, math.inf],
        int: [-1],
        tuple: [(0.9, 0.1), (-1.0, 0.5), (math.nan, 0.5), (0.5, math.inf)],
        Literal: ["oops"],
        bool: [],
    }
    for field, hint in get_type_hints(kind).items():
        origin = get_origin(hint) or hint
        values = [(3, 2), (-1, 5), (1, 99)] if origin is tuple and int in get_args(hint) else bad[origin]
        for value in values:
            with pytest.raises(SettingError, match=rf"^{name}\.{field}: got .*; allowed: "):
                kind(**{field: value})


def test_a_name_means_the_defaults_and_a_plus_a_chain() -> None:
    for name, kind in PERTURBATIONS.items():
        assert perturbation_named(name) == kind()
    assert perturbation_named("phtps+cutmix") == Chain(steps=(PERTURBATIONS["phtps"](), PERTURBATIONS["cutmix"]()))
    for text in ("gentel", "gentle+", "gentle+gentel", ""):
        with pytest.raises(SettingError, match="perturbation: got '.*'; allowed: gentle, randaugment, .* joined by +"):
            perturbation_named(text)
