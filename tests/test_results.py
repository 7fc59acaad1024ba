"""Tables of a results folder: what is written is read back, equal content is equal bytes, and unusable input is named."""

import math

import pyarrow as pa
import pytest
from test_report_counts import make_counted

from semiseg.results import SCHEMAS, read, write_bytes, write_table
from semiseg.results.tables import LATER

LINE = {"row": "full", "seed": 0, "position": 1, "stage": "s1", "key": "a", "final": True}


def test_what_is_written_is_read_back(tmp_path):
    lines = [LINE, LINE | {"position": 2, "key": "b"}]
    make_counted(tmp_path)
    write_table(tmp_path, "rows", lines)
    results = read(tmp_path)
    assert results.rows.to_pylist() == lines
    assert {name: getattr(results, name).schema for name in SCHEMAS} == SCHEMAS


def test_numbers_that_are_missing_or_nan_survive(tmp_path):
    lines = [
        {"key": "a", "step": step, "name": "loss/total", "value": value} for step, value in ((0, math.nan), (1, None), (2, 0.1))
    ]
    write_table(tmp_path, "curves", lines)
    make_counted(tmp_path / "other")
    (tmp_path / "other" / "curves.parquet").write_bytes((tmp_path / "curves.parquet").read_bytes())
    values = read(tmp_path / "other").curves.column("value").to_pylist()
    assert math.isnan(values[0])
    assert values[1:] == [None, 0.1]


@pytest.mark.parametrize("name", SCHEMAS)
def test_equal_content_is_equal_bytes_whatever_the_order_and_the_chunks(tmp_path, name):
    table = getattr(read(make_counted(tmp_path / "study")), name)
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
    make_counted(tmp_path)
    write_table(tmp_path, "rows", [])
    assert read(tmp_path).rows.schema == SCHEMAS["rows"]


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
    with pytest.raises(ValueError, match="no table 'row'; there are stages, metrics, curves, pseudo, counts, rows"):
        write_table(tmp_path, "row", [])


@pytest.mark.parametrize("name", ["study.json", *(f"{name}.parquet" for name in SCHEMAS)])
@pytest.mark.parametrize("damage", ["missing", "cut short", "empty", "a folder"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, damage):
    path = make_counted(tmp_path) / name
    if damage == "missing" and path.stem in LATER:
        pytest.skip("results of before do not have it")
    content = path.read_bytes()
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "cut short" else b"")
    with pytest.raises(ValueError, match=name.replace(".", r"\.")) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", LATER)
def test_results_of_before_have_an_empty_table(tmp_path, name):
    (make_counted(tmp_path) / f"{name}.parquet").unlink()
    table = getattr(read(tmp_path), name)
    assert (table.num_rows, table.schema) == (0, SCHEMAS[name])


def test_a_table_of_another_schema_is_named(tmp_path):
    make_counted(tmp_path)
    (tmp_path / "rows.parquet").write_bytes((tmp_path / "curves.parquet").read_bytes())
    with pytest.raises(ValueError, match=r"rows\.parquet: columns: got \['key', 'step', 'name', 'value'\]"):
        read(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr("semiseg.results.files.os.replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
