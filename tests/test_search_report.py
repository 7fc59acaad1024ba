"""The page of a search: self-contained, every figure, the best configuration, honest about what is missing; and its script."""

import json
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from search_studies import SPACE, draw, make_search, score_of
from test_report_page import browse, outside

import search_report
from semiseg.search import importance
from semiseg.search.choice import choose, front
from semiseg.search.folder import read_search, set_damaged_aside
from semiseg.search.report import write_search_report

SECTIONS = [
    "Best configuration",
    "Result",
    "Best candidates",
    "History",
    "Intermediate values",
    "Importance",
    "Parallel coordinates",
    "Slices",
    "Contour",
]
SECTIONS += ["Lambda curve", "EMA curve", "Provenance"]
DRAWN = [
    "history",
    "courses",
    "importance",
    "parallel",
    "contour",
    "lambda-0",
    "ema-0",
    *(f"slices-{i}" for i in range(len(SPACE))),
]


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importance, "RESAMPLES", 3)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_search(tmp_path_factory.mktemp("search"))


@pytest.fixture(scope="module")
def trials(folder):
    return read_search(folder).trials


@pytest.fixture(scope="module")
def text(folder):
    return write_search_report(folder).read_text(encoding="utf-8")


def data_of(text: str, anchor: str) -> dict[str, Any]:
    """A figure's data as the browser gets it."""
    found = re.search(rf'<script type="application/json" id="data-{anchor}">(.*?)</script>', text)
    assert found, anchor
    return json.loads(found[1])


# ---- the page


def test_the_page_has_every_section_and_every_figure_is_drawn_from_data(text):
    for heading in SECTIONS:
        assert f"<h2>{heading}" in text, heading
    for anchor in DRAWN:
        assert data_of(text, anchor)["data"], anchor
    assert "Pareto" not in text.split("<script>")[0]
    assert 'class="empty"' not in text
    for anchor in re.findall(r'href="#(\w+)"', text):
        assert f'id="{anchor}"' in text


def test_the_page_loads_nothing_from_outside(text):
    assert outside(text) == []
    assert "default-src 'none'" in text
    assert text.count("plotly.js v") == 1


def test_the_best_configuration_is_that_of_the_highest_score(text, trials):
    done = [one for one in trials if one.state == TrialState.COMPLETE]
    best = max(done, key=lambda one: score_of(one.params))
    delta = 100 * (score_of(best.params) - score_of(draw(0, random.Random())))
    assert f"Trial {best.number} is the best of {len(done)} trained with the full budget" in text
    assert f"selection mIoU {100 * score_of(best.params):.2f}&nbsp;%, {delta:+.2f} points against the default (trial 0)" in text
    value = f"{best.params['lambda1']:.4g}"
    assert f'<td>lambda1</td><td class="number">{value}</td><td class="number">0.5</td><td>0.05 to 2, log</td>' in text
    assert "<td>hard, soft</td>" in text


def row(name: str, *cells: str) -> str:
    """A line of a table of numbers."""
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    return f"<tr><td>{name}</td>{numbers}</tr>"


def test_a_finished_search_shows_its_files_result_and_cost(text):
    assert row("best", "69.12", "67.89 ± 1.23 (n = 3)") in text
    assert row("default", "67.02", "66.66 (n = 3)") in text
    assert row("best − default", "+2.10", "+1.23 ± 0.40 [−0.20, +2.66] (n = 3)") in text
    assert row("labels only", "–", "61.00 ± 1.00 (n = 3)") in text
    assert row("all labels", "–", "70.00 (n = 3)") in text
    assert "All labels add +9.00 points. 'best' is better here." in text.replace("&#x27;", "'")
    for words in [
        "--config best.json",
        "&quot;ema_decay&quot;",
        "1234 (29%)",
        'href="final/report.html"',
        "abc1234",
        "train.steps",
    ]:
        assert words in text, words
    assert "<li>23 of 24 trials have ended.</li><li>Running: trial 23.</li><li>Failed: trial 9.</li>" in text
    assert "14 full budget, 8 pruned, 1 failed, 1 running" in text


def test_a_result_without_a_comparison_has_dashes(tmp_path):
    folder = make_search(tmp_path, states=[TrialState.COMPLETE] * 2)
    (folder / "search.json").write_text(json.dumps({"best": {"selection": 0.5}, "delta_test": None, "delta_selection": None}))
    text = write_search_report(folder).read_text(encoding="utf-8")
    assert row("best", "50.00", "–") in text
    assert row("default", "–", "–") in text
    assert row("best − default", "–", "–") in text
    assert "trials have ended" not in text  # best.json is there and no trial runs: a grid may have had only these


def test_the_report_of_equal_journals_is_equal(folder, text):
    assert write_search_report(folder).read_text(encoding="utf-8") == text


def test_words_from_the_journal_cannot_become_markup(tmp_path):
    page = write_search_report(make_search(tmp_path, 6, title="<img src=x>", question="</script><script>alert(1)//", command="<b>"))
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert outside(text) == []


def test_a_browser_without_network_draws_every_figure_and_logs_nothing(folder, text, tmp_path):
    document, console = browse(folder / "report.html", tmp_path / "profile")
    assert console == ""
    holders = document.split("data-plot=")[1:]
    drawn = {holder.split('"')[1]: holder.count('class="main-svg"') for holder in holders if holder.startswith('"data-')}
    assert sorted(name for name in drawn if drawn[name]) == sorted(f"data-{anchor}" for anchor in DRAWN)


# ---- other studies


def test_three_objectives_have_a_front_of_two_panels_and_a_table(tmp_path):
    folder = make_search(tmp_path, objectives=["miou", "seconds", "parameters"])
    text = write_search_report(folder).read_text(encoding="utf-8")
    assert data_of(text, "pareto-0")["layout"]["yaxis"]["title"]["text"] == "stage-seconds of a trial"
    assert data_of(text, "pareto-1")["layout"]["yaxis"]["title"]["text"] == "parameters of the network"
    search = read_search(folder)
    table = text.split("Trials of the Pareto front")[1].split("</table>")[0]
    for one in front(search.trials, search.objective_names):
        numbers = (f"{100 * one.values[0]:.2f}", f"{one.values[1]:,.0f}", f"{one.values[2]:,.0f}")
        assert "".join(f'<td class="number">{number}</td>' for number in numbers) in table
    assert table.count("<tr><td>") == len(front(search.trials, search.objective_names))


def test_a_picked_trial_that_is_not_the_best_is_said_to_be_picked(folder, tmp_path):
    make_search(tmp_path)
    (tmp_path / "best.json").write_text(json.dumps({"trial": 0}))
    text = write_search_report(tmp_path).read_text(encoding="utf-8")
    best = choose(read_search(tmp_path).trials, "best")
    assert best is not None
    assert f"Trial 0 is picked (trial {best.number} has the best mean, {100 * best.values[0]:.2f}" in text
    assert "trial 0 (picked, default)" in text
    assert f"trial {best.number} (picked)" in (folder / "report.html").read_text(encoding="utf-8")


def test_two_objectives_have_a_pareto_front(tmp_path):
    folder = make_search(tmp_path, objectives=["miou", "seconds"])
    text = write_search_report(folder).read_text(encoding="utf-8")
    assert "<h2>Pareto front</h2>" in text
    assert data_of(text, "pareto")["data"]
    assert "With several objectives no trial is pruned" in text


@pytest.mark.parametrize("objectives", [["miou"], ["miou", "seconds"]])
@pytest.mark.parametrize("complete", [0, 1, 2, 4])
def test_a_study_with_few_trials_has_a_page_that_says_what_is_missing(complete, objectives, tmp_path):
    states = [TrialState.COMPLETE] * complete + [TrialState.RUNNING, TrialState.WAITING]
    text = write_search_report(make_search(tmp_path, states=states, finished=False, objectives=objectives)).read_text(
        encoding="utf-8"
    )
    assert f"{complete} of 24 trials have ended." in text
    assert f"Running: trial {complete}." in text
    assert ("No trial has been trained with the full budget yet." in text) == (complete == 0)
    assert (f"Needs at least 4 trials of the full budget whose scores and parameters differ; there are {complete}." in text) == (
        complete < 4
    )


def test_a_journal_with_no_trial_and_no_attribute_has_a_page(tmp_path):
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "search.journal")))
    optuna.create_study(storage=storage, study_name="search", direction="maximize")
    assert "0 of ? trials have ended." in write_search_report(tmp_path).read_text(encoding="utf-8")


def test_nothing_is_printed_or_warned(tmp_path, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_search_report(make_search(tmp_path, 12, finished=False))
    assert capfd.readouterr() == ("", "")


# ---- the script


def test_the_script_prints_the_path(folder, capsys):
    assert search_report.main([str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"


@pytest.mark.parametrize(
    ("journal", "said"),
    [
        (None, "cannot be read: no such file; expected the results folder of a search"),
        ("{torn", "cannot be read: "),
        ("", "cannot be read: 'Record does not exist.'; expected the journal of a search"),
    ],
)
def test_the_script_refuses_a_bad_folder_in_one_line(journal, said, tmp_path, capsys):
    if journal is not None:
        (tmp_path / "search.journal").write_text(f"{journal}\n{journal}\n" if journal else "")
    assert search_report.main([str(tmp_path)]) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err.startswith(f"{tmp_path}/search.journal: {said}")
    assert caught.err.count("\n") == 1
    assert journal is not None or not list(tmp_path.iterdir())


def test_a_report_imports_neither_torch_nor_ray(tmp_path):
    code = "import pathlib, sys\nfrom semiseg.search.report import write_search_report\nwrite_search_report(pathlib.Path(sys.argv[1]))\n"
    code += "print([name for name in ('torch', 'ray') if name in sys.modules])"
    command = [sys.executable, "-c", code, str(make_search(tmp_path, 6))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("content", [b"", b'{"best": ', b"\xff\xff", b"[" * 100_000])
def test_a_damaged_end_of_an_earlier_search_is_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "best.json").write_text("{}")
    (tmp_path / "search.json").write_bytes(content)
    set_damaged_aside(tmp_path)
    (kept,) = tmp_path.glob("search.json.damaged-*")
    assert kept.read_bytes() == content
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "search.json: cannot be read: " in said[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.json", kept.name]
