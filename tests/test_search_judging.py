"""Who judges the configurations of a search: seeds and labelled subsets that are never reported; networks that differ; a whole small
search in this process."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from in_process import without_ray
from optuna.trial import FixedTrial
from search_drive import open_ledger

import search_mean_teacher
import search_three_stage
from semiseg.config import SettingError
from semiseg.development import SEARCHED, is_development
from semiseg.methods import MeanTeacher
from semiseg.nets import UNet, build
from semiseg.search.arguments import parse_search
from semiseg.search.declaration import Search
from semiseg.search.folder import read_search
from semiseg.search.judging import Judges, judges_of
from semiseg.search.study import SearchStudy
from semiseg.sweep.declaration import Preset
from semiseg.sweep.saved import read_config


def judges(line: str, before: dict[str, Any] | None = None) -> Judges:
    return judges_of(parse_search(search_three_stage.SEARCH, line.split())[0], before or {})


@pytest.mark.parametrize(
    ("line", "before", "seeds"),
    [
        ("", {}, (SEARCHED, SEARCHED + 1, SEARCHED + 2)),
        ("--quick", {}, (SEARCHED,)),
        ("--development", {}, (SEARCHED, SEARCHED + 1, SEARCHED + 2)),
        ("--search-seeds 5 1200000", {}, (SEARCHED + 5, 1_200_000)),
        ("", {"search_seeds": [0]}, (0,)),  # begun before they were reserved
        ("--search-seeds 0", {"search_seeds": [0]}, (0,)),
        ("--development --search-seeds 0", {"search_seeds": [1_000_000]}, (1_000_000,)),
        ("", {"search_seeds": [SEARCHED + 7]}, (SEARCHED + 7,)),
        ("--search-seeds 0 1", {"search_seeds": [0]}, (SEARCHED, SEARCHED + 1)),  # the ledger refuses it
    ],
)
def test_search_seeds_are_reserved_and_a_search_that_has_begun_keeps_its_own(
    line: str, before: dict[str, Any], seeds: tuple[int, ...]
) -> None:
    assert judges(line, before).seeds == seeds
    assert before or not set(seeds) & {0, 1, 2, 1_000_000, 1_000_001, 1_000_002}


def test_subsets_go_round() -> None:
    found = judges("--search-seeds 0 1 2 --search-subsets 4 5")
    assert [found.images(seed) for seed in found.seeds] == [{"labelled_seed": SEARCHED + n} for n in (4, 5, 4)]
    assert judges("").images(SEARCHED) == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--search-seeds 0 0", "search_seeds: got (0, 0); allowed: distinct whole numbers from 0 to 499999"),
        ("--search-seeds -1", "search_seeds: got (-1,); allowed: distinct whole numbers from 0 to 499999"),
        ("--search-subsets 3 3", "search_subsets: got (3, 3)"),
        ("--search-seeds 0 --search-subsets 3 4", "search_subsets: got (3, 4); allowed: at most 1, one per search seed"),
        ("--development --seeds 500000", "search_seeds: got None; allowed: others than the seeds of the comparison at the end"),
        ("--objectives seconds", "objectives: got ('seconds',); allowed: score, and seconds, parameters"),
        ("--pick worst", "pick: got 'worst'; allowed: simplest, best, or a trial's number"),
        ("--sampler random --warm-start x", "warm_start: got 'x'; allowed: with --sampler tpe, which learns from it"),
        ("--space.net.depths 2 3", "space.net.depths: no number or choice of network; there are net."),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(line: str, said: str) -> None:
    with pytest.raises(SettingError) as caught:
        judges(line)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_objectives_have_the_words_of_before_too() -> None:
    arguments = [
        parse_search(search_three_stage.SEARCH, ["--objectives", *words])[0] for words in (["score+seconds"], ["seconds", "score"])
    ]
    assert arguments[0].objectives == arguments[1].objectives == ("score", "seconds")


def test_a_space_of_the_network_stands_beside_that_of_the_method() -> None:
    line = (
        "--space.net.width 4 16 --space.net.depth 2 3 --space.weight 0.1 1 --space.log net.width weight --space.choices net.depth"
    )
    _, preset, space = parse_search(search_mean_teacher.SEARCH, line.split())
    study = SearchStudy(search_mean_teacher.SEARCH, preset, parse_search(search_mean_teacher.SEARCH, line.split())[0], space)
    made = space.suggest(FixedTrial({"net.width": 6, "net.depth": 3, "weight": 0.5}), study.default)
    assert made == replace(study.default, method=replace(preset.method, weight=0.5), net=replace(preset.net, width=6, depth=3))
    assert made.digest != study.default.digest
    alone = parse_search(search_mean_teacher.SEARCH, ["--space.net.width", "4", "8"])[2]
    assert alone.suggest(FixedTrial({"net.width": 5}), study.default).method == preset.method


TINY = Search(
    name="tiny",
    title="Tiny",
    question="Which?",
    presets={"demo": Preset(net=tiny.NET, train=tiny.TRAIN, method=MeanTeacher(), seeds=(0, 1))},
)


def test_a_small_search_of_all_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Two seeds with a subset each, three objectives, two widths: no trial's stage scores a test image, the parameters are those of the
    network, and another pick compares another trial and trains no trial anew."""
    without_ray(monkeypatch)
    data, cache = tiny.data()
    words = ["--data.name", "folder", "--data.root", str(data.root), "--data.size", "32", "32", "--data.labelled", "4"]
    words += [
        "--data.classes",
        *tiny.CLASSES,
        "--cache",
        str(cache),
        "--store",
        str(tmp_path / "store"),
        "--out",
        str(tmp_path / "out"),
    ]
    words += [
        "--sampler",
        "grid",
        "--trials",
        "2",
        "--search-seeds",
        "0",
        "1",
        "--search-subsets",
        "0",
        "1",
        "--anchors",
        "none",
        "--ray.trials",
        "1",
    ]
    words += ["--objectives", "score", "seconds", "parameters", "--space.net.width", "2", "4", "--space.choices", "net.width"]

    def run(*more: str) -> int:
        arguments, preset, space = parse_search(TINY, [*words, *more])
        return SearchStudy(TINY, preset, arguments, space, [*words, *more]).run()

    assert run() == 0
    search = read_search(tmp_path / "out")
    assert search.objective_names == ("score", "seconds", "parameters")
    trials = search.trials
    assert {one.params["net.width"] for one in trials} == {2, 4}
    for one in trials:
        expected = build(UNet(width=one.params["net.width"], depth=2), 5, mean=(0.5,) * 3, std=(0.2,) * 3, seed=0)
        assert one.values[2] == sum(weight.numel() for weight in expected.parameters())
        assert {int(seed) for seed in one.user_attrs["scores"]} <= {SEARCHED, SEARCHED + 1}
    assert set(trials[0].user_attrs["scores"]) == {str(SEARCHED), str(SEARCHED + 1)}
    settings = [json.loads(path.read_text()) for path in (tmp_path / "store").glob("*/stage.json")]
    of_trials = [one for one in settings if is_development(one["settings"]["seed"])]
    assert len({one["settings"]["split"]["labelled_hash"] for one in of_trials}) == 2
    assert {one["settings"]["seed"] for one in settings} - {one["settings"]["seed"] for one in of_trials} == {0, 1}

    other = next(one for one in trials if one.params["net.width"] == 2)
    assert (
        f"best configuration (trial {read_search(tmp_path / 'out').best['trial']}) against the default" in capsys.readouterr().out
    )
    assert run("--pick", str(other.number)) == 0
    assert json.loads((tmp_path / "out" / "best.json").read_text())["trial"] == other.number
    assert read_config(tmp_path / "out" / "best.json").net == UNet(width=2, depth=2)
    assert f"All are compared on the network of trial {other.number}, which is not the default's." in capsys.readouterr().out
    assert len(read_search(tmp_path / "out").trials) == 2


def test_a_journal_of_the_old_objectives_goes_on(tmp_path: Path) -> None:
    identity = {"objectives": "score+seconds", "search_seeds": [0]}
    open_ledger(tmp_path, 1, objectives=("score", "seconds"), identity=identity).close()
    with open_ledger(tmp_path, 1, objectives=("score", "seconds"), identity=identity) as ledger:
        assert [direction.name for direction in ledger.study.directions] == ["MAXIMIZE", "MINIMIZE"]
