"""Results folders: what is written is read back, equal content is equal bytes, and unusable input is named."""

import json
import math
from typing import Any

import pyarrow as pa
import pytest
from test_report_studies import PAPER, make_study, study_of

from semiseg.results import ROWS, SCHEMAS, read, write_bytes, write_study, write_table

CURVE: dict[str, Any] = {"x": "share", "log": True, "series": {"a": {"0.5": "full"}}, "levels": ["S1"], "paper": {"a": {"1": 68.5}}}
LINE = {"row": "full", "seed": 0, "position": 1, "stage": "s1", "key": "a", "final": True}


def test_what_is_written_is_read_back(tmp_path):
    lines = [LINE, LINE | {"position": 2, "key": "b"}]
    make_study(tmp_path, samples=False)
    write_table(tmp_path, "rows", lines)
    results = read(tmp_path)
    assert results.rows.to_pylist() == lines
    assert results.study == study_of()
    assert {name: getattr(results, name).schema for name in SCHEMAS} == SCHEMAS


def test_numbers_that_are_missing_or_nan_survive(tmp_path):
    lines = [
        {"key": "a", "step": step, "name": "loss/total", "value": value} for step, value in ((0, math.nan), (1, None), (2, 0.1))
    ]
    write_table(tmp_path, "curves", lines)
    make_study(tmp_path / "other", samples=False)
    (tmp_path / "other" / "curves.parquet").write_bytes((tmp_path / "curves.parquet").read_bytes())
    values = read(tmp_path / "other").curves.column("value").to_pylist()
    assert math.isnan(values[0])
    assert values[1:] == [None, 0.1]


@pytest.mark.parametrize("name", SCHEMAS)
def test_equal_content_is_equal_bytes_whatever_the_order_and_the_chunks(tmp_path, name):
    table = getattr(read(make_study(tmp_path / "study", samples=False)), name)
    first = write_table(tmp_path / "a", name, table).read_bytes()
    backwards = write_table(tmp_path / "b", name, table.to_pylist()[::-1]).read_bytes()
    halves = pa.concat_tables([table.slice(7), table.slice(0, 7)])
    assert halves.column(0).num_chunks > 1
    assert first == backwards == write_table(tmp_path / "c", name, halves).read_bytes()
    assert first == (tmp_path / "study" / f"{name}.parquet").read_bytes()


def test_bytes_do_change_with_the_content(tmp_path):
    first = write_table(tmp_path / "a", "rows", [LINE]).read_bytes()
    assert first != write_table(tmp_path / "b", "rows", [LINE | {"key": "b"}]).read_bytes()


def test_an_empty_table_keeps_its_schema(tmp_path):
    make_study(tmp_path, samples=False)
    write_table(tmp_path, "rows", [])
    assert read(tmp_path).rows.schema == ROWS


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([LINE | {"extra": 1}], r"rows\.parquet: fields missing: \[\], unknown: \['extra'\]"),
        ([{"row": "full"}], r"rows\.parquet: fields missing: \['final', 'key'"),
        ([LINE, LINE], r"rows\.parquet: two lines with the same row, seed, position"),
        ([LINE | {"seed": "zero"}], r"rows\.parquet: "),
    ],
)
def test_lines_that_do_not_fit_are_refused(tmp_path, lines, said):
    with pytest.raises(ValueError, match=said):
        write_table(tmp_path, "rows", lines)
    assert not list(tmp_path.iterdir())


def test_an_unknown_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no table 'row'; there are stages, metrics, curves, rows"):
        write_table(tmp_path, "row", [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, r"study\.json: format: got 2; allowed: 1"),
        ({"reference": "ful"}, r"study\.json: reference: got 'ful'; allowed: S1, S1\+S2"),
        ({"baseline": "S0"}, r"study\.json: baseline: got 'S0'"),
        ({"rows": {}}, r"study\.json: rows: got {}"),
        ({"seeds": []}, r"study\.json: seeds: got \[\]"),
        ({"score": {"metric": "miou"}}, r"study\.json: score: fields missing: split, weights, rule"),
        ({"paper": {"columns": ["one"], "rows": {"full": [1.0, 2.0]}}}, r"study\.json: paper\.rows\['full'\]: got 2 values"),
        ({"methods": "dmt"}, r"study\.json: methods: got 'dmt'; allowed: a list of names, each once"),
        ({"metrics": ["miou", "miou"]}, r"study\.json: metrics: got \['miou', 'miou'\]; allowed: a list of names"),
        (
            {"paper": PAPER | {"metrics": ["miou"]}},
            r"study\.json: paper\.metrics: got \['miou'\]; allowed: .* each of the 2 columns",
        ),
        ({"against": ["full"]}, r"study\.json: against: got \['full'\]; allowed: a dict"),
        ({"against": {"ful": None}}, r"study\.json: against: got 'ful'; allowed: S1, S1\+S2"),
        ({"against": {"full": "S0"}}, r"study\.json: against\['full'\]: got 'S0'; allowed: .*full or null"),
        ({"curve": {"x": "share"}}, r"study\.json: curve: got .*; allowed: a dict with x \(text\) and series"),
        ({"curve": CURVE | {"log": 1}}, r"study\.json: curve\.log: got 1; allowed: true or false"),
        ({"curve": CURVE | {"levels": ["S0"]}}, r"study\.json: curve\.levels: got \['S0'\]; allowed: a list of rows: S1, "),
        (
            {"curve": CURVE | {"series": {"a": ["full"]}}},
            r"study\.json: curve\.series\['a'\]: got \['full'\]; allowed: a dict of x",
        ),
        (
            {"curve": CURVE | {"series": {"a": {"5 %": "full"}}}},
            r"curve\.series\['a'\]: got '5 %'; allowed: text of a number above 0",
        ),
        ({"curve": CURVE | {"series": {"a": {"0": "full"}}}}, r"curve\.series\['a'\]: got '0'; allowed: text of a number above 0"),
        ({"curve": CURVE | {"series": {"a": {"1": "S0"}}}}, r"curve\.series\['a'\]\['1'\]: got 'S0'; allowed: S1, "),
        ({"curve": CURVE | {"paper": {"a": {"1": "68"}}}}, r"curve\.paper\['a'\]\['1'\]: got '68'; allowed: percent"),
    ],
)
def test_a_study_that_the_report_cannot_use_is_refused_when_written(tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        write_study(tmp_path, study_of(**change))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": None, "against": None, "metrics": [], "curve": None, "paper": None},
        {"methods": ["dmt"], "against": {"full": None, "S1": "S1"}, "metrics": ["accuracy"], "curve": CURVE},
        {"curve": {"x": "lambda1", "series": {"a": {"0": "full", "-1": "S1"}}}, "paper": PAPER | {"metrics": ["miou", None]}},
    ],
)
def test_what_only_comparisons_have_is_optional(tmp_path, changes):
    assert json.loads(write_study(tmp_path, study_of(**changes)).read_text()) == study_of(**changes)


@pytest.mark.parametrize("name", ["study.json", *(f"{name}.parquet" for name in SCHEMAS)])
@pytest.mark.parametrize("damage", ["missing", "cut short", "empty", "a folder"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, damage):
    path = make_study(tmp_path, samples=False) / name
    content = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "cut short" else b"")
    with pytest.raises(ValueError, match=name.replace(".", r"\.")) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_table_of_another_schema_is_named(tmp_path):
    make_study(tmp_path, samples=False)
    (tmp_path / "rows.parquet").write_bytes((tmp_path / "curves.parquet").read_bytes())
    with pytest.raises(ValueError, match=r"rows\.parquet: columns: got \['key', 'step', 'name', 'value'\]"):
        read(tmp_path)


def test_a_study_without_a_field_is_named(tmp_path):
    path = make_study(tmp_path, samples=False) / "study.json"
    study = json.loads(path.read_text())
    del study["score"]
    path.write_text(json.dumps(study))
    with pytest.raises(ValueError, match=r"study\.json: fields missing: score"):
        read(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr("semiseg.results.os.replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
