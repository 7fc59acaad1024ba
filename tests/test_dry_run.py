"""A dry run without data: published numbers, stand-in images, all settings; and the estimate that scales up from a small step."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

import compare_consistency_directions
import compare_label_fractions
import search_mean_teacher
import semiseg.nets
from semiseg.config import Data
from semiseg.data import IGNORE, split
from semiseg.data.known import StandIn
from semiseg.methods import ThreeStage
from semiseg.search.command import main as search
from semiseg.stage import plain
from semiseg.sweep import costs, estimate
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation
from semiseg.sweep.dry_run import by_dotted_name
from semiseg.sweep.plan import Plan


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        (Data(name="cityscapes", labelled=1488, selection=100), (1488, 2875, 100, 500)),
        (Data(name="voc_aug", labelled=0.125), (1190, 9524, 1058, 1449)),
        (Data(name="oxford_pets", labelled=0.05), (257, 5146, 1469, 734)),
        (Data(name="oxford_pets", labelled=0.1, variant=("split_feng2020_dmt",)), (558, 5585, 293, 1471)),
        (Data(name="oxford_pets", variant=("split_official", "border_ignored"), selection=0.25), (368, 2760, 920, 3669)),
        (Data(name="scgm"), (86, 699, 90, 137)),
        (Data(name="cifar10", labelled=4000, selection=1000), (4000, 49_000, 1000, 10_000)),
    ],
)
def test_a_stand_in_has_the_published_numbers_of_images(data: Data, numbers: tuple[int, ...]) -> None:
    assert tuple(map(len, split(StandIn(data), data)[:4])) == numbers


@pytest.mark.parametrize(("size", "expected"), [(None, (512, 1024)), ("native", (1024, 2048)), ((24, 40), (24, 40))])
def test_a_stand_in_has_images_of_the_size_asked_for(size: Any, expected: tuple[int, int]) -> None:
    pack = StandIn(Data(name="cityscapes", size=size))
    mask = pack.mask(7)
    assert mask is not None
    assert pack.image(7).shape[:2] == mask.shape == (pack.heights[7], pack.widths[7]) == expected
    assert set(np.unique(mask)) <= set(range(19)) - {IGNORE}


def test_a_stand_in_knows_all_that_a_pack_does(tmp_path: Path) -> None:
    """Whatever is asked of images when a study is planned, data or none."""
    asked = {name for name in vars(tiny.place(tmp_path).open()[0]) if not name.startswith("_")}
    assert {"values", "size", "heights"} <= asked
    assert asked <= set(vars(StandIn(Data(name="oxford_pets"))))


def test_a_study_that_adds_seeds_is_planned_without_its_data(run: Callable[..., tuple[int, str, str]]) -> None:
    status, out, err = run(
        compare_label_fractions.TABLE, "--preset", "pets-lite0", "--vary", "both", "--until", "decided", "--dry-run"
    )
    assert (status, "until decided: 2 comparisons" in out) == (0, True), err


def test_a_quick_search_is_planned_for_epochs_longer_than_its_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["--preset", "pets", "--dry-run", "--quick", "--cache", "cache", "--store", "store"]
    assert search(search_mean_teacher.SEARCH, words) == 0, capsys.readouterr().err


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """main() in an empty folder without ray: exit status, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)

    def call(table: Ablation, *words: str) -> tuple[int, str, str]:
        status = main(table, [*words, "--seeds", "0"])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_a_dry_run_without_data_says_so_and_prints_every_setting(run: Callable[..., tuple[int, str, str]]) -> None:
    words = ("--preset", "paper", "--dry-run", "--net.width", "2", "--rows", "mean teacher, 5 %")
    status, out, err = run(compare_label_fractions.TABLE, *words)
    assert (status, err) == (0, "")
    first, *lines = out.splitlines()
    assert first.startswith("oxford_pets is not here (no --data.root): published numbers of images (5146 to train, 1469 to select,")
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        if line.startswith("["):
            found[line[1:-1]] = {}
        elif " = " in line:
            name, value = line.split('" = ') if line.startswith('"') else line.split(" = ")
            found[[*found][-1]][name.removeprefix('"')] = json.loads(value)
    preset = compare_label_fractions.TABLE.presets["paper"]
    assert found["data"] == plain(preset.data)
    assert found["net"] == plain(preset.net) | {"width": 2}
    assert found["train"] == by_dotted_name(plain(preset.train)) | {"crop": [64, 64], "precision": found["train"]["precision"]}
    assert found["train"]["precision"] in ("fp32", "bf16")
    assert found["mean_teacher"]["perturbation.noise"] == 0.05
    assert found["supervised"] == {"objective": "dice", "perturbation": None}
    anchor = "train.steps=16100 train.batch_labelled=2 train.batch_unlabelled=0"  # 257 of 5,146 in 32: 1.6
    assert found["rows"] == {
        "mean teacher, 5 %": "mean_teacher data.labelled=0.05",
        "supervised, 5 %": "supervised data.labelled=0.05 train.steps=900",
        "labels only: 16100 x 2": f"supervised perturbation=gentle data.labelled=0.05 {anchor}",
        "all labels": f"supervised perturbation=gentle data.labelled=all {anchor}",
    }
    assert found["seeds"] == {"seeds": [0]}
    assert lines[-1].startswith("2 rows and 2 anchors x 1 seeds: 4 stages, 4 distinct, 0 done, 4 to train, about ")


def test_without_dry_run_or_with_a_wrong_root_the_data_are_asked_for(run: Callable[..., tuple[int, str, str]]) -> None:
    status, out, err = run(compare_label_fractions.TABLE, "--preset", "paper")
    assert (status, out) == (2, "")
    assert err.startswith("error: data.root: got None; allowed: data set 'oxford_pets' needs --data.root")
    status, out, err = run(compare_label_fractions.TABLE, "--preset", "paper", "--dry-run", "--data.root", "/no/such/place")
    assert (status, out) == (2, "")
    assert err.startswith("error: data.root: got '/no/such/place'; allowed: a folder that exists")


def test_a_dry_run_fetches_no_weights(run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(*_: object) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr(semiseg.nets, "load_weights", fetched)
    words = ["--preset", "paper", "--dry-run", "--train.crop", "64", "64", "--train.batch-labelled", "2", "--data.size", "64", "64"]
    status, out, err = run(compare_consistency_directions.TABLE, *words, "--rows", "supervised, 1/8")
    assert (status, err) == (0, "")
    assert 'weights = "imagenet"\n' in out
    with pytest.raises(AssertionError, match="fetched"):  # so the poison does work
        semiseg.nets.build(compare_consistency_directions.CITYSCAPES.net, 19, mean=(0.5,) * 3, std=(0.2,) * 3, seed=0)


class Clock:
    """A second passes between two looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 1.0
        return self.now

    thread_time = perf_counter


def test_a_slow_step_is_scaled_up_from_a_small_one_in_images_and_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for 1 + 1 images of 16 x 16, so 4 x 3 seconds for 2 + 4 of 32 x 32; a second per network for 16 x 16 scored."""
    monkeypatch.setattr(estimate, "time", Clock())
    monkeypatch.setattr(estimate, "PROBE", 16)
    s1, s2, _ = tiny.chain(train=replace(tiny.TRAIN, batch_unlabelled=4))
    assert estimate.timed_stage(s1, tiny.place(tmp_path)) == (12.0, 4.0)
    assert estimate.timed_stage(s2, tiny.place(tmp_path)) == (12.0, 8.0)  # student and teacher


def test_a_fast_step_is_timed_as_it_is_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second whatever is done; the last step, which scores images too, takes no longer, so scoring takes nothing."""
    monkeypatch.setattr(estimate, "time", Clock())
    monkeypatch.setattr(estimate, "SLOW", 99.0)
    for steps in (100, 10_000):
        (stage, *_) = tiny.chain(train=replace(tiny.TRAIN, steps=steps))
        cost = estimate.timed_stage(stage, tiny.place(tmp_path))
        assert cost == (1.0, 0.0)
        assert estimate.stage_seconds(stage, tiny.place(tmp_path), cost) == steps
    assert list(tmp_path.rglob("*")) == []


def test_scoring_of_images_that_take_long_is_scaled_up_from_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for 8 x 8 pixels, so 16 for the image of 32 x 32."""
    monkeypatch.setattr(estimate, "time", Clock())
    monkeypatch.setattr(estimate, "SLOW", 99.0)
    monkeypatch.setattr(estimate, "PROBE", 8)
    (stage,) = tiny.chain(ThreeStage().with_switches("S1"))
    assert estimate.timed_stage(stage, tiny.place(tmp_path)).image == 16.0


def test_a_stage_costs_its_steps_and_scorings(tmp_path: Path) -> None:
    """4 selection and 5 test images; 8 evaluations, then both at the end with the last and the best weights."""
    (stage,) = tiny.chain(ThreeStage().with_switches("S1"), train=replace(tiny.TRAIN, steps=1000, evaluations=8))
    assert estimate.stage_seconds(stage, tiny.place(tmp_path), costs.Cost(2.0, 10.0)) == 2000 + 10 * (8 * 4 + 2 * (4 + 5))


def test_kinds_that_differ_in_real_numbers_alone_are_timed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []
    monkeypatch.setattr(costs, "FILE", f"costs-{tmp_path.name}.json")  # other tests remember costs beside the same images
    monkeypatch.setattr(estimate, "timed_stage", lambda stage, place: timed.append(stage.name) or costs.Cost(1.0, 0.0))
    chains = {
        ("half", 0): tiny.chain(),
        ("quarter", 0): tiny.chain(ThreeStage(lambda1=0.25)),
        ("none", 0): tiny.chain(ThreeStage(lambda1=0.0)),
    }
    found = estimate.estimate(Plan(chains, frozenset()), tiny.place(tmp_path), 99)
    assert sorted(timed) == ["s1", "s2", "s2", "s3", "s3"]  # lambda1 = 0 is another kind
    assert found == 3 * tiny.TRAIN.steps


@pytest.mark.parametrize(
    ("value", "expected"), [(0.5, True), (0.0, False), (3, 3), ("a", "a"), ({"x": [0.1, 2]}, {"x": [True, 2]}), (None, None)]
)
def test_signs_keep_everything_but_real_numbers(value: Any, expected: Any) -> None:
    assert costs.signs(value) == expected
