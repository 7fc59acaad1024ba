"""Networks by role: cross pseudo supervision (tests/cps_example.py), two students that teach each other, from a step to the store."""

import io
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny
import torch
import torch.nn.functional as F
from cps_example import TEACHERS, CrossPseudo
from safetensors.torch import load_file
from test_learn import Learner
from test_methods import learned, same, terms

from semiseg.augment import CutMix, View, perturbation_named
from semiseg.batch import Batch
from semiseg.codec import read_row
from semiseg.ema import Ema
from semiseg.methods import METHODS, Supervised
from semiseg.methods.rule import Needs, Pick
from semiseg.pseudo import network, pseudo_masks
from semiseg.runner import StageRun, run_stage
from semiseg.stage import Stage
from semiseg.sweep.rows import resolve_row
from semiseg.train import Trainer

METHODS_OF: dict[str, CrossPseudo] = {
    "paper": CrossPseudo(),
    "mean teachers": CrossPseudo(ema=Ema(decay=(0.5,))),
    "cutmix": CrossPseudo(mix=CutMix()),
    "cutmix by mean teachers": CrossPseudo(mix=CutMix(), ema=Ema(decay=(0.5,), mode="train", buffers="own")),
    "head and memory": CrossPseudo(nearness=0.5),
    "everything": CrossPseudo(ema=Ema(decay=(0.5,)), mix=perturbation_named("phtps+cutmix"), nearness=0.5),
}
EVERY = pytest.mark.parametrize("name", METHODS_OF)
BOTH = ["student", "second"]


@dataclass(frozen=True, kw_only=True)
class Swapped(CrossPseudo):
    """The students change places."""

    @property
    def needs(self) -> Needs:
        return replace(super().needs, initial={"student": Pick(role="second"), "second": Pick(role="student")})


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the package is told of the method."""
    monkeypatch.setitem(METHODS, "cross_pseudo", CrossPseudo)  # type: ignore[arg-type]


def stage_of(name: str, **train: Any) -> Stage:
    return tiny.chain(METHODS_OF[name], train=replace(tiny.TRAIN, **train))[0]


def started(name: str) -> Trainer:
    return tiny.trainer(stage_of(name))


# ---- networks and their loss


def test_the_method_is_one_file_of_at_most_100_lines() -> None:
    assert len((Path(__file__).parent / "cps_example.py").read_text().splitlines()) <= 100


@EVERY
def test_every_role_has_initial_weights_of_its_own_and_averages_start_as_what_they_follow(name: str) -> None:
    method, state = METHODS_OF[name], started(name).state
    flat = {role: tiny.flat(net) for role, net in state.networks().items()}
    assert not flat["student"].equal(flat["second"])
    assert list(state.trained) == BOTH + ["head"] * (method.nearness > 0)
    assert state.follows == ({teacher: role for role, teacher in TEACHERS.items()} if method.ema else {})
    assert all(flat[teacher].equal(flat[role]) for teacher, role in state.follows.items())
    assert list(state.scored()) == [*BOTH, *state.averages]


def test_the_student_starts_as_in_every_other_method_and_the_others_from_streams_of_their_role() -> None:
    stage = stage_of("paper")
    (alone,) = tiny.chain(Supervised())
    state, (pack, _) = tiny.trainer(stage).state, tiny.opened()
    assert tiny.flat(state.student).equal(tiny.flat(tiny.trainer(alone).state.student))
    assert tiny.flat(state.trained["second"]).equal(tiny.flat(network(stage, pack, tiny.CPU, "second")))
    other = network(replace(stage, seed=1), pack, tiny.CPU, "second")
    assert not tiny.flat(state.trained["second"]).equal(tiny.flat(other))


def test_what_a_rule_builds_itself_depends_on_the_seed_and_not_on_the_process() -> None:
    stage = stage_of("head and memory")
    heads = []
    for seed, process in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(process)
        heads.append(tiny.flat(tiny.trainer(replace(stage, seed=seed)).state.trained["head"]))
    assert heads[0].equal(heads[1])
    assert not heads[0].equal(heads[2])


def test_the_terms_are_those_of_the_paper() -> None:
    trainer, batch = started("paper"), tiny.batch()
    batch.valid[:, :5] = False
    one, two = (trainer.state.trained[role] for role in BOTH)
    first, second = one(batch.image), two(batch.image)
    found = terms(trainer.rule, trainer.state, batch)

    def ce(logits: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits[:, :, 5:], other.argmax(1)[:, 5:])

    expected = {
        "segmentation": F.cross_entropy(first[:2], batch.mask[:2]) + F.cross_entropy(second[:2], batch.mask[:2]),
        "cross": 1.5 * (ce(first, second) + ce(second, first)),
    }
    torch.testing.assert_close(found, expected)


def view(batch: Batch, start: int) -> View:
    return View(batch.image[start:], batch.valid[start:])


def test_cutmix_mixes_images_and_targets_with_those_of_the_second_draw() -> None:
    trainer, drawn = started("cutmix"), tiny.batch(1, labelled=0)
    batch = tiny.batch()._replace(partner=drawn)
    both = [trainer.state.trained[role].eval() for role in BOTH]
    with torch.no_grad():  # so that what they say differs from pixel to pixel
        for value in (value for net in both for name, value in net.named_parameters() if name.endswith("head.conv.weight")):
            value *= 100
    found = terms(trainer.rule, trainer.state, batch)
    made = CutMix()(view(batch, 2), torch.Generator().manual_seed(0), partner=view(drawn, 0))
    logits = [net(torch.cat([batch.image[:2], made.image])) for net in both]
    says = [[net(image).argmax(1) for image in (batch.image, drawn.image)] for net in both]
    targets = [torch.cat([own[:2], made.move(own[2:], theirs)]) for own, theirs in says]
    assert (targets[0][2:] != says[0][0][2:]).any()
    expected = 1.5 * (F.cross_entropy(logits[0], targets[1]) + F.cross_entropy(logits[1], targets[0]))
    torch.testing.assert_close(found["cross"], expected)


def with_partner(batch: Batch, count: int) -> Batch:
    return batch._replace(partner=tiny.batch(1, labelled=0, unlabelled=count, ignored=not batch.valid.any()))


@EVERY
def test_every_term_is_finite_with_a_gradient_that_reaches_trained_networks_and_no_average(name: str) -> None:
    state = started(name).state
    for term in terms(METHODS_OF[name], state, with_partner(tiny.batch(), 2)).values():
        assert learned(term, state)
    sum(terms(METHODS_OF[name], state, with_partner(tiny.batch(), 2)).values(), torch.zeros(())).backward()
    for role in state.trained:
        assert any(value.grad is not None and value.grad.count_nonzero() for value in state.trained[role].parameters())
    for average in state.averages.values():
        assert not any(value.requires_grad or value.grad is not None for value in average.parameters())


@EVERY
def test_when_every_pixel_is_ignored_the_terms_of_pixels_are_zero(name: str) -> None:
    state = started(name).state
    found = terms(METHODS_OF[name], state, with_partner(tiny.batch(ignored=True), 2))
    assert (found["segmentation"].item(), found["cross"].item()) == (0, 0)


# ---- a stage


@EVERY
def test_a_stage_moves_every_trained_network_and_every_average_after_the_one_it_follows(name: str) -> None:
    before = {role: tiny.flat(net) for role, net in started(name).state.networks().items()}
    finished = tiny.run(stage_of(name, steps=4, evaluations=1))
    after = {role: tiny.flat(net) for role, net in finished.state.networks().items()}
    assert not any(value.equal(before[role]) for role, value in after.items())
    assert len({tuple(value.tolist()) for value in after.values()}) == len(after)


def test_averages_follow_their_own_student_by_the_decay() -> None:
    trainer = started("mean teachers")
    parameters = {role: next(net.parameters()) for role, net in trainer.state.networks().items()}
    expected = {teacher: parameters[role].detach().clone() for teacher, role in trainer.state.follows.items()}
    for _ in range(3):
        trainer.train_step()
        expected = {t: 0.5 * value + 0.5 * parameters[trainer.state.follows[t]] for t, value in expected.items()}
    for teacher, value in expected.items():
        torch.testing.assert_close(parameters[teacher], value)


def test_cross_pseudo_supervision_learns() -> None:
    finished = tiny.run(stage_of("paper", steps=30))
    for term in ("segmentation", "total"):
        loss = tiny.losses(finished, f"loss/{term}")
        assert sum(loss[-5:]) < 0.9 * sum(loss[:5])


def test_every_optimiser_has_the_learning_rate_of_the_schedule() -> None:
    trainer = tiny.trainer(stage_of("head and memory", decay="cosine"))
    for _ in range(3):
        trainer.train_step()
    assert list(trainer.optimisers) == [*BOTH, "head"]
    rates = {group["lr"] for one in trainer.optimisers.values() for group in one.param_groups}
    assert list(rates) == pytest.approx([0.005 * (1 + math.cos(math.pi * 2 / 8))])


@EVERY
def test_a_run_that_was_saved_and_loaded_equals_one_that_never_stopped(name: str) -> None:
    """Bit for bit, memory too, through torch.save and the safe torch.load, before and after the first score at step 4."""
    stage = stage_of(name, decay="cosine")
    whole, broken = tiny.run(stage), tiny.trainer(stage)
    for stop in (1, 4, 6):
        while broken.progress.step < stop:
            broken.advance(0.0)
        file = io.BytesIO()
        torch.save(broken.checkpoint(), file)
        torch.manual_seed(stop)  # what a new process would have is no part of the result
        broken = tiny.trainer(stage)
        broken.restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    while not broken.finished:
        broken.advance(0.0)
    assert whole.state.memory.keys() == broken.state.memory.keys() == ({"mean"} if stage.rule.nearness > 0 else set())
    assert all(value.equal(broken.state.memory[key]) and value.any() for key, value in whole.state.memory.items())
    same(whole, broken)


# ---- the runner


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("store")
    run_stage(stage_of("everything"), tiny.place(place))
    return place


def test_all_roles_are_published_and_all_but_the_hidden_one_scored(store: Path) -> None:
    stage = stage_of("everything")
    scored = {*BOTH, *TEACHERS.values()}
    lines = pq.read_table(store / stage.key / "metrics.parquet").to_pylist()
    places = {(line["role"], line["weights"], line["split"]) for line in lines}
    assert places == {(r, w, s) for r in scored for w in ("last", "best") for s in ("selection", "test")}
    weights = load_file(store / stage.key / "weights.safetensors")
    assert {tuple(name.split(".")[:2]) for name in weights} == {(w, r) for w in ("last", "best") for r in (*scored, "head")}
    curves = {line["name"] for line in pq.read_table(store / stage.key / "curves.parquet").to_pylist()}
    traced = ("miou", "accuracy", "foreground_iou")
    of_targets = ("miou", "accuracy", "kept", "confidence", "entropy")
    assert curves == (
        {f"selection/{role}/{metric}" for role in scored for metric in traced}
        | {"epoch"}
        | {f"loss/{term}" for term in ("segmentation", "cross", "nearness", "total")}
        | {f"disagreement/{role}" for role in TEACHERS.values()}
        | {f"unlabelled/{role}/{metric}" for role in TEACHERS.values() for metric in of_targets}
    )


def test_a_killed_stage_goes_on_from_its_checkpoint_to_the_same_weights(store: Path, tmp_path: Path) -> None:
    stage = stage_of("everything")
    killed = StageRun(stage, tiny.place(tmp_path))
    for _ in range(5):
        killed.advance(0.0)
    killed.checkpoint()
    again = StageRun(stage, tiny.place(tmp_path))
    assert again.resumed_at == 5
    assert again.trainer.state.memory["mean"].equal(killed.trainer.state.memory["mean"])
    while not again.finished:
        again.advance(60)
    one, other = (load_file(place / stage.key / "weights.safetensors") for place in (store, tmp_path))
    assert one.keys() == other.keys()
    assert [name for name, value in one.items() if not value.equal(other[name])] == []


@pytest.mark.parametrize("role", [*BOTH, "second_teacher"])
def test_a_later_stage_learns_masks_and_weights_of_any_role(store: Path, role: str) -> None:
    teacher, (pack, splits) = stage_of("everything"), tiny.opened()
    pick = Pick(weights="best", role=role)
    rule = Learner(weights_of=pick, masks_of=pick)
    run = StageRun(replace(tiny.chain(Supervised())[0], number=2, rule=rule, teachers=(teacher,)), tiny.place(store)).trainer
    weights = load_file(store / teacher.key / "weights.safetensors")
    found = run.state.student.state_dict()
    assert all(value.equal(weights[f"best.{role}.{name}"]) for name, value in found.items())
    made = pseudo_masks(teacher, weights, f"best.{role}.", pack, splits.training, tiny.CPU)
    assert run.learned.masks is not None
    assert all(
        np.array_equal(run.learned.masks[row], mask) for row, (_, _, mask, _) in zip(splits.training.tolist(), made, strict=True)
    )


def test_each_trained_network_can_start_from_weights_of_a_role_of_its_own(store: Path) -> None:
    teacher = stage_of("everything")
    swapped = replace(stage_of("paper"), rule=Swapped(), number=2, teachers=(teacher,))
    state = StageRun(swapped, tiny.place(store)).trainer.state
    weights = load_file(store / teacher.key / "weights.safetensors")
    for role, other in (("student", "second"), ("second", "student")):
        found = state.trained[role].state_dict()
        assert [name for name, value in found.items() if not value.equal(weights[f"last.{other}.{name}"])] == []


def test_a_row_of_a_table_can_say_it() -> None:
    methods = {"cross_pseudo": CrossPseudo()}
    line = resolve_row("table", "row", read_row("cross_pseudo weight=2 mix=cutmix", methods), methods)
    assert line.method == CrossPseudo(weight=2, mix=CutMix())
    (stage,) = tiny.chain(line.method)
    assert stage.name == "cross_pseudo"
    keys = {tiny.chain(method)[0].key for method in METHODS_OF.values()}
    assert len(keys | {stage.key}) == len(METHODS_OF) + 1
