"""Which metrics there are, which may be asked for, and that a study that asks for some shows them."""

import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch

import semiseg.measures
from semiseg import machine
from semiseg.change import Row, change
from semiseg.config import SettingError, Train
from semiseg.device import resolve
from semiseg.evaluate import check_scoring, evaluate
from semiseg.measures import ALWAYS, CHOOSING, EXTRAS, METRICS, check_names, described
from semiseg.methods import Supervised
from semiseg.nets import UNet, check_network
from semiseg.results.records import ReportOptions, StudyRecord
from semiseg.runner import split_of
from semiseg.sweep.anchors import Anchored
from semiseg.sweep.declaration import Ablation, Preset
from semiseg.sweep.plan import make_plan
from semiseg.sweep.record import study_record
from semiseg.sweep.rows import resolve_row
from semiseg.train import Trainer

ASKED = tuple(name for name, metric in METRICS.items() if metric.asked)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_computed_and_lies_where_its_unit_says(name: str) -> None:
    """Of a network that predicts class 1 everywhere and of one that is right."""
    pack, splits = tiny.opened()
    asked = (name,) if METRICS[name].asked else ()

    class Blind(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.eye(5)[1].reshape(1, 5, 1, 1).expand(len(image), 5, *image.shape[2:])

    found = evaluate(Blind(), pack, splits.test, tiny.TRAIN, batch=4, device=tiny.CPU, metrics=asked).scores["", name]
    assert 0 <= found <= (1 if METRICS[name].unit == "share" else np.hypot(*tiny.SIZE) + 1e-6)

    class Right(torch.nn.Module):
        rows = iter(splits.test.tolist())

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            masks = np.stack([np.minimum(np.array(pack.mask(next(self.rows))), 4) for _ in image])
            return 50 * torch.nn.functional.one_hot(torch.from_numpy(masks).long(), 5).permute(0, 3, 1, 2).float()

    best = evaluate(Right(), pack, splits.test, tiny.TRAIN, batch=4, device=tiny.CPU, metrics=asked).scores["", name]
    ideal = {"higher": 0.5 if name == "half_dice" else 1.0, "lower": 0.0}[METRICS[name].better]
    assert best == pytest.approx(ideal, abs=1e-6)
    assert (found < best) if METRICS[name].better == "higher" else (found > best)


def test_what_chooses_weights_is_always_there_and_better_when_higher() -> None:
    assert set(CHOOSING) <= set(ALWAYS) <= set(METRICS)
    assert not set(ALWAYS) & set(ASKED)
    assert {METRICS[name].better for name in CHOOSING} == {"higher"}
    assert {METRICS[name].library for name in METRICS} - {""} <= set(EXTRAS)
    assert described("later").label == "later"


@pytest.mark.parametrize("score", [*ASKED, "oops"])
def test_a_score_that_cannot_choose_weights_is_one_line(score: str) -> None:
    with pytest.raises(SettingError, match=rf"^train.score: got '{score}'; allowed: {', '.join(CHOOSING)}$"):
        check_names(Train(score=score))


def test_a_metric_that_is_not_there_or_lacks_its_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    check_names(Train(metrics=tuple(METRICS)))
    with pytest.raises(SettingError, match=r"^train.metrics: got 'hd59'; allowed: miou, .*, ece$"):
        check_names(Train(metrics=("miou", "hd59")))
    monkeypatch.setattr(semiseg.measures, "find_spec", lambda name: None)
    check_names(Train(metrics=("ece", "boundary_iou")))
    with pytest.raises(SettingError, match=r"^train.metrics: got 'hd95'; allowed: .*need no monai.*pip install -e '.\[mri\]'$"):
        check_names(Train(metrics=("ece", "hd95")))


def test_a_key_holds_no_more_than_what_changes_a_number() -> None:
    """Asking for what is computed anyway, in whatever order, trains nothing anew."""
    asked = replace(tiny.TRAIN, metrics=("volume_dice", "miou"), window_overlap=32)
    assert resolve(asked, None, tiny.CPU) == tiny.TRAIN
    both = [resolve(replace(tiny.TRAIN, metrics=names), None, tiny.CPU) for names in (("ece", "hd95"), ("hd95", "miou", "ece"))]
    assert both[0] == both[1] != tiny.TRAIN
    kept = resolve(replace(tiny.TRAIN, sliding_window=(128, 128), window_overlap=32), None, tiny.CPU)
    assert (kept.sliding_window, kept.window_overlap) == ((128, 128), 32)


def test_measures_are_read_where_there_is_no_torch() -> None:
    code = "import sys\nsys.modules['torch'] = None\nimport semiseg.measures, semiseg.results\nprint('fine')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout == "fine\n", ran.stderr


def test_what_the_data_have_no_use_for_is_one_line() -> None:
    pack: Any = SimpleNamespace(image_level=True, volumes=["a", "b"], heights=np.array([8, 9]), widths=np.array([8, 8]))
    check_scoring(replace(tiny.TRAIN, metrics=("ece",)), pack)
    for name in ("hd95", "boundary_iou"):
        with pytest.raises(
            SettingError, match=f"^train.metrics: got '{name}'; allowed: this one only where a data set has a class"
        ):
            check_scoring(replace(tiny.TRAIN, metrics=("ece", name)), pack)
    with pytest.raises(SettingError, match=r"^train.sliding_window: got \(160, 160\); allowed: windows only where"):
        check_scoring(replace(tiny.TRAIN, sliding_window=(160, 160)), pack)
    pack.image_level = False
    check_scoring(replace(tiny.TRAIN, metrics=ASKED), pack)
    pack.volumes = ["a", "a"]
    with pytest.raises(
        SettingError, match=r"^train.metrics: got 'asd'; allowed: .* all slices of a volume are of one size, unlike .* a;"
    ):
        check_scoring(replace(tiny.TRAIN, metrics=("asd",)), pack)


def test_an_image_that_does_not_fit_into_memory_whole_is_one_line_that_names_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first level of a U-Net of width 8 reads 16 channels and writes 8: 96 bytes a pixel and those of the image and its logits."""
    monkeypatch.setattr(machine, "usable_memory", lambda: 10**9)
    check_network(UNet(), 5, tiny.TRAIN, largest=(2000, 2000))
    said = r"^train.sliding_window: got None, with which scoring an image of 4000x3000 pixels as a whole.*windows.*takes 2.*GB of memory"
    with pytest.raises(SettingError, match=said):
        check_network(UNet(), 5, tiny.TRAIN, largest=(4000, 3000))


def test_metrics_that_are_asked_for_are_scored_once_at_the_end() -> None:
    asked = replace(tiny.TRAIN, metrics=ASKED)
    stages = [Supervised().stages(tiny.chain()[0].split, tiny.NET, train, 0)[0] for train in (tiny.TRAIN, asked)]
    plain, found = (tiny.run(stage).finish() for stage in stages)
    assert stages[0].key != stages[1].key
    assert plain.weights.keys() == found.weights.keys()
    assert all(value.equal(found.weights[name]) for name, value in plain.weights.items())

    def numbers(lines: list[dict[str, Any]]) -> dict[tuple[str, ...], float]:
        return {(one["role"], one["weights"], one["split"], one["class"], one["metric"]): one["value"] for one in lines}

    before, after = numbers(plain.metrics), numbers(found.metrics)
    assert before == pytest.approx({place: after[place] for place in before}, nan_ok=True, abs=0)
    assert {place[-1] for place in after.keys() - before.keys()} == set(ASKED)
    for name in ASKED:
        assert {place[:3] for place in after if place[-1] == name and place[3] == ""} == {place[:3] for place in before}
    assert {line["name"] for line in found.curves} == {line["name"] for line in plain.curves}
    assert isinstance(tiny.trainer(stages[1]), Trainer)


def test_what_is_asked_for_is_in_the_second_table_behind_what_the_table_declares(tmp_path: Path) -> None:
    table = Ablation(
        name="t",
        title="t",
        question="?",
        rows={"full": Row(), "sure": Row(train=change(Train, metrics=("ece",)))},
        reference="full",
        presets={"demo": Preset(net=tiny.NET, train=tiny.TRAIN, method=Supervised())},
        metrics=("miou", "volume_iou"),
    )
    pack, splits = tiny.opened()
    place = tiny.place(tmp_path)
    lines = {name: resolve_row("t", name, row, {"supervised": Supervised()}) for name, row in table.rows.items()}
    asked = replace(tiny.TRAIN, metrics=("volume_iou", "hd95"))
    train = resolve(asked, None, tiny.CPU)
    plan = make_plan(lines, [0], split=lambda _: split_of(pack, splits), net=tiny.NET, train=train, has=lambda _: False)
    assert [chain[-1].train.metrics for chain in plan.chains.values()] == [("hd95",), ("ece",)]

    def record() -> StudyRecord:
        return study_record(
            table,
            plan,
            place,
            pack,
            splits,
            name="t",
            rows=dict.fromkeys(table.rows, ""),
            anchored=Anchored(lines, {}, {}, None),
            headroom=2.0,
            margin=1.0,
            train=train,
            method=Supervised(),
            net=tiny.NET,
            asked=asked.metrics,
            seeds=[0],
            curve_paper=None,
            command="",
            wall_seconds=None,
            slots=0,
            report=ReportOptions(),
        )

    assert record().metrics == ("miou", "volume_iou", "hd95", "ece")
    assert record().data.length == "pixels"
    pack = copy.copy(pack)
    pack.spacings, pack.unit = np.ones((len(pack), 3), np.float32), "map units"
    assert record().data.length == "map units"


def test_every_metric_is_in_the_docs() -> None:
    text = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in METRICS if f"`{name}`" not in text] == []
