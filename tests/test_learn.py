"""From the store to the store: what a stage takes from its teacher stages, its labelled subset, and image-level data."""

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny
import torch
from data_trees import build_cifar10
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import semiseg.runner
from semiseg.config import Data
from semiseg.ema import Ema
from semiseg.losses import CrossEntropy
from semiseg.methods import DMT, MeanTeacher, Method, OneWay, PseudoLabel, Supervised
from semiseg.methods.rule import Needs, Pick, PseudoMasks
from semiseg.nets import WideResNet
from semiseg.pseudo import load_role, network, pseudo_masks, read_masks
from semiseg.published import picked, selection_score
from semiseg.results import write_table
from semiseg.runner import Place, StageRun, run_stage, split_of
from semiseg.stage import Stage
from semiseg.store import Store

ROLES: tuple[Literal["student", "teacher"], ...] = ("student", "teacher")
WHICH: tuple[Literal["best", "last"], ...] = ("best", "last")
NETWORKS = [(weights, role) for weights in WHICH for role in ROLES]


@dataclass(frozen=True, kw_only=True)
class Learner(Supervised):
    """A rule that takes weights and masks from wherever its fields say."""

    weights_of: Pick | None = None
    masks_of: Pick | None = None

    @property
    def needs(self) -> Needs:
        masks = PseudoMasks(of=self.masks_of, confidences=True) if self.masks_of else None
        return Needs(masks=masks, initial={"student": self.weights_of} if self.weights_of else {})


def learner(*teachers: Stage, weights_of: Pick | None = None, masks_of: Pick | None = None) -> Stage:
    rule = Learner(weights_of=weights_of, masks_of=masks_of)
    return replace(tiny.chain(Supervised())[0], name="learner", number=9, rule=rule, teachers=teachers)


# ---- which teacher stage


def finished(store: Store, seed: int, value: float, **train: Any) -> Stage:
    """A stage in the store that has scored `value` by hand; every other number in its file is misleading."""
    stage = replace(tiny.chain(MeanTeacher(evaluate="teacher"))[0], seed=seed, train=replace(tiny.TRAIN, **train))
    right = {"split": "selection", "class": "", "metric": stage.train.score, "role": "teacher", "weights": stage.train.weights}
    wrong = {"split": "test", "class": "disc", "metric": "image_dice", "role": "student"}
    wrong["weights"] = "last" if stage.train.weights == "best" else "best"
    lines = [right | {name: text} for name, text in wrong.items()]
    lines.insert(2, right)
    place = {"key": stage.key, "step": 1}
    metrics = [place | line | {"value": value if line == right else 1 - value} for line in lines]

    def write(folder: Path) -> None:
        write_table(folder, "metrics", metrics)

    store.publish(stage.key, write, {})
    return stage


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"), tmp_path)


@pytest.mark.parametrize("train", [{}, {"weights": "last"}, {"score": "accuracy"}], ids=str)
def test_the_selection_score_is_that_of_what_the_stage_reports(store: Store, train: dict[str, Any]) -> None:
    assert selection_score(finished(store, 0, 0.25, **train), store) == 0.25
    assert selection_score(finished(store, 1, math.nan, **train), store) == -1.0  # a score of no class is the lowest


@pytest.mark.parametrize(
    ("scores", "best", "worst"),
    [
        ((0.2, 0.7, 0.5), 1, 0),
        ((0.9, 0.7, 0.8), 0, 1),
        ((0.5, 0.5, 0.5), 0, 2),  # of equal ones the earlier is the better
        ((0.1, 0.6, 0.6), 1, 0),
        ((0.3, 0.3, 0.6), 2, 1),
        ((math.nan, 0.0, 0.6), 2, 0),
    ],
)
def test_the_best_and_the_worst_are_by_selection_score(store: Store, scores: tuple[float, ...], best: int, worst: int) -> None:
    teachers = tuple(finished(store, seed, value) for seed, value in enumerate(scores))
    everyone = tuple(range(len(scores)))
    stage = learner(*teachers)
    assert picked(stage, Pick(among=everyone, choice="best"), store) is teachers[best]
    assert picked(stage, Pick(among=everyone, choice="worst"), store) is teachers[worst]


def test_only_those_that_may_be_picked_are_compared_and_one_needs_no_score(store: Store) -> None:
    teachers = tuple(finished(store, seed, value) for seed, value in enumerate((0.9, 0.2, 0.4)))
    absent = replace(teachers[0], seed=99)
    stage = learner(*teachers, absent)
    assert picked(stage, Pick(among=(1, 2)), store) is teachers[2]
    assert picked(stage, Pick(among=(2, 0), choice="worst"), store) is teachers[2]
    assert picked(stage, Pick(among=(3,), choice="worst"), store) is absent


# ---- which weights and masks


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Stage]:
    """A mean teacher whose four networks differ: scored after every step at so high a rate that the last is not the best."""
    place = tmp_path_factory.mktemp("trained")
    train = replace(tiny.TRAIN, steps=10, evaluations=10, learning_rate=0.3, weights="best")
    method = MeanTeacher(objective=CrossEntropy(), ema=Ema(decay=(0.5,)), evaluate="teacher")
    (stage,) = tiny.chain(method, train=train)
    run_stage(stage, tiny.place(place))
    return place, stage


def given(place: Path, stage: Stage, prefix: str) -> dict[str, Tensor]:
    weights = load_file(place / stage.key / "weights.safetensors")
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def test_the_four_networks_of_the_teacher_stage_differ(trained: tuple[Path, Stage]) -> None:
    found = [given(*trained, f"{weights}.{role}.") for weights, role in NETWORKS]
    name = next(name for name in found[0] if name.endswith("weight"))
    assert len({tuple(weights[name].flatten().tolist()) for weights in found}) == 4


@pytest.mark.parametrize(("weights", "role"), NETWORKS)
def test_the_student_starts_from_exactly_the_picked_weights(trained: tuple[Path, Stage], weights: Any, role: Any) -> None:
    place, teacher = trained
    run = StageRun(learner(teacher, weights_of=Pick(weights=weights, role=role)), tiny.place(place))
    found, expected = run.trainer.state.student.state_dict(), given(place, teacher, f"{weights}.{role}.")
    assert found.keys() == expected.keys()
    assert [name for name, value in found.items() if not value.equal(expected[name])] == []
    assert not run.trainer.optimisers["student"].state


@pytest.mark.parametrize("weights", WHICH)
def test_the_role_evaluated_is_the_one_that_the_teacher_stage_reports(trained: tuple[Path, Stage], weights: Any) -> None:
    place, teacher = trained
    run = StageRun(learner(teacher, weights_of=Pick(weights=weights)), tiny.place(place))
    expected = given(place, teacher, f"{weights}.teacher.")
    assert all(value.equal(expected[name]) for name, value in run.trainer.state.student.state_dict().items())


@pytest.mark.parametrize(("weights", "role"), NETWORKS)
def test_masks_and_confidences_are_those_of_the_picked_network_in_a_file_of_its_name(
    trained: tuple[Path, Stage], weights: Any, role: Any
) -> None:
    place, teacher = trained
    run = StageRun(learner(teacher, masks_of=Pick(weights=weights, role=role)), tiny.place(place))
    pack, splits = tiny.opened()
    kept, sure = read_masks(place / teacher.key / f"masks-confidences-{weights}-{role}.planes")
    assert sure is not None
    all_weights = load_file(place / teacher.key / "weights.safetensors")
    made = pseudo_masks(teacher, all_weights, f"{weights}.{role}.", pack, splits.training, tiny.CPU)
    masks, confidences = run.trainer.learned.masks, run.trainer.learned.confidences
    assert masks is not None
    assert confidences is not None
    assert masks.keys() == confidences.keys() == set(splits.training.tolist())
    for row, tile in zip(splits.training.tolist(), made, strict=True):
        for mask, confidence in ((masks[row], confidences[row]), (kept[pack.ids[row]], sure[pack.ids[row]])):
            assert np.array_equal(mask, tile.mask)
            assert np.array_equal(confidence, tile.confidence)


def test_two_stages_that_learn_the_same_masks_make_one_file(
    trained: tuple[Path, Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = trained[1]
    folder = tmp_path / teacher.key
    shutil.copytree(trained[0] / teacher.key, folder, ignore=shutil.ignore_patterns("*.planes"))
    calls: list[str] = []

    def counted(stage: Stage, weights: Any, prefix: str, *rest: Any, **options: Any) -> Any:
        calls.append(prefix)
        return pseudo_masks(stage, weights, prefix, *rest, **options)

    monkeypatch.setattr(semiseg.runner, "pseudo_masks", counted)
    pick = Pick(weights="best", role="student")
    one = StageRun(learner(teacher, masks_of=pick), tiny.place(tmp_path)).trainer.learned
    other = StageRun(replace(learner(teacher, masks_of=pick), seed=7), tiny.place(tmp_path)).trainer.learned
    assert calls == ["best.student."]
    assert [path.name for path in folder.glob("masks*.planes")] == ["masks-confidences-best-student.planes"]
    assert one.masks is not None
    assert other.masks is not None
    assert all(np.array_equal(mask, other.masks[row]) for row, mask in one.masks.items())
    StageRun(learner(teacher, masks_of=pick._replace(weights="last")), tiny.place(tmp_path))
    assert calls == ["best.student.", "last.student."]


# ---- which labelled images


def test_a_stage_opens_the_labelled_subset_of_its_own(tmp_path: Path) -> None:
    """Stages with 4, 9 and all labels in one place whose own data say 4: each trains on its own, the smaller inside the larger."""
    place = tiny.place(tmp_path)
    found = {}
    for labelled in (4, 9, "all"):
        split = split_of(*place.open(labelled=labelled))
        stage = replace(tiny.chain(Supervised())[0], split=split, train=replace(tiny.TRAIN, steps=1, evaluations=1))
        run = StageRun(stage, place)
        found[labelled] = set(run.trainer.batches.labelled.tolist())
        drawn = {row for step in range(30) for row in run.trainer.batches.rows(step)[0]}
        assert drawn == found[labelled]
        run_stage(stage, place)
    assert [len(rows) for rows in found.values()] == [4, 9, 24]
    assert found[4] < found[9] < found["all"] == set(tiny.opened()[1].training.tolist())
    assert len(list(tmp_path.glob("*/stage.json"))) == 3


# ---- stages of no steps, and of images with one class each


@pytest.mark.parametrize("method", [Supervised(), MeanTeacher(objective=CrossEntropy())], ids=["supervised", "mean teacher"])
def test_a_stage_of_no_steps_publishes_its_initial_weights(method: Method, tmp_path: Path) -> None:
    (nothing,) = tiny.chain(method, train=replace(tiny.TRAIN, steps=0))
    outcome = tiny.run(nothing).finish()
    initial = network(nothing, tiny.opened()[0], tiny.CPU).state_dict()
    assert {name.split(".", 2)[2] for name in outcome.weights} == set(initial)
    assert all(value.equal(initial[name.split(".", 2)[2]]) for name, value in outcome.weights.items())
    assert (outcome.chosen_step, outcome.images, len(outcome.samples)) == (0, 0, 5)
    run_stage(nothing, tiny.place(tmp_path))
    assert (tmp_path / nothing.key / "stage.json").is_file()


TREE = {"steps": 3, "evaluations": 1, "batch_labelled": 4, "batch_unlabelled": 4, "crop": (24, 24), "score": "accuracy"}
WIDE = WideResNet(width=4, depth=1)
IMAGE_LEVEL: dict[str, Method] = {
    "supervised": Supervised(),
    "mean_teacher": MeanTeacher(ema=Ema(decay=(0.9,))),
    "one_way": OneWay(),
    "pseudo_label": PseudoLabel(),
    "dmt": DMT(phases=(1.0,), phase_epochs=0.1),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """100 training images, of which 10 are for selection and 20 labelled, and 20 test images, in CIFAR-10's format."""
    root = build_cifar10(tmp_path_factory.mktemp("cifar") / "data")
    return Data(name="cifar10", root=root, labelled=20, selection=10)


def image_level(tree: Data, store: Path, method: Method) -> tuple[Place, tuple[Stage, ...]]:
    place = Place(data=tree, cache=store / "cache", store=str(store))
    return place, method.stages(split_of(*place.open()), WIDE, replace(tiny.TRAIN, **TREE), 0)


@pytest.mark.parametrize("name", IMAGE_LEVEL)
def test_methods_train_on_images_of_one_class_each_from_batches_to_the_store(name: str, tree: Data, tmp_path: Path) -> None:
    place, chain = image_level(tree, tmp_path, IMAGE_LEVEL[name])
    pack, splits = place.open()
    labels = {row: int(found.flat[0]) for row in range(len(pack)) if (found := pack.mask(row)) is not None}
    for stage in chain:
        if stage.train.steps > 0:
            batch, count = (
                (made := StageRun(stage, place).trainer).batches.make(0, torch.Generator().manual_seed(0)),
                made.images_per_step,
            )
            rows, labelled = made.batches.rows(0)
            assert batch.image.shape == (count, 3, 24, 24)
            assert batch.valid.all()
            assert batch.mask.flatten().tolist() == [labels[row] if i < labelled else 255 for i, row in enumerate(rows)]
            for one in (batch.mask, batch.valid, batch.pseudo, batch.confidence):
                assert one is None or one.shape == (count, 1, 1)
            if made.learned.masks is not None:
                assert batch.pseudo is not None
                assert batch.pseudo.flatten().tolist() == [int(made.learned.masks[row][0, 0]) for row in rows]
            if made.learned.confidences is not None:
                assert batch.confidence is not None
                wanted = [made.learned.confidences[row][0, 0] / 65535 for row in rows]
                assert batch.confidence.flatten().tolist() == pytest.approx(wanted)
        run_stage(stage, place)
    last = chain[-1]
    net = network(last, pack, tiny.CPU)
    load_role(net, load_file(tmp_path / last.key / "weights.safetensors"), f"best.{last.rule.evaluated}.")
    images = torch.stack([torch.from_numpy(pack.image(row).copy()).permute(2, 0, 1) / 255 for row in splits.test])
    found = net.eval()(images).argmax(1).flatten().tolist()
    wanted = {"split": "test", "class": "", "metric": "accuracy", "role": last.rule.evaluated, "weights": "best"}
    lines = pq.read_table(tmp_path / last.key / "metrics.parquet").to_pylist()
    (value,) = [line["value"] for line in lines if wanted.items() <= line.items()]
    assert value == pytest.approx(np.mean([a == labels[row] for a, row in zip(found, splits.test, strict=True)]))
    with Image.open(tmp_path / last.key / "prediction_0.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.full((32, 32), found[0]))
