"""The numbers of papers that tables and curves show are those that the papers print, at the rows and points that a preset trains."""

import re
from pathlib import Path

import pytest
from data_trees import SHARED
from declared import TABLES

import compare_consistency_directions
import compare_label_counts
from semiseg.results.records import CurveRecord
from semiseg.sweep.arguments import parse
from semiseg.sweep.declaration import Ablation
from semiseg.sweep.record import curve_record
from semiseg.sweep.study import Study

CITIES, VOC = ["100", "372", "744", "1488"], ["106", "212", "529", "1323"]


def curve_of(table: Ablation, words: list[str]) -> CurveRecord:
    """The curve that a study of these words writes down."""
    arguments, preset = parse(table, words)
    found = curve_record(table.curve, Study(table, preset, arguments, words).rows, preset.curve_paper)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("script", "words", "points"),
    [
        (
            "compare_label_counts",
            "--preset paper",
            {"supervised": CITIES[1:3], "three-stage": CITIES, "CutMix": CITIES[:3], "Cutout": CITIES[:3]},
        ),
        ("compare_label_counts", "--preset paper-voc", {"supervised": VOC[1:], "three-stage": VOC, "CutMix": VOC, "Cutout": VOC}),
        ("compare_label_counts", "--preset paper-voc-coco", {"supervised": VOC[1:], "three-stage": VOC, "CutMix": VOC, "DMT": VOC}),
        ("sweep_lambda", "", {"full": ["0.25", "0.5", "1.0"]}),
        ("sweep_lambda", "--preset paper", {"full": ["0.25", "0.5", "1.0"]}),
        ("sweep_lambda", "--preset paper-voc", {"full": ["0.25"]}),
        ("sweep_lambda", "--preset paper-voc-coco", {"full": ["0.125", "0.25", "0.5", "1.0"]}),
        ("compare_label_counts", "", {}),
        ("compare_label_fractions", "", {"supervised": ["0.05", "0.1", "0.25", "1.0"], "mean teacher": ["0.05", "0.1", "0.25"]}),
    ],
)
def test_a_papers_curve_has_the_points_whose_rows_are_trained(
    script: str, words: str, points: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    curve = curve_of(TABLES[script], words.split())
    assert {name: [f"{x:g}" for x in line] for name, line in curve.paper.items()} == {
        name: [f"{float(x):g}" for x in line] for name, line in points.items()
    }


def test_the_figures_of_grubisic2021_are_those_of_the_presets_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """data/tables.ods of the authors' repository."""
    shares, stated = (0.125, 0.25, 0.5, 1.0), {}
    for preset in ("paper", "paper-deeplab"):
        monkeypatch.chdir(tmp_path)
        curve = curve_of(compare_consistency_directions.TABLE, ["--preset", preset])
        stated[preset] = {name: [line[share] for share in shares] for name, line in curve.paper.items()}
    assert stated["paper-deeplab"] == {
        "supervised": [56.7, 62.5, 67.8, 69.0],
        "MT-PhTPS": [61.9, 66.8, 69.9, 71.7],
        "MT-CutMix*": [62.4, 65.0, 67.6, 69.0],
    }
    assert stated["paper"]["MT-PhTPS"] == [62.0, 66.0, 69.1, 71.2]
    assert len(stated["paper"]) == 6
    paper = compare_consistency_directions.TABLE.paper
    assert paper is not None
    for name, preset in (("Cityscapes, SwiftNet", "paper"), ("Cityscapes, DeepLabv2", "paper-deeplab")):
        column = paper.columns.index(name)
        for series, values in stated[preset].items():
            rows = [paper.rows[f"{series}, {share}"] for share in ("1/8", "1/4", "1/2", "1/1")]
            assert [row[column] for row in rows] == values


@pytest.mark.parametrize("script", TABLES)
def test_a_paper_has_a_number_or_none_for_every_column_of_rows_that_exist(script: str) -> None:
    paper = TABLES[script].paper
    assert paper is not None
    assert set(paper.rows) <= set(TABLES[script].rows)
    assert {len(values) for values in paper.rows.values()} == {len(paper.columns)}


NAMES = {  # rows of Tables 1 and 2 of ke2020 that are run
    "DeeplabV2": "supervised",
    "Ours": "three-stage",
    "French (Cutout)": "Cutout",
    "French et al. (Cutout)": "Cutout",
    "French et al. (CutMix)": "CutMix",
    "Feng et al.": "DMT",
}
HALVES = {"CITYSCAPES": 0, "WITHOUT COCO": 1, "WITH MSCOCO": 2}


def printed(text: str) -> list[dict[str, list[float | None]]]:
    """The numbers of Tables 1 and 2 by row, columns from left to right; three tables in the order of `COLUMNS`."""
    found: list[dict[str, list[float | None]]] = [{}, {}, {}]
    at = -1
    for line in text.splitlines():
        at = next((number for word, number in HALVES.items() if word in line and "\t" in line), at)
        name, *cells = line.split("\t")
        name = re.sub(r"†? ?\[\d+\]$", "", name.strip()).strip()
        if at >= 0 and len(cells) == 5 and name in NAMES:
            found[at].setdefault(NAMES[name], [float(cell) if re.match(r"[\d.]+$", cell) else None for cell in cells])
    return found


def test_the_numbers_of_ke2020s_tables_are_those_of_its_text() -> None:
    (file,) = (SHARED.parent / "papers").glob("004_*.txt") if (SHARED.parent / "papers").is_dir() else [None]
    if file is None:
        pytest.skip("the paper's text is not there; a clone has none")
    paper = compare_label_counts.TABLE.paper
    assert paper is not None
    for column, table in enumerate(printed(file.read_text(encoding="utf-8"))):
        counts = compare_label_counts.CITIES if column == 0 else compare_label_counts.OBJECTS
        assert table.keys() == compare_label_counts.STATED[column].keys()
        for series, (*values, whole) in table.items():
            rows = [paper.rows.get(f"{series}, {count}", (None,) * 3)[column] for count in counts]
            assert rows == values, (series, column)
            if series == "supervised":
                assert paper.rows[compare_label_counts.ALL][column] == whole
