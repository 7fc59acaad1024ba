"""How settings are chosen: the rule on made-up scores, candidates of one whole choice, the same table from two empty stores."""

import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from data_trees import SHARED
from hypothesis import given
from hypothesis import strategies as st
from in_process import without_ray

from choose_settings import Scored, chosen, main, said, table_of
from semiseg.change import Row, change
from semiseg.codec import read_row, read_value
from semiseg.config import Data, SettingError, Train
from semiseg.data import load, split
from semiseg.development import development_data
from semiseg.losses import Dice
from semiseg.methods import Supervised
from semiseg.results import read
from semiseg.sweep.bench import Bench
from semiseg.sweep.choices import CHOICES, LABELS_ALONE, PRESETS, Choice, Proposal
from semiseg.sweep.declaration import Preset
from semiseg.sweep.presets import THREE_STAGE
from semiseg.sweep.rows import resolve_row

ROOT = Path(__file__).parents[1]


def made_up(**scores: tuple[float, ...]) -> list[Scored]:
    return [Scored(name, name, dict(enumerate(values)), 1.0) for name, values in scores.items()]


@pytest.mark.parametrize(
    ("scores", "name"),
    [
        ({"a": (0.5, 0.5), "b": (0.6, 0.6)}, "b"),  # no spread: the better one
        ({"a": (0.5, 0.5), "b": (0.5, 0.5)}, "a"),  # equal: the first
        ({"a": (0.5, 0.6), "b": (0.6, 0.5)}, "a"),
        ({"a": (0.5, 0.7), "b": (0.6, 0.6 + 2 * 0.1)}, "b"),  # ahead by 0.1 at both seeds: paired, there is no error
        ({"a": (0.5, 0.5), "b": (0.5, 0.6)}, "a"),  # ahead by 0.05, standard error 0.05
        ({"a": (0.5, 0.5), "b": (0.51, 0.6)}, "b"),  # ahead by 0.055, standard error 0.045
        ({"a": (0.5, 0.5, 0.5), "b": (0.5, 0.5, 0.6)}, "a"),  # 0.0333, 0.0333
        ({"a": (0.1, 0.1), "b": (0.5, 0.6), "c": (0.6, 0.5)}, "b"),  # as good as c, which is no better than b
        ({"a": (0.5,), "b": (0.500001,)}, "b"),  # one seed: no standard error
        ({"a": (0.5,), "b": (0.5,)}, "a"),
    ],
)
def test_the_first_within_one_standard_error_of_the_best_is_chosen(scores: dict[str, tuple[float, ...]], name: str) -> None:
    assert chosen(made_up(**scores)).name == name


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=5))
def test_nothing_before_the_chosen_one_is_as_good(scores: list[list[float]]) -> None:
    """The rule once more, by its words."""
    candidates = [Scored(str(number), "", dict(enumerate(values)), 0.0) for number, values in enumerate(scores)]
    means = [sum(values) / 3 for values in scores]
    best = scores[means.index(max(means))]

    def good(values: list[float]) -> float:
        """Negative when it is further behind than one standard error."""
        differences = [b - v for b, v in zip(best, values, strict=True)]
        mean = sum(differences) / 3
        return (sum((d - mean) ** 2 for d in differences) / 2 / 3) ** 0.5 - mean

    place = int(chosen(candidates).name)
    assert good(scores[place]) >= -1e-12
    assert all(good(values) <= 1e-12 for values in scores[:place])


def test_a_candidate_without_a_score_is_refused_by_name() -> None:
    with pytest.raises(SettingError, match="candidate 'b': got .*; allowed: a score at every seed"):
        chosen(made_up(a=(0.5, 0.6), b=(0.5, float("nan"))))


def test_candidates_that_lose_a_class_at_more_seeds_are_passed_over() -> None:
    steady, better, worse = made_up(steady=(0.5, 0.5), better=(0.9, 0.9), worse=(0.4, 0.4))
    assert chosen([steady, better]).name == "better"
    assert chosen([steady, better._replace(lost=1)]).name == "steady"
    assert chosen([worse._replace(lost=1), steady._replace(lost=1), better._replace(lost=2)]).name == "steady"
    assert chosen([one._replace(lost=2) for one in (steady, better)]).name == "better"


@pytest.mark.parametrize(
    ("gaps", "name"),
    [
        ({"a": (0.1, 0.2, 0.3), "b": (0.1, 0.12, 0.14)}, "b"),  # sd 0.1 against 0.02, whose standard error is 0.01
        ({"a": (0.1, 0.126, 0.152), "b": (0.2, 0.22, 0.24)}, "a"),  # 0.026 is within 0.02 + 0.01; what there is to gain is enough
        ({"a": (0.1, 0.2, 0.3), "b": (0.01, 0.01, 0.01)}, "a"),  # b spreads less, but has too little to gain
        ({"a": (0.5, 0.9, 0.7), "b": (0.3, 0.3, 0.3), "c": (0.4, 0.4, 0.4)}, "b"),  # more to gain is no better
    ],
)
def test_images_are_chosen_by_the_spread_of_what_there_is_to_gain(gaps: dict[str, tuple[float, ...]], name: str) -> None:
    assert chosen(made_up(**gaps), "headroom").name == name
    first = made_up(**gaps)[0]
    assert chosen([first, *(one._replace(lost=1) for one in made_up(**gaps)[1:])], "headroom") == first
    with pytest.raises(SettingError, match="candidates: got .*; allowed: one where all labels add 2 points"):
        chosen([one._replace(scores=dict.fromkeys(one.scores, 0.01)) for one in made_up(**gaps)], "headroom")


def test_the_table_says_what_is_behind_and_what_was_chosen() -> None:
    text = table_of("x", [made_up(a=(0.5, 0.5), b=(0.5, 0.6)), made_up(b=(0.5, 0.6), c=(0.8, 0.9))], ["About."])
    assert "| **a** (chosen) | 2 | 50.00 | 0.00 | 5.00 | 5.00 | 0 | 1 |" in text
    assert "| b | 2 | 55.00 | 7.07 | 0.00 | 0.00 | 0 | 1 |" in text
    assert "| **c** (chosen) | 2 | 85.00 | 7.07 | 0.00 | 0.00 | 0 | 1 |" in text
    assert text.endswith("Chosen: c\n\n    c\n")


def test_the_command_is_said_without_what_decides_nothing() -> None:
    words = ["--data.root", "/somewhere", "--store", "s", "--seeds", "0", "1", "--ray.trials", "1"]
    assert said("acdc", words) == "python analysis/choose_settings.py acdc --data.root PATH --seeds 0 1"
    assert said("demo-stages", []) == "python analysis/choose_settings.py demo-stages"  # built in


@pytest.mark.parametrize("name", CHOICES)
def test_candidates_have_distinct_names_and_can_be_trained_whichever_wins(name: str) -> None:
    choice = CHOICES[name]
    names = [choice.start, *(one for changes in choice.rounds for one in changes)]
    assert len(set(names)) == len(names)
    assert len(choice.base.seeds) >= 2
    assert (choice.base.train.batch_unlabelled == 0) == (name in LABELS_ALONE or choice.aim == "headroom")
    so_far = [Proposal(choice.row)]
    for changes in choice.rounds:
        so_far += [winner | one for winner in so_far for one in changes.values()]
    for one in so_far:
        resolve_row(name, "candidate", one.row, choice.base.methods())
        one.data.of(choice.base.data)


TINY = Choice(
    base=Preset(net=tiny.NET, train=replace(tiny.TRAIN, batch_unlabelled=0), method=Supervised(), seeds=(0, 1)),
    start="start",
    rounds=(
        {"Dice": Proposal(Row(change(Supervised, objective=Dice())))},
        {"slow": Proposal(Row(train=change(Train, learning_rate=1e-3)))},
        {"min-max": Proposal(data=change(Data, normalise="minmax"))},
    ),
)


def test_two_empty_stores_give_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_ray(monkeypatch)
    data, cache = tiny.data()
    monkeypatch.setitem(CHOICES, "acdc", replace(TINY, base=replace(TINY.base, data=data)))
    texts = []
    for place in (tmp_path / "one", tmp_path / "two"):
        words = ["--store", str(place / "store"), "--out", str(place / "out"), "--cache", str(cache)]
        assert main(["acdc", "--table", str(place / "table.md"), *words]) == 0, capsys.readouterr().err
        texts.append((place / "table.md").read_text())
    texts.append((tmp_path / "one" / "table.md").read_text())
    without_cost = [re.sub(r"\| \d+ \|$", "|", text, flags=re.MULTILINE) for text in texts]
    assert without_cost[0] == without_cost[1]
    assert len(re.findall(r"^\| .* 2 \| \d+\.\d\d ", texts[0], re.MULTILINE)) == 6  # three rounds of two candidates, two seeds
    assert texts[0].count("(chosen)") == 3
    assert "python analysis/choose_settings.py acdc --data.root PATH" in texts[0]
    assert str(tmp_path) not in texts[0]
    stages = list((tmp_path / "one" / "store").glob("*/metrics.parquet"))
    assert len(stages) == 2 * 4  # the winner of a round is not trained again


def test_images_are_judged_by_labels_alone_and_all_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The gaps of the table are those of the two runs at each seed; no method is trained."""
    without_ray(monkeypatch)
    monkeypatch.setattr("choose_settings.LEAST", -1.0)
    data, cache = tiny.data()
    rounds = ({"min-max": Proposal(data=change(Data, normalise="minmax"))},)
    tiny_images = replace(TINY, base=replace(TINY.base, data=data), rounds=rounds, aim="headroom")
    monkeypatch.setitem(CHOICES, "acdc", tiny_images)
    words = ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "out"), "--cache", str(cache)]
    assert main(["acdc", "--table", str(tmp_path / "table.md"), *words]) == 0, capsys.readouterr().err
    for part, name in (("1-0", "start"), ("1-1", "min-max")):
        found = read(tmp_path / "out" / part)
        assert list(found.study.rows) == [name, f"{name}, all labels"]
        assert {stage["name"] for stage in found.stages.to_pylist()} == {"supervised"}
        wanted = {"split": "selection", "weights": "best", "class": "", "metric": "miou"}
        lines = [one for one in found.metrics.to_pylist() if all(one[field] == value for field, value in wanted.items())]
        value = {one["key"]: one["value"] for one in lines}
        key = {(one["row"], one["seed"]): one["key"] for one in found.rows.to_pylist()}
        seeds = {seed for _, seed in key}
        gaps = [100 * (value[key[f"{name}, all labels", seed]] - value[key[name, seed]]) for seed in seeds]
        line = next(
            line for line in (tmp_path / "table.md").read_text().splitlines() if line.startswith((f"| {name} ", f"| **{name}*"))
        )
        assert line.split(" | ")[2] == f"{sum(gaps) / len(gaps):.2f}"


def test_no_test_image_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)
    data, cache = tiny.data()
    monkeypatch.setitem(CHOICES, "acdc", replace(TINY, base=replace(TINY.base, data=data), rounds=TINY.rounds[:1]))
    words = ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "out"), "--cache", str(cache)]
    assert main(["acdc", "--table", str(tmp_path / "table.md"), *words]) == 0
    found = read(tmp_path / "out" / "1-0")
    assert set(found.metrics["split"].to_pylist()) == {"selection"}
    assert found.study.added == ()  # no anchors
    assert (found.study.vary, found.study.draws) == ("training", ())  # as tables in docs/evidence were chosen


def test_a_choice_that_is_stopped_writes_no_table_and_ends_with_the_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_ray(monkeypatch)
    data, cache = tiny.data()
    monkeypatch.setitem(CHOICES, "acdc", replace(TINY, base=replace(TINY.base, data=data), rounds=TINY.rounds[:1]))
    monkeypatch.setattr(Bench, "feed", lambda self, feed, slots: signal.SIGTERM)
    words = ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "out"), "--cache", str(cache)]
    assert main(["acdc", "--table", str(tmp_path / "table.md"), *words]) == 128 + signal.SIGTERM
    assert "stopped by SIGTERM; the same command goes on from here" in capsys.readouterr().err
    assert not (tmp_path / "table.md").exists()


def test_a_wrong_word_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["acdc", "--data.root", str(tmp_path / "nowhere")]) == 2
    assert "data.root" in capsys.readouterr().err


TABLES = {file.stem.removeprefix("settings_"): file for file in sorted((ROOT / "docs" / "evidence").glob("settings_*.md"))}


@pytest.mark.parametrize("name", TABLES)
def test_a_preset_is_what_its_tables_chose(name: str) -> None:
    base, preset = CHOICES[name].base, PRESETS[name]
    words = TABLES[name].read_text(encoding="utf-8").partition("\nChosen: ")[2].partition("\n")[2].split()
    data = dict(word.removeprefix("data.").split("=", 1) for word in words if word.startswith("data."))
    row = read_row(" ".join(word for word in words if not word.startswith("data.")), base.methods())
    assert preset.data == replace(base.data, **{field: read_value(Data, field, text) for field, text in data.items()})
    if CHOICES[name].aim == "headroom":  # which chooses nothing else
        return
    if name not in LABELS_ALONE:
        method = resolve_row(name, "chosen", row, base.methods()).method
        assert replace(preset.method, **{switch: getattr(method, switch) for switch in method.SWITCHES}) == method
        return
    assert row.method is not None
    if f"{name}-stages" not in TABLES:  # which chooses the loss again
        assert preset.method.labels_only()["objective"] == row.method.of(Supervised()).objective
    assert preset.train == replace(row.train.of(base.train), batch_unlabelled=preset.train.batch_unlabelled)


@pytest.mark.parametrize(("name", "patients"), [("acdc", 3), ("acdc-7", 7)])
def test_development_draws_other_patients_than_are_reported_and_as_many(name: str, patients: int, tmp_path: Path) -> None:
    if not (SHARED / "acdc70").is_dir():
        pytest.skip("acdc70 is not there; a clone has no data")
    data = replace(THREE_STAGE[name].data, root=SHARED / "acdc70")
    pack = load(data, tmp_path)
    drawn = [{pack.groups[row] for row in split(pack, one).labelled} for one in (data, development_data(data, ()))]
    assert [len(one) for one in drawn] == [patients, patients]
    assert drawn[0] != drawn[1]
