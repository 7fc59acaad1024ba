"""Exports: every number of the page as JSON and Parquet, tables that LaTeX can set, figures as files."""

import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from effects_studies import all_kinds
from test_report_comparisons import make_comparison
from test_report_counts import make_counted
from test_report_headroom import EVERY, FEW, around, made
from test_report_studies import SCORES, make_study

from semiseg.report import files, write_report
from semiseg.report.data import report_data
from semiseg.report.numbers import NUMBERS_FORMAT, NUMBERS_SCHEMA, SOURCES, page_numbers
from semiseg.report.room import headroom_figure, headroom_lines
from semiseg.results import read
from semiseg.results.records import ReportOptions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("numbers")
    write_report(make_counted(path))
    return path


def test_both_files_hold_the_same_lines(folder):
    table = pq.read_table(folder / "numbers.parquet")
    found = json.loads((folder / "numbers.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert table.schema.equals(NUMBERS_SCHEMA)
    assert (found["format"], found["study"]) == (NUMBERS_FORMAT, "three_stage")
    assert table.to_pylist() == found["numbers"]


def test_a_line_is_named_by_what_it_is_of(folder):
    names = ["where", "row", "against", "of", "seed", "metric"]
    lines = [tuple(line[name] for name in names) for line in pq.read_table(folder / "numbers.parquet").to_pylist()]
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("source", SOURCES, ids=[one.__name__.strip("_") for one in SOURCES])
def test_every_source_has_numbers_of_some_study(source, folder, tmp_path):
    rows = {"full": around(0.4), FEW: around(0.3), EVERY: around(0.5)}
    studies = [read(folder), read(make_comparison(tmp_path / "one")), made(tmp_path / "two", rows)]
    studies.append(read(all_kinds(tmp_path / "three")))
    studies.append(made(tmp_path / "four", rows, until={"comparisons": 1, "max_seeds": 20}))
    assert any(list(source(report_data(results))) for results in studies)


def test_numbers_are_those_of_the_page(folder):
    lines = {(one.where, one.row, one.of, one.seed): one for one in page_numbers(report_data(read(folder)))}
    mean = sum(SCORES["full"]) / 3
    assert lines["table", "full", "", None].value == pytest.approx(mean)
    assert [lines["table", "full", "", seed].value for seed in range(3)] == pytest.approx(SCORES["full"])
    delta = lines["deltas", "no CR", "", None]
    assert (delta.against, delta.n) == ("full", 3)
    assert (delta.value, delta.low, delta.high) == pytest.approx((-0.046, -0.0632106, -0.0287894), abs=1e-6)
    part = lines["parts", "full", "CR", None]
    assert (part.value, part.low, part.high) == pytest.approx((0.046, 0.0287894, 0.0632106), abs=1e-6)
    assert lines["paper", "S1", "Cityscapes, 100 labels", None].value == pytest.approx(
        -7.94
    )  # the difference, which follows the number itself


def test_a_study_without_a_score_has_null_and_no_nan(tmp_path):
    waiting = {(name, seed): "waiting" for name in ("s1", "s2", "s3") for seed in range(3)}
    write_report(make_study(tmp_path, samples=False, states=waiting))
    found = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert {line["value"] for line in found["numbers"] if line["where"] == "table" and line["row"] == "full"} == {None}


# ---- the bar of the headroom


def test_the_bar_goes_from_few_labels_to_all_labels(tmp_path):
    results = made(tmp_path, {"full": around(0.34), FEW: around(0.3), EVERY: around(0.5)})
    (line,) = headroom_lines(report_data(results).table)
    assert (line.few, line.ours, line.every) == pytest.approx((30.0, 34.0, 50.0))
    assert line.share.value == pytest.approx(0.2)
    texts = [trace.text for trace in headroom_figure((line,), "test mIoU").data if trace.mode == "text"]
    assert texts == [("  20 % [20, 20]",)]


# ---- LaTeX


ENGINES = ("tectonic", "latexmk", "pdflatex", "xelatex", "lualatex")
STRANGE = {"a_b & 50 %": "S1", "full": "S1 $x^2$ #1 {~} \\end"}


def sources(folder: Path) -> list[str]:
    make_study(folder / "one", samples=False)
    make_comparison(folder / "two")
    make_study(folder / "three", rows=STRANGE, baseline=None, paper=None, samples=False)
    for name in ("one", "two", "three"):
        write_report(folder / name)
    return [(folder / name / "table.tex").read_text(encoding="utf-8") for name in ("one", "two", "three")]


def test_latex_is_balanced_and_escaped(tmp_path):
    for text in sources(tmp_path):
        assert text.isascii() or not re.search(
            r"[^\x00-\x7f–←−]", "".join(line for line in text.splitlines() if line[:1] != "%")
        ), text
        for body in re.findall(r"\\begin\{tabular\}\{([lcr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
            columns, lines = body[0], [line for line in body[1].splitlines() if line.endswith(r"\\")]
            assert lines
            for line in lines:
                assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1, line
                assert len(re.findall(r"(?<!\\)\$", line)) % 2 == 0, line
                assert not re.search(r"(?<!\\)[#%]", line), line
                assert len(re.findall(r"(?<!\\)\{", line)) == len(re.findall(r"(?<!\\)\}", line)), line


@pytest.mark.skipif(not any(map(shutil.which, ENGINES)), reason="no LaTeX engine on PATH")
def test_latex_compiles(tmp_path):
    engine = next(name for name in ENGINES if shutil.which(name))
    words = [] if engine == "tectonic" else ["-interaction=nonstopmode", "-halt-on-error"]
    body = "\n\n".join(sources(tmp_path))
    document = f"\\documentclass{{article}}\\usepackage{{booktabs,amssymb}}\\begin{{document}}\\tiny\n{body}\n\\end{{document}}\n"
    (tmp_path / "all.tex").write_text(document, encoding="utf-8")
    ran = subprocess.run([engine, *words, "all.tex"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stdout[-2000:]


# ---- figures as files


def test_without_kaleido_or_a_browser_one_line_says_so(tmp_path, monkeypatch, capsys):
    make_study(tmp_path, samples=False)
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    write_report(tmp_path, ReportOptions(figures="svg"))
    assert capsys.readouterr().err == "report.figures: kaleido is not installed: pip install -e '.[figures]'\n"
    monkeypatch.setattr(files, "find_spec", lambda name: True)
    monkeypatch.setattr(files.shutil, "which", lambda name: None)
    write_report(tmp_path, ReportOptions(figures="pdf"))
    assert capsys.readouterr().err.startswith("report.figures: no browser on PATH; kaleido draws with one of chromium, ")
    assert (tmp_path / "report.html").is_file()
    assert not (tmp_path / "figures").exists()
    write_report(tmp_path, ReportOptions(figures="svg"), figures=False)
    assert capsys.readouterr().err == ""


def test_a_browser_draws_figures_into_files(tmp_path, monkeypatch):
    pytest.importorskip("kaleido")
    if not any(map(shutil.which, files.BROWSERS)):
        pytest.skip("no browser on PATH")
    monkeypatch.setattr(files, "FIGURES", [one for one in files.FIGURES if one.anchor == "deltas"])
    data = report_data(read(make_study(tmp_path, samples=False)))
    assert files.write_figures(tmp_path, data, "svg") == ""
    text = (tmp_path / "figures" / "deltas.svg").read_text(encoding="utf-8")
    assert text.startswith("<svg")
    assert "no CR" in text


def test_intervals_of_one_seed_are_unknown(tmp_path):
    found = page_numbers(report_data(read(make_study(tmp_path, seeds=(0,), samples=False))))
    assert all(math.isnan(one.low) for one in found if one.where in ("table", "deltas"))
