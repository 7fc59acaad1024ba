"""Effects in a report, on made-up results whose truth is known: additive parts, redundancy, synergy; figures, table, CSV, page."""

import csv
import io
import math
from itertools import combinations
from math import fsum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY
from effects_studies import all_kinds, make_effects, name_of, subsets, three_parts
from in_process import without_ray
from scipy import stats

from ablate_three_stage import TABLE
from semiseg.coalitions import KINDS, Coalition
from semiseg.report import text_table, write_report
from semiseg.report.answer import answer
from semiseg.report.data import ReportData, report_data
from semiseg.report.effects import Effect, effects_of, redundancies, redundancy_words, whole_gain
from semiseg.report.effects_figures import draw_dumbbell, draw_interactions, draw_shapley
from semiseg.report.effects_table import effects_csv, effects_grid, effects_words
from semiseg.report.scores import part_deltas
from semiseg.results import Results, read
from semiseg.results.effects import EffectsRecord
from semiseg.sweep.bench import Bench
from semiseg.sweep.command import main

WORTH = {"CR": 0.04, "T2": 0.0, "SA": -0.02, "N2": 0.015}
PARTS = tuple(WORTH)


def additive(one: Coalition) -> float:
    return 0.5 + fsum(WORTH[p] for p in one)


def values_of(results: Results) -> dict[str, dict[int, float]]:
    table = report_data(results).table
    return {row.name: {seed: cell.value for seed, cell in row.cells.items()} for row in table.rows}


def decided_of(record: EffectsRecord | None, values: dict[str, dict[int, float]]) -> dict[str, dict[int, float]]:
    return {one.name: dict(one.values.deltas) for one in effects_of(record, values) if one.decided}


def kind(data: ReportData, name: str) -> dict[str, Effect]:
    return {" x ".join(one.parts): one for one in data.table.effects if one.kind == name}


@pytest.fixture(scope="module")
def additive_study(tmp_path_factory) -> ReportData:
    return report_data(make_effects(tmp_path_factory.mktemp("additive"), additive, PARTS, KINDS, own=0.0))


def test_in_an_additive_game_every_kind_says_what_the_part_is_worth(additive_study):
    for name in ("Shapley", "out", "in", "main"):
        found = kind(additive_study, name)
        assert {part: one.values.mean for part, one in found.items()} == pytest.approx(WORTH, abs=1e-12), name
    assert {pair: one.values.mean for pair, one in kind(additive_study, "interaction").items()} == pytest.approx(
        {f"{p} x {q}": 0.0 for p, q in combinations(PARTS, 2)}, abs=1e-12
    )


def test_shapley_values_sum_to_the_whole_gain_at_every_seed(tmp_path):
    results = make_effects(tmp_path, three_parts, ("CR", "SA", "T2"), ("shapley",), own=0.02, seeds=5)
    values, record = values_of(results), results.study.effects
    assert record is not None
    found = decided_of(record, values)
    assert list(found) == ["CR: Shapley", "SA: Shapley", "T2: Shapley"]
    for seed in range(5):
        assert fsum(one[seed] for one in found.values()) == pytest.approx(values["full"][seed] - values["base"][seed], abs=1e-12)
    assert whole_gain(record, values).deltas == pytest.approx(
        {seed: values["full"][seed] - values["base"][seed] for seed in range(5)}
    )


def test_intervals_are_those_of_paired_differences(tmp_path):
    """Left out is the ordinary paired t interval of two rows; a seed that one of the rows lacks does not count."""
    data = report_data(make_effects(tmp_path, three_parts, ("CR", "SA", "T2"), ("both",), own=0.01, seeds=4))
    values = values_of(data.results)
    one = kind(data, "out")["CR"].values
    more, less = (np.array([*values[row].values()]) for row in ("full", "base + SA + T2"))
    low, high = stats.ttest_rel(more, less).confidence_interval()
    assert (one.mean, one.low, one.high) == pytest.approx((float(np.mean(more - less)), low, high))
    assert data.study.effects is not None
    fewer = values | {"base + SA + T2": values["base + SA + T2"] | {2: math.nan}}
    found = decided_of(data.study.effects, fewer)
    assert list(found["CR: out"]) == [0, 1, 3]
    assert list(found["SA: out"]) == [0, 1, 2, 3]


def test_redundant_parts_and_synergy_are_told_apart_in_words(tmp_path):
    data = report_data(make_effects(tmp_path, three_parts, ("CR", "SA", "T2"), ("both",)))
    said = {one.part: redundancy_words(one) for one in redundancies(data.table.effects)}
    assert said["SA"].startswith("SA is redundant: worth 4.9 points more alone")
    assert said["SA"].endswith("more alone than in the whole, where others do what it does")
    assert said["T2"].startswith("T2 has synergy: worth ")
    drawn: Any = draw_dumbbell(data)
    assert said["SA"] in drawn.note
    (made,) = drawn.figures
    out, alone = (dict(zip(("CR", "SA", "T2"), trace.x, strict=True)) for trace in made.data[1:])
    assert out == pytest.approx({"CR": 3.0, "SA": 0.0, "T2": 3.0}, abs=0.4)
    assert alone == pytest.approx({"CR": 5.0, "SA": 5.0, "T2": 0.0}, abs=0.4)


def test_parts_that_take_others_along_are_said_and_not_called_redundant(tmp_path):
    players = ("S2", "CR")
    sets = [one for one in subsets(players) if "CR" not in one or "S2" in one]
    data = report_data(
        make_effects(
            tmp_path,
            lambda one: 0.5 + 0.01 * len(one),
            players,
            ("both", "shapley", "factorial"),
            sets,
            infeasible="CR only with S2",
        )
    )
    assert kind(data, "out")["S2"].with_it == ("CR",)
    assert kind(data, "in")["CR"].rows == {"full": 1.0, "base + S2": -1.0}
    found = {one.part: redundancy_words(one) for one in redundancies(data.table.effects)}
    assert found["S2"] == "S2: CR goes out with it, so in and out are not the same question"
    assert found["CR"].startswith("CR: in and out do not differ clearly")
    said = " ".join(effects_words(data))
    assert (
        "3 of 4 sets of parts can be trained (the others make no training of their own: CR only with S2); 3 are rows here." in said
    )
    assert "least squares on those sets; 1 of 1 interactions cannot be told from main effects and are left out." in said
    assert kind(data, "interaction") == {}


def test_what_is_to_be_decided_is_what_was_asked_for(tmp_path):
    players = ("CR", "SA")
    for number, (asked, names) in enumerate(
        {
            ("shapley", "both"): ["CR: Shapley", "SA: Shapley"],
            ("loo",): ["CR: out", "SA: out"],
            ("loi",): ["CR: in", "SA: in"],
            ("loo", "factorial"): ["CR: out", "SA: out", "CR: main", "SA: main"],
        }.items()
    ):
        results = make_effects(tmp_path / str(number), three_parts, players, asked)  # type: ignore[arg-type]
        assert results.study.effects is not None
        assert list(decided_of(results.study.effects, values_of(results))) == names


def test_verdicts_and_cards_are_of_the_effects(additive_study):
    found = {"+".join(part.removed): part for part in part_deltas(additive_study.table)}
    assert list(found) == list(PARTS)
    assert (found["CR"].standing, found["SA"].standing) == ("earns its place", "hurts here")
    assert found["CR"].where == "over 16 rows"
    said = answer(additive_study.table, additive_study.label)
    assert said.sentences[-1] == "CR and N2 earn their place; SA hurts here; T2 is equivalent within 1 point."


def test_table_words_and_csv_hold_every_effect(tmp_path):
    write_report(all_kinds(tmp_path))
    data = report_data(read(tmp_path))
    grid = effects_grid(data)
    assert grid is not None
    assert len(grid.lines) == len(data.table.effects) == 3 + 3 + 3 + 3 + 3
    lines = list(csv.DictReader(io.StringIO((tmp_path / "effects.csv").read_text())))
    assert effects_csv(data) == (tmp_path / "effects.csv").read_text()
    for line, one in zip(lines, data.table.effects, strict=True):
        assert float(line["mean"]) == pytest.approx(100 * one.values.mean, abs=0.0051)
        assert [float(line[f"seed {seed}"]) for seed in range(3)] == pytest.approx(
            [100 * value for value in one.values.deltas.values()], abs=0.0051
        )
    assert [line["decided"] for line in lines] == ["1"] * 3 + ["0"] * 12
    assert "Shapley value CR over 8 rows +3.96" in " ".join(text_table(data.results).split())
    markdown = (tmp_path / "table.md").read_text()
    assert "| Shapley value | CR | over 8 rows | " in markdown
    assert "Of the gain of +8.0" in markdown
    assert "SA is redundant" in markdown


def test_the_page_shows_figures_table_and_cards(tmp_path):
    text = write_report(all_kinds(tmp_path)).read_text(encoding="utf-8")
    for anchor in ("effects", "shapley", "dumbbell", "interactions"):
        assert f'<section id="{anchor}"' in text
    assert "Shapley value: what the part adds when it comes" in text
    drawn: Any = {one.__name__: one(report_data(read(tmp_path))) for one in (draw_shapley, draw_dumbbell, draw_interactions)}
    bars, heat = drawn["draw_interactions"].figures
    assert len(bars.data[0].x) == 3
    z = heat.data[0].z
    assert [z[i][i] for i in range(3)] == [None] * 3
    assert z[0][1] == z[1][0] == pytest.approx(-2.5, abs=0.3)  # CR and SA do the same
    assert heat.data[0].text[0][1].endswith(" *")
    dots = drawn["draw_shapley"].figures[0].data[1]
    assert len(dots.x) == 9


def test_a_study_of_which_nothing_is_finished_says_so(tmp_path):
    results = make_effects(tmp_path, lambda one: math.nan, ("CR", "SA"), KINDS)
    data = report_data(results)
    for draw in (draw_shapley, draw_dumbbell, draw_interactions):
        drawn = draw(data)
        assert isinstance(drawn, str)
        assert drawn.endswith(" yet.")
    assert "<section" in write_report(tmp_path).read_text(encoding="utf-8")


def test_one_seed_has_effects_without_intervals(tmp_path):
    results = make_effects(tmp_path, three_parts, ("CR", "SA"), KINDS, seeds=1)
    text = write_report(results.folder).read_text(encoding="utf-8")
    assert "(one seed)" in text
    assert "too few seeds to tell in from out" in text


def test_names_of_made_up_rows():
    assert name_of({"SA"}, ("CR", "SA")) == "base + SA"


def test_a_study_of_effects_is_trained_and_reported(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way with few steps: rows of two parts, their stages shared, all kinds of effects, what the files hold."""
    without_ray(monkeypatch)
    monkeypatch.setattr(Bench, "cost", lambda self, measure: "planned")
    monkeypatch.chdir(tmp_path)
    asked = ["--effects", "both", "factorial", "shapley", "--effects.parts", "S2", "S3"]
    words = ["--train.steps", "2", "--train.evaluations", "1", "--seeds", "0", "--quick", *asked]
    assert main(TABLE, ["--cache", str(cache), *TINY, *words]) == 0
    out = capsys.readouterr().out
    assert "3 of 4 sets can be trained (S3 only with S2); these 3 are: S1, S1 + S2, full" in out
    assert "3 sets x 1 seed: 6 stages from scratch, 3 distinct, sharing saves 3 (50%)" in out
    folder = tmp_path / "results" / "three_stage-effects-quick"
    results = read(folder)
    values, record = values_of(results), results.study.effects
    assert record is not None
    found = decided_of(record, values)
    assert found["S2: Shapley"] == pytest.approx({0: values["S1 + S2"][0] - values["S1"][0]})
    assert found["S3: Shapley"] == pytest.approx({0: values["full"][0] - values["S1 + S2"][0]})
    assert len((folder / "effects.csv").read_text().splitlines()) == 1 + 2 + 2 + 2 + 2
    assert '<section id="shapley"' in (folder / "report.html").read_text(encoding="utf-8")
