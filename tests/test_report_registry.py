"""Every figure of both pages, whatever the study: something is drawn, or a sentence says what is missing; and roles of any name."""

import math
from pathlib import Path
from typing import Any

import pytest
from crossed_studies import crossed_study
from effects_studies import all_kinds
from optuna.trial import TrialState
from search_studies import make_search
from test_report_comparisons import SCORES, make_comparison
from test_report_counts import make_counted
from test_report_studies import CHAINS, ROWS, make_study

from semiseg.report import write_report
from semiseg.report.data import ReportData, report_data
from semiseg.report.figures import FIGURES
from semiseg.report.markup import PageFigure, figure_sections
from semiseg.report.page import study_page
from semiseg.report.roles import draw_roles, roles_info
from semiseg.report.style import Drawn
from semiseg.results import SCHEMAS, read, write_table
from semiseg.search.figures import SEARCH_FIGURES
from semiseg.search.folder import SearchResults, read_search

NAMES = sorted({name for chain in CHAINS.values() for name in chain})


def waiting(folder: Path) -> Path:
    return make_study(folder, samples=False, states={(name, seed): "waiting" for name in NAMES for seed in range(3)})


def without_lines(folder: Path) -> Path:
    make_study(folder, samples=False)
    for name in SCHEMAS:
        write_table(folder, name, [])
    return folder


def failed(folder: Path) -> Path:
    states = {("s1", seed): "failed" for seed in range(3)}
    return make_study(
        folder, samples=False, states=states | {(name, seed): "skipped" for name in NAMES if name != "s1" for seed in range(3)}
    )


def partial(folder: Path) -> Path:
    return make_study(folder, samples=False, states={("s2-CR", 0): "failed", ("s3-CR", 0): "skipped", ("s3", 2): "waiting"})


def one_seed(folder: Path) -> Path:
    return make_study(folder, seeds=(4,), samples=False)


def many_roles(folder: Path) -> Path:
    """Every stage trains a second student, which the table uses in the rows without CR, T2 and SA."""
    results = read(make_study(folder, samples=False))
    stages = results.stages.to_pylist()
    for stage in stages:
        stage["evaluated"] = "student2" if stage["name"] in ("s3-CR", "s3-T2", "s3-SA") else "student"
    metrics, curves = results.metrics.to_pylist(), results.curves.to_pylist()
    metrics += [
        line | {"role": "student2", "value": line["value"] - 0.1 * (line["class"] == "")}
        for line in metrics
        if line["role"] == "student"
    ]
    curves += [
        line | {"name": "selection/student2/miou", "value": line["value"] / 2}
        for line in curves
        if line["name"] == "selection/student/miou"
    ]
    for name, lines in (("stages", stages), ("metrics", metrics), ("curves", curves)):
        write_table(folder, name, lines)
    return folder


def without_scores(folder: Path) -> Path:
    return make_comparison(folder, dict.fromkeys(SCORES, (math.nan,) * 3))


STUDIES = {
    one.__name__: one
    for one in (
        make_study,
        make_comparison,
        waiting,
        without_lines,
        failed,
        partial,
        one_seed,
        many_roles,
        without_scores,
        all_kinds,
        make_counted,
        crossed_study,
    )
}
WHOLE = ("make_study", "make_comparison", "many_roles", "make_counted", "crossed_study")


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> dict[str, ReportData]:
    return {name: report_data(read(make(tmp_path_factory.mktemp(name)))) for name, make in STUDIES.items()}


def left_out(data: ReportData) -> set[str]:
    """Anchors of figures that a study has no use for: a curve or effects that nobody asks for, variances of fewer than three seeds,
    sources of a design that is not crossed, headroom without anchors, what is counted where nothing was."""
    few = max((row.delta.n for row in data.table.rows if row.delta is not None), default=0) < 3
    rooms, counts = data.study.anchors.values(), set(data.results.counts.column("table").to_pylist())
    crossed = data.study.vary == "crossed"  # what takes its runs as independent is left out
    out = {"curve": data.study.curve is None, "variances": few or crossed, "beside": crossed or data.study.paper is None}
    out |= {"sources": not crossed, "headroom": not any(one.all_labels for one in rooms)}
    out |= dict.fromkeys(("shapley", "dumbbell", "interactions"), data.study.effects is None)
    out |= {name: name not in counts for name in ("confusion", "calibration")}
    return {name for name, left in out.items() if left}


def check(drawn: Drawn | str | None, whole: bool) -> None:
    """A figure with at least one trace and a note, or a sentence; of a whole study always a figure."""
    if isinstance(drawn, Drawn):
        assert drawn.figures
        for made in drawn.figures:
            traces: Any = made.data
            layout: Any = made.layout
            assert traces
            assert layout.paper_bgcolor == "rgba(0,0,0,0)"
        assert bool(drawn.panel_px) or len(drawn.figures) == 1
    else:
        assert not whole
    for words in (drawn.note, drawn.heading) if isinstance(drawn, Drawn) else (drawn or "",):
        assert words == words.strip()
    text = drawn.note if isinstance(drawn, Drawn) else drawn
    assert text is None or text.endswith((".", "!", "?"))


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("one", FIGURES, ids=[one.anchor for one in FIGURES])
def test_a_figure_of_a_study_is_drawn_or_says_what_is_missing(one, study, studies):
    asked = one.anchor not in left_out(studies[study])
    drawn = one.draw(studies[study])
    assert (drawn is None) == (not asked)
    check(drawn, whole=asked and study in WHOLE)


@pytest.mark.parametrize("study", ["waiting", "without_lines", "failed"])
def test_a_study_without_a_score_has_no_figure_of_scores(study, studies):
    figures = {one.anchor: one.draw(studies[study]) for one in FIGURES}
    assert all(isinstance(figures[anchor], str) for anchor in ("deltas", "classes", "roles"))


@pytest.mark.parametrize("study", STUDIES)
def test_the_page_has_a_section_per_figure_in_the_order_of_the_registry(study, studies):
    text = study_page(studies[study]).split("<script>")[0]
    places = [text.find(f'<section id="{one.anchor}"') for one in FIGURES]
    assert [place for place in places if place >= 0] == sorted(place for place in places if place >= 0)
    assert {one.anchor for one, place in zip(FIGURES, places, strict=True) if place < 0} == left_out(studies[study])


@pytest.mark.parametrize("figures", [FIGURES, SEARCH_FIGURES], ids=["study", "search"])
def test_anchors_are_names_and_unique(figures):
    assert all(one.anchor.isidentifier() and one.heading for one in figures)
    assert len({one.anchor for one in figures}) == len(figures)


def test_a_new_figure_is_one_function_and_one_line(studies):
    def draw_rows(data: ReportData) -> Drawn | str:
        rows = ", ".join(row.name for row in data.table.rows if row.score.n)
        return f"Rows with a score: {rows}." if rows else "No row has a score."

    (section,) = figure_sections([PageFigure("scored", "Rows", draw_rows)], studies["make_study"])
    assert section[:2] == ("scored", "Rows")
    assert f"Rows with a score: {', '.join(ROWS)}." in section[2]


# ---- searches

STATES = [TrialState.COMPLETE] * 2 + [TrialState.RUNNING, TrialState.FAIL]
SEARCHES: dict[str, dict[str, Any]] = {
    "whole": {},
    "two objectives": {"objectives": ["miou", "seconds"]},
    "nothing": {"states": [], "finished": False},
    "few": {"states": STATES, "finished": False},
    "failed": {"states": [TrialState.FAIL] * 3, "finished": False},
}


@pytest.fixture(scope="module")
def searches(tmp_path_factory) -> dict[str, SearchResults]:
    return {name: read_search(make_search(tmp_path_factory.mktemp("search"), **changes)) for name, changes in SEARCHES.items()}


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("one", SEARCH_FIGURES, ids=[one.anchor for one in SEARCH_FIGURES])
def test_a_figure_of_a_search_is_drawn_or_says_what_is_missing(one, search, searches):
    drawn = one.draw(searches[search])
    assert (drawn is None) == (one.anchor == "pareto" and search != "two objectives")
    check(drawn, whole=search == "whole" and drawn is not None)


# ---- roles


def test_roles_of_any_name_stand_in_the_table_and_in_the_figures(studies):
    data = studies["many_roles"]
    assert data.table.row("no CR").role == "student2"
    assert data.table.row("no CR").score.mean == pytest.approx(0.56 - 0.01 - 0.1)  # 55, 57.2 and 55.8; see _metrics
    info = roles_info(data.results, data.table)
    assert list(info.values) == ["student", "student2", "teacher"]
    assert info.values["student2"]["full"] == pytest.approx({0: 49.0, 1: 50.0, 2: 49.8})
    drawn: Any = draw_roles(data)
    assert drawn.heading == "Student, student2 and teacher"
    (made,) = drawn.figures
    assert [trace.name for trace in made.data] == [
        f"{role}, {what}" for role in ("student", "student2", "teacher") for what in ("each seed", "mean")
    ]
    places = {trace.name: trace.y[-1] for trace in made.data}
    assert places["student, mean"] > places["student2, mean"] == 0 > places["teacher, mean"] > -0.5
    assert len({trace.marker.color for trace in made.data if trace.name.endswith("each seed")}) == 3


def test_selection_curves_are_of_the_role_that_each_stage_evaluates(studies):
    data = studies["many_roles"]
    (training,) = [one for one in FIGURES if one.anchor == "training"]
    (made,) = training.draw(data).figures  # type: ignore[union-attr]
    drawn: Any = made.data
    last = {trace.hovertemplate.split(",")[0]: trace.y[-1] for trace in drawn if "mean" in trace.hovertemplate}
    assert last["s3-CR"] < 0.6 * last["s3"]


@pytest.mark.parametrize(
    ("evaluated", "order"), [("teacher", ["teacher", "average", "student"]), ("student", ["student", "average", "teacher"])]
)
def test_the_role_that_counts_comes_first_then_the_alphabet(evaluated, order, tmp_path):
    results = read(make_study(tmp_path, samples=False))
    stages = [stage | {"evaluated": evaluated} for stage in results.stages.to_pylist()]
    lines = results.metrics.to_pylist()
    lines += [line | {"role": "average"} for line in lines if line["role"] == "student"]
    lines += [line | {"role": "teacher"} for line in results.metrics.to_pylist() if line["role"] == "student"]
    unique = {tuple(line[name] for name in ("key", "role", "weights", "split", "step", "class", "metric")): line for line in lines}
    write_table(tmp_path, "stages", stages)
    write_table(tmp_path, "metrics", unique.values())
    data = report_data(read(tmp_path))
    assert list(roles_info(data.results, data.table).values) == order
    drawn: Any = draw_roles(data)
    colours = {trace.name.split(",")[0]: trace.marker.color for trace in drawn.figures[0].data if trace.name.endswith("each seed")}
    assert colours == dict(zip(("average", "student", "teacher"), ("#dd7a2b", "#3b76c4", "#2b9a66"), strict=True))


def test_the_page_of_a_study_with_other_roles_names_them(tmp_path):
    text = write_report(many_roles(tmp_path)).read_text(encoding="utf-8")
    assert "<h2>Student, student2 and teacher</h2>" in text
    assert "<td>student2</td>" in text
    assert "student2" in (tmp_path / "table.md").read_text(encoding="utf-8")
