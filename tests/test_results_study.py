"""study.json: records are written and read back the same, older files are read, and what a report could not use is named."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from test_report_studies import PAPER, ROWS, make_study, study_of, write_json

from semiseg.report import write_report
from semiseg.results import StudyRecord, read, read_study, write_study
from semiseg.results.decode import decode, encode
from semiseg.results.records import CurveRecord, DataRecord, PaperRecord, ProvenanceRecord, ScoreRecord

DATA = Path(__file__).parent / "data_report"
CURVE: dict[str, Any] = {"x": "share", "log": True, "series": {"a": {"0.5": "full"}}, "levels": ["S1"], "paper": {"a": {"1": 68.5}}}
RECORD = StudyRecord(
    name="pairs",
    title="Two rows",
    question="Does it help?",
    paper=PaperRecord(title="A paper", table="Table 1", columns=("IoU", "epoch"), rows={"a": (50.0, None)}, metrics=("miou", None)),
    rows={"a": "supervised", "b": "mean_teacher train.steps=4"},
    method="mean_teacher",
    methods=("supervised", "mean_teacher"),
    against={"b": None},
    metrics=("miou", "accuracy"),
    curve=CurveRecord(x="labels", series={"one": {8.0: "a", 0.5: "b"}}, levels=("b",), paper={"one": {8.0: 47.5}}),
    reference="a",
    baseline=None,
    seeds=(0, 3),
    classes=("sky", "Straße"),
    palette=((0, 0, 0), (255, 0, 1)),
    data=DataRecord(
        name="synthetic", labelled="8, 64", labelled_hash="5e1f", train=96, selection=24, test=64, size="48 x 64", fingerprint="9c"
    ),
    settings={"train": {"steps": 4, "crop": None, "milestones": [1, 2]}},
    score=ScoreRecord(metric="miou", split="test", weights="best", rule="once."),
    plan={"stages": 4},
    provenance=ProvenanceRecord(command="python x.py", git="abc", versions={"torch": "2"}, device="cpu", written="2026-01-01"),
    wall_seconds=1.5,
    slots=2,
)


def test_a_record_is_read_back_the_same(tmp_path):
    path = write_study(tmp_path, RECORD)
    assert read_study(tmp_path) == RECORD
    assert json.loads(path.read_text())["format"] == 1
    smaller = replace(RECORD, paper=None, against=None, curve=None, wall_seconds=None)
    write_study(tmp_path, smaller)
    assert read_study(tmp_path) == smaller


def test_where_subsets_vary_there_is_a_draw_for_each_seed(tmp_path):
    draws = [{"seed": seed, "training": seed, "subset": seed, "labelled_hash": f"h{seed}"} for seed in (0, 3)]
    write_json(tmp_path, study_of((0, 3), vary="both", draws=draws))
    read_back = read_study(tmp_path)
    assert (read_back.vary, [encode(draw) for draw in read_back.draws]) == ("both", draws)
    for vary, wrong in (("both", draws[:1]), ("both", []), ("training", draws)):
        write_json(tmp_path, study_of((0, 3), vary=vary, draws=wrong))
        with pytest.raises(ValueError, match=r"draws: got .*; allowed: one for each of \[0, 3\]"):
            read_study(tmp_path)


UNTIL = {"level": 0.05, "comparisons": 2, "max_seeds": 20, "budget_seconds": None, "order": [["S1", 3], ["full", 3]]}
UNTIL |= {"spent_seconds": 12.5, "reason": "decided", "began": 1.5e9, "ahead": 2}


def test_a_file_that_is_read_and_written_keeps_its_content(tmp_path):
    behind = {"kind": "se", "value": 0.2, "n": 3}
    curve = CURVE | {"paper": {"a": {"1.0": 68.5}}, "spreads": {"a": {"1.0": behind}}}
    asked = study_of(curve=curve, against={"S1": None}, metrics=["miou"], methods=[], method="x")
    asked["data"] |= {"size": "48 x 64", "length": "pixels"}
    asked["paper"] = PAPER | {"metrics": None, "spreads": {"S1": [None, behind | {"kind": "sd", "n": 10}]}}
    asked["provenance"] |= {"written": ""}
    asked |= {"anchors": {"full": {"row": "S1", "all_labels": None, "beside": []}}, "added": ["S1"], "headroom": 2.0, "margin": 0.5}
    asked |= {"until": UNTIL, "effects": None}
    asked["report"] = {"axis": "epoch", "sample_rows": ["full", "S1"], "figures": "none"}
    asked |= {"vary": "training", "draws": [], "inputs": None}
    write_json(tmp_path, asked)
    assert json.loads(write_study(tmp_path, read_study(tmp_path)).read_text()) == asked


def test_a_folder_of_an_earlier_version_is_read_and_shown(tmp_path):
    """The stored folder, whose size is a list, and which has neither methods nor the time of writing."""
    stored = json.loads((DATA / "study.json").read_text())
    assert isinstance(stored["data"]["size"], list)
    study = read(DATA).study
    assert (study.data.size, study.methods, study.provenance.written) == ("48 × 64", (), "")
    write_study(tmp_path, study)
    assert read_study(tmp_path) == study


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": None, "against": None, "metrics": None, "curve": None, "paper": None},
        {"methods": ["dmt"], "against": {"full": None, "S1": "S1"}, "metrics": ["accuracy"], "curve": CURVE},
        {"curve": {"x": "lambda1", "series": {"a": {"0": "full", "-1": "S1"}}}, "paper": PAPER | {"metrics": ["miou", None]}},
    ],
)
def test_what_only_comparisons_have_is_optional(tmp_path, changes):
    write_json(tmp_path, study_of(**changes))
    study = read_study(tmp_path)
    assert study.methods == tuple(changes.get("methods") or ())
    assert study.against == changes.get("against")
    assert (study.curve is None) == (changes.get("curve") is None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, r"format: got 2; allowed: 1"),
        ({"reference": "ful"}, r"reference: got 'ful'; allowed: S1, S1\+S2"),
        ({"baseline": "S0"}, r"baseline: got 'S0'; allowed: S1, .*full or null"),
        ({"report": {"axis": "hour"}}, r"report\.axis: got 'hour'; allowed: step, epoch, share$"),
        ({"report": {"sample_rows": ["ful"]}}, r"report\.sample_rows: got 'ful'; allowed: S1, S1\+S2"),
        (
            {"paper": PAPER | {"spreads": {"S1": [{"kind": "ci", "value": 1, "n": 3}, None]}}},
            r"paper\.spreads\['S1'\]\[0\]\.kind: got 'ci'; allowed: sd, se$",
        ),
        (
            {"paper": PAPER | {"spreads": {"S1": [{"kind": "sd", "value": -1, "n": 3}, None]}}},
            r"spread\.value: got -1\.0; allowed: a number >= 0$",
        ),
        ({"paper": PAPER | {"spreads": {"S1": [{"kind": "sd", "value": 1, "n": 1}, None]}}}, r"spread\.n: got 1; allowed: a whole"),
        (
            {"paper": PAPER | {"spreads": {"S0": [{"kind": "sd", "value": 1, "n": 3}, None]}}},
            r"paper\.spreads\['S0'\]: got .*; allowed: a spread for numbers that paper\.rows has, or null, for each of City",
        ),
        (
            {"curve": CURVE | {"spreads": {"a": {"0.5": {"kind": "sd", "value": 1, "n": 3}}}}},
            r"curve\.spreads\['a'\]: got 0\.5; allowed: numbers of curve\.paper\['a'\]: 1\.0$",
        ),
        ({"rows": {}}, r"rows: got {}; allowed: a dict of row name to words, at least one"),
        ({"rows": {"a": 1}}, r"rows\['a'\]: got 1; allowed: text"),
        ({"seeds": []}, r"seeds: got \[\]; allowed: at least one seed"),
        ({"seeds": [0, 0.5]}, r"seeds\[1\]: got 0\.5; allowed: a whole number"),
        ({"slots": True}, r"slots: got True; allowed: a whole number"),
        ({"wall_seconds": "1"}, r"wall_seconds: got '1'; allowed: a number or null"),
        ({"palette": [[0, 0]]}, r"palette\[0\]: got \[0, 0\]; allowed: a list of 3"),
        ({"score": {"metric": "miou"}}, r"score: fields missing: split, weights, rule"),
        ({"score": None}, r"score: got None; allowed: a dict with metric, split, weights, rule"),
        ({"colour": "red"}, r"fields unknown: colour; written by a newer version\? allowed: name, title, "),
        ({"paper": PAPER | {"pages": 3}}, r"paper: fields unknown: pages; .* allowed: title, url, table, columns, rows, metrics"),
        (
            {"paper": PAPER | {"rows": {"full": [1.0]}}},
            r"paper\.rows\['full'\]: got \[1\.0\]; allowed: a number or null for each of City",
        ),
        ({"paper": PAPER | {"rows": {"full": [1.0, "2"]}}}, r"paper\.rows\['full'\]\[1\]: got '2'; allowed: a number or null"),
        ({"paper": PAPER | {"metrics": ["miou"]}}, r"paper\.metrics: got \['miou'\]; allowed: .* each of the 2 columns"),
        ({"methods": "dmt"}, r"methods: got 'dmt'; allowed: a list"),
        ({"metrics": ["miou", "miou"]}, r"metrics: got \['miou', 'miou'\]; allowed: a list of names, each once"),
        ({"against": ["full"]}, r"against: got \['full'\]; allowed: a dict or null"),
        ({"against": {"ful": None}}, r"against: got 'ful'; allowed: S1, S1\+S2"),
        ({"against": {"full": "S0"}}, r"against\['full'\]: got 'S0'; allowed: .*full or null"),
        ({"curve": {"x": "share"}}, r"curve: fields missing: series"),
        ({"curve": CURVE | {"log": 1}}, r"curve\.log: got 1; allowed: true or false"),
        ({"curve": CURVE | {"levels": ["S0"]}}, r"curve\.levels: got \['S0'\]; allowed: a list of rows, each once: S1, "),
        ({"curve": CURVE | {"series": {"a": ["full"]}}}, r"curve\.series\['a'\]: got \['full'\]; allowed: a dict"),
        ({"curve": CURVE | {"series": {"a": {"5 %": "full"}}}}, r"curve\.series\['a'\]: got '5 %'; allowed: text of a number"),
        ({"curve": CURVE | {"series": {"a": {"nan": "full"}}}}, r"curve\.series\['a'\]: got 'nan'; allowed: text of a number"),
        ({"curve": CURVE | {"series": {"a": {"0": "full"}}}}, r"curve\.series\['a'\]: got 0\.0; allowed: a number above 0"),
        ({"curve": CURVE | {"series": {"a": {"1": "S0"}}}}, r"curve\.series\['a'\]\[1\]: got 'S0'; allowed: S1, "),
        ({"curve": CURVE | {"paper": {"a": {"1": "68"}}}}, r"curve\.paper\['a'\]\['1'\]: got '68'; allowed: a number"),
    ],
)
def test_a_study_that_the_report_cannot_use_is_refused_in_one_line(tmp_path, change, said):
    write_json(tmp_path, study_of(**change))
    with pytest.raises(ValueError, match=rf"study\.json: {said}") as caught:
        read_study(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in study_of() if name not in ("paper", "wall_seconds")])
def test_a_file_without_a_field_is_named(tmp_path, name):
    write_json(tmp_path, {key: value for key, value in study_of().items() if key != name})
    said = "format: got None; allowed: 1" if name == "format" else f"fields missing: {name}"
    with pytest.raises(ValueError, match=rf"study\.json: {said}"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reference": "c"}, "reference: got 'c'; allowed: a, b"),
        ({"seeds": ()}, r"seeds: got \[\]"),
        ({"curve": CurveRecord(x="labels", series={"one": {8: "c"}})}, r"curve\.series\['one'\]\[8\]: got 'c'; allowed: a, b"),
    ],
)
def test_a_record_that_a_report_could_not_use_cannot_be_made(change, said):
    with pytest.raises(ValueError, match=said):
        replace(RECORD, **change)


@dataclass(frozen=True)
class Leaf:
    size: int | str
    share: float = 0.5


@dataclass(frozen=True)
class Tree:
    leaves: dict[str, tuple[Leaf, ...]] | None
    pair: tuple[int, float] = (1, 2.0)


def test_values_are_decoded_by_their_annotations():
    value = {"leaves": {"a": [{"size": "big"}, {"size": 3, "share": 1}]}, "pair": [4, 5]}
    made = decode(Tree, value)
    assert made == Tree({"a": (Leaf("big"), Leaf(3, 1.0))}, (4, 5.0))
    assert decode(Tree, json.loads(json.dumps(encode(made)))) == made
    assert decode(Tree, {"leaves": None}) == Tree(None)
    with pytest.raises(ValueError, match=r"^leaves\['a'\]\[1\]\.size: got 2\.5; allowed: a whole number or text$"):
        decode(Tree, {"leaves": {"a": [{"size": 1}, {"size": 2.5}]}})


def test_results_and_report_import_neither_torch_nor_ray():
    code = "import sys, semiseg.results, semiseg.report.page\nprint([name for name in ('torch', 'ray') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_page_shows_what_the_record_says(tmp_path):
    study = read_study(make_study(tmp_path, samples=False))
    text = write_report(tmp_path).read_text(encoding="utf-8")
    for words in (study.title, study.data.fingerprint, study.provenance.command, *ROWS, "<li>size <b>48 × 64</b></li>"):
        assert words in text, words
