"""`--until decided` on the command line: what is refused, what a dry run says, and a study that is cut off and goes on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import tiny
from conftest import SCRIPT, Run, finish, small_folder
from test_report_studies import study_of

from ablate_three_stage import TABLE
from search_three_stage import SEARCH
from semiseg.config import SettingError
from semiseg.results import read
from semiseg.results.decode import decode
from semiseg.results.records import StudyRecord, brought_up, write_study
from semiseg.results.until import UntilRecord
from semiseg.search.arguments import parse_search
from semiseg.search.study import SearchStudy
from semiseg.sweep.arguments import parse
from semiseg.sweep.deciding import Deciding, all_seeds, earlier_run, first_seeds, seed_by_seed
from semiseg.sweep.plan import Plan
from semiseg.sweep.renewal import Renewal
from semiseg.sweep.study import Study
from semiseg.sweep.until import Addition

UNTIL = ("--until", "decided")
PETS = SCRIPT.with_name("ablate_mean_teacher_pets.py")
"""Two rows of it are two stages a seed."""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--budget", "30m"), "budget: got '30m'; allowed: with --until decided"),
        ((*UNTIL, "--budget", "30"), "budget: got '30'; allowed: a number above 0 with s, m or h, such as 90s, 30m or 2h"),
    ],
)
def test_wrong_words_are_refused_in_one_line(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(SettingError) as refused:
        parse(TABLE, words)
    assert str(refused.value) == said


def test_seeds_of_the_start_and_all_that_are_allowed() -> None:
    arguments, preset = parse(TABLE, (*UNTIL, "--seeds", "4", "2", "--max-seeds", "5"))
    assert preset.seeds == (4, 2)
    assert first_seeds(preset.seeds, arguments) == (2, 4, 5)
    assert all_seeds((2, 4, 5), arguments) == (2, 4, 5, 6, 7)
    with pytest.raises(SettingError, match="^max_seeds: got 2; allowed: a whole number >= 3, the seeds of the start$"):
        all_seeds((0, 1), replace(arguments, max_seeds=2))


def test_further_seeds_of_development_are_reserved_ones() -> None:
    arguments, preset = parse(TABLE, (*UNTIL, "--development", "--seeds", "0", "--max-seeds", "4"))
    assert all_seeds(preset.seeds, arguments) == (1_000_000, 1_000_001, 1_000_002, 1_000_003)


def test_the_first_seed_is_trained_first_and_teachers_before_those_who_learn() -> None:
    """So that a budget that ends early leaves whole seeds."""
    chains = {("full", seed): tiny.chain(seed=seed) for seed in (1, 0)}
    plan = Plan(chains, frozenset({chains["full", 0][0].key}))
    assert [(stage.seed, stage.name) for stage in seed_by_seed(plan)] == [
        (seed, stage.name) for seed in (0, 1) for stage in chains["full", seed][seed == 0 :]
    ]


def record(**changes: Any) -> StudyRecord:
    return decode(StudyRecord, {name: value for name, value in brought_up(study_of(**changes)).items() if name != "format"})


def test_the_comparison_of_a_search_begins_with_as_many_seeds() -> None:
    arguments, preset, space = parse_search(SEARCH, (*UNTIL, "--seeds", "0", "--budget", "5m"))
    search = SearchStudy(SEARCH, preset, arguments, space)
    search.bench = cast("Any", None)
    study = search.comparison(search.default)
    assert study.preset.seeds == (0, 1, 2)
    assert (study.arguments.until, study.arguments.budget) == ("decided", "5m")


def test_the_clock_goes_on_only_where_rows_settings_and_data_are_the_same(tmp_path: Path) -> None:
    until = UntilRecord(comparisons=2, max_seeds=9, spent_seconds=70.0, began=5.0, ahead=3)
    write_study(tmp_path, replace(record(), until=until))
    assert earlier_run(tmp_path, record()) == until
    assert earlier_run(tmp_path, record(settings={"train": {"steps": 1}})) is None
    assert earlier_run(tmp_path / "elsewhere", record()) is None
    write_study(tmp_path, record())
    assert earlier_run(tmp_path, record()) is None


def test_a_dry_run_says_how_many_seeds_the_margin_will_probably_take(run: Run) -> None:
    status, out, _ = run(*UNTIL, "--max-seeds", "6", "--rows", "S1", "--dry-run")
    assert status == 0
    lines = out.splitlines()
    assert "until decided: 1 comparison, margin 1, level 0.05; rows begin with 5 seeds and have at most 6" in lines
    assert any(
        line.startswith("  15, more than --max-seeds: all ") for line in lines
    )  # a point of spread: the first n whose half width is below a point
    assert lines[-1].startswith("at most 18 stages, 18 to train, about ")


def test_results_are_of_one_moment_while_the_plan_grows(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written in a thread of its own: a seed that is added meanwhile is in the next ones."""
    plain, grows = Study._record, list[Deciding]()

    def record(self: Study, plan: Plan, *rest: Any) -> StudyRecord:
        found = plain(self, plan, *rest)
        for one in grows:
            order = one.growth.order
            order.additions.append(Addition(order.rows, one.seeds[-1]))
            more = one.more(order.rows, one.seeds[-1:])
            one.growth.plan = replace(one.growth.plan, chains={**one.growth.plan.chains, **more.chains})
        return found

    def train(_: Study, plan: Plan, queue: Any, bench: Any, renewal: Renewal, deciding: Deciding) -> int:
        grows.append(deciding)
        renewal.write()
        raise SystemExit(len(deciding.plan.chains) - len(plan.chains))  # what the plan has grown by

    monkeypatch.setattr(Study, "_record", record)
    monkeypatch.setattr(Study, "_train", train)
    status, _, errors = run(
        *UNTIL, "--vary", "both", "--max-seeds", "6", "--rows", "S1", "full", "--anchors", "none", "--out", str(tmp_path / "out")
    )
    assert status == 2, errors
    study = read(tmp_path / "out").study
    assert study.seeds == tuple(draw.seed for draw in study.draws) == (0, 1, 2, 3, 4)


def test_a_study_that_was_cut_off_goes_on_and_trains_nothing_twice(tmp_path: Path, cache: Path) -> None:
    root = small_folder(tmp_path / "data").parent / "data"
    words = [
        "--data.name",
        "folder",
        "--data.root",
        str(root),
        "--data.labelled",
        "2",
        "--train.steps",
        "2",
        "--rows",
        "mean teacher",
    ]
    words += ["--train.evaluations", "1", "--train.batch-labelled", "1", "--train.batch-unlabelled", "1", "--net.width", "2"]
    words += ["--anchors", "none", "--max-seeds", "4", "--margin", "0.001", *UNTIL, "--budget"]

    def state() -> tuple[dict[str, Any], set[str]]:
        about = json.loads((tmp_path / "out" / "study.json").read_text())
        return about["until"], {path.parent.name for path in (tmp_path / "store").glob("*/stage.json")}

    short = finish(tmp_path, cache, *words, "0.1s", script=PETS, timeout=480)
    assert short.returncode == 0, short.stderr
    first, stored = state()
    assert first["reason"] == "budget"
    assert first["spent_seconds"] >= 0.1
    whole = finish(tmp_path, cache, *words, "1h", script=PETS, timeout=480)
    assert whole.returncode == 0, whole.stderr
    second, everything = state()
    assert second["reason"] in ("decided", "max_seeds")
    assert (second["began"], second["ahead"]) == (first["began"], first["ahead"])
    assert second["spent_seconds"] > first["spent_seconds"]
    assert len(everything) >= 2 * len(read(tmp_path / "out").study.seeds)
    assert all(f"done {name}" not in whole.stdout for name in stored)
    again = finish(tmp_path, cache, *words, "1h", script=PETS, timeout=480)
    assert again.returncode == 0, again.stderr
    assert "0 to train" in again.stdout
    third, _ = state()
    assert third == second
