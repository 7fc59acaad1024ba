"""Whole studies in which the labelled subset varies: trained, reported, found done, and in development without a test image."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from in_process import without_ray

from semiseg.change import Row, change
from semiseg.config import Data
from semiseg.development import is_development
from semiseg.methods import OneWay, Supervised
from semiseg.results import read
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation, Preset
from semiseg.sweep.draws import SAID, Design

TABLE = Ablation(
    name="draws",
    title="T",
    question="Q?",
    rows={"labels": Row(change(Supervised)), "method": Row(change(OneWay))},
    reference="method",
    presets={"demo": Preset(data=tiny.data()[0], net=tiny.NET, train=replace(tiny.TRAIN, steps=2, evaluations=1), method=OneWay())},
)


def trained(folder: Path, *words: str) -> int:
    return main(TABLE, ["--out", str(folder / "out"), "--store", str(folder / "store"), "--cache", str(tiny.data()[1]), *words])


@pytest.mark.parametrize(
    ("words", "seeds", "stages"),
    [
        (("--seeds", "0", "1"), [0, 1], 8),
        (("--vary", "crossed", "--seeds", "5", "6", "--subsets", "0", "1"), [0, 1, 2, 3], 14),
    ],
)
def test_a_study_is_trained_reported_and_not_trained_again(
    words: tuple[str, ...], seeds: list[int], stages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Labels, the method, its anchor and all labels: in the crossed one the last has a stage for each training seed alone."""
    without_ray(monkeypatch)
    assert trained(tmp_path, *words) == 0
    out = capsys.readouterr().out
    assert any(line.startswith((SAID["both"], SAID["crossed"])) for line in out.splitlines())
    found = read(tmp_path / "out")
    study = json.loads((tmp_path / "out" / "study.json").read_text())
    assert (list(found.study.seeds), [one["seed"] for one in study["draws"]]) == (seeds, seeds)
    assert found.study.score.rule.endswith(Design(vary=found.study.vary, seeds=(5, 6), subsets=(0, 1)).said(Data(name="folder")))
    assert len({draw.labelled_hash for draw in found.study.draws}) == 2
    assert found.study.data.labelled_hash == found.study.draws[0].labelled_hash
    assert found.stages.num_rows == stages
    assert set(found.stages["state"].to_pylist()) == {"done"}
    assert list((tmp_path / "out" / "samples").glob("image_*.png"))
    final = next(one for one in found.rows.to_pylist() if (one["row"], one["seed"], one["final"]) == ("method", seeds[0], True))
    assert list((tmp_path / "out" / "samples" / final["key"]).glob("prediction_*.png"))
    assert list((tmp_path / "out" / "samples" / final["key"]).glob("seen_*.png"))
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert ('id="sources"' in page) == (len(seeds) == 4)
    assert trained(tmp_path, *words) == 0
    assert f"{stages} distinct, {stages} done, 0 to train" in capsys.readouterr().out


def test_development_of_both_scores_no_test_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)
    assert trained(tmp_path, "--development", "--seeds", "0", "1", "--anchors", "none") == 0
    found = read(tmp_path / "out")
    assert found.study.vary == "both"
    assert set(found.metrics["split"].to_pylist()) == {"selection"}
    assert all(is_development(draw.subset) and is_development(draw.training) for draw in found.study.draws)
