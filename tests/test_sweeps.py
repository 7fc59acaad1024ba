"""The scripts of sweeps/: their flags, the stages that rows and tables share, and every one run as a user would with --quick."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from conftest import finish
from data_trees import build_cifar10
from declared import SCRIPTS, TABLES

import ablate_mean_teacher_mri
import ablate_three_stage
import compare_dmt_shares
import compare_label_counts
import compare_label_fractions
import sweep_lambda
from semiseg.augment import Gentle
from semiseg.config import SettingError
from semiseg.data.scgm import prepared_image
from semiseg.losses import DISTANCES, Dice
from semiseg.methods import DMT, MeanTeacher, Method, OneWay, PseudoLabel, Supervised, ThreeStage
from semiseg.schedules import Moment
from semiseg.stage import Split, Stage
from semiseg.sweep.arguments import parse
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation, Preset
from semiseg.sweep.draws import resolved_vary
from semiseg.sweep.plan import Plan, make_plan
from semiseg.sweep.rows import ResolvedRow, resolve_row
from semiseg.sweep.saved import Saved, write_config
from semiseg.sweep.study import Study

PRESETS = [(script, preset) for script, table in TABLES.items() for preset in table.presets]

FIELD: dict[type, tuple[str, str, Any]] = {
    ThreeStage: ("lambda1", "0.125", 0.125),
    MeanTeacher: ("weight", "4", 4.0),
    OneWay: ("threshold", "0.25", 0.25),
    DMT: ("update", "symmetric", "symmetric"),
}


@pytest.mark.parametrize(("script", "name"), PRESETS)
def test_method_flags_are_those_of_the_presets_method(script: str, name: str) -> None:
    found = TABLES[script].presets[name]
    found = replace(found, vary=resolved_vary(found.vary, found.data))
    field, text, value = FIELD[type(found.method)]
    assert parse(TABLES[script], ["--preset", name])[1] == found
    _, changed = parse(TABLES[script], ["--preset", name, f"--method.{field}", text])
    assert changed == replace(found, method=replace(found.method, **{field: value}))  # type: ignore[type-var]
    foreign = next(other for kind, (other, *_) in FIELD.items() if kind is not type(found.method))
    for words in (f"--method.{foreign} 0.5", f"--method.{field} ?", "--method.nothing 1"):
        with pytest.raises(SettingError, match="method\\."):
            parse(TABLES[script], ["--preset", name, *words.split()])


def plan(table: Ablation, preset: Preset) -> Plan:
    """All rows of the table at one seed; a number of labels is a split of its own."""
    lines = {name: resolve_row(table.name, name, row, preset.methods()) for name, row in table.rows_of(preset).items()}

    def split(line: ResolvedRow) -> Split:
        asked = [line.data.get("labelled", preset.data.labelled), *(one for one in line.data.items() if one[0] != "labelled")]
        return replace(tiny.SPLIT, labelled_hash=str(asked))

    return make_plan(lines, (0,), split=split, net=tiny.NET, train=preset.train, has=lambda key: False)


DISTINCT = {
    "ablate_three_stage": 10,
    "sweep_lambda": 1 + 4 * 2 + 4 * 2,
    "ablate_mean_teacher_mri": 7,
    "ablate_mean_teacher_pets": 7,
    "compare_consistency_directions": 1 + 8 + 2 + 6 * 4,
    "compare_dmt": 1
    + 1
    + (2 + 5 * 2 + 1)
    + 1
    + 3 * 11,  # Pseudo-Label adds one; one length is DMT's own, the others share a0 and b0
    "compare_dmt_shares": 7 * (1 + 1 + 2 + 5 * 2 + 1) + 1,  # Pseudo-Label begins with the baseline
    "compare_dmt_subsets": 1 + 7 + 7 + 12 * 11,  # 7 sizes of each model's subset in 12 pairs
    # five readings change every phase; later: first teachers chosen anew share phase 1, symmetric half of it; same start shares nothing
    "ablate_dmt": 1 + 2 + 11 + 5 * 11 + 9 + 11 + 10 + 11 + 14,
    "compare_label_counts": 12 * (3 + 2 + 13) + 1,  # three stages, CutMix, Cutout, DMT
    "compare_label_fractions": 4 + 4 + 3 * (2 + 5 * 2 + 1) + 2,
}


@pytest.mark.parametrize(("script", "name"), PRESETS)
def test_a_table_trains_as_many_stages_as_its_rows_differ_in(script: str, name: str) -> None:
    # where a quarter is labelled five rows are points of the figure
    shared = 5 if script == "compare_consistency_directions" and TABLES[script].presets[name].data.labelled == 0.25 else 0
    shared = 11 if (script, name) == ("ablate_dmt", "paper") else shared  # four readings are not the report's
    assert len(plan(TABLES[script], TABLES[script].presets[name]).stages) == DISTINCT[script] - shared


@pytest.mark.parametrize("name", sweep_lambda.TABLE.presets)
def test_the_full_row_of_the_ablation_is_that_of_its_lambda(name: str) -> None:
    def chain(table: Ablation, row: str) -> list[str]:
        return [stage.key for stage in plan(table, table.presets[name]).chains[row, 0]]

    same, other = ("lambda 1/4", "lambda 1/2") if name.startswith("paper-voc") else ("lambda 1/2", "lambda 1/4")
    full = chain(ablate_three_stage.TABLE, "full")
    assert chain(sweep_lambda.TABLE, same) == full
    assert chain(sweep_lambda.TABLE, other)[0] == full[0]
    assert not set(chain(sweep_lambda.TABLE, other)[1:]) & set(full)


LAMBDAS = {  # ke2020, section 4.2
    "paper": {100: 0.5, 372: 0.5, 744: 0.5, 1488: 0.5},
    "paper-voc": {106: 0.25, 212: 0.25, 529: 1.25, 1323: 0.625},
    "paper-voc-coco": {106: 0.25, 212: 0.25, 529: 1.25, 1323: 0.625},
}


@pytest.mark.parametrize("name", LAMBDAS)
def test_lambda_follows_the_number_of_labels_and_stage_1_is_the_supervised_row(name: str) -> None:
    table = compare_label_counts.TABLE
    found = plan(table, table.presets[name])
    for count, weight in LAMBDAS[name].items():
        first, *more = found.chains[f"three-stage, {count}", 0]
        assert {(stage.rule.lambda1, stage.rule.lambda2) for stage in more} == {(weight, weight)}
        assert found.chains[f"supervised, {count}", 0] == (first,)
        images = (3, 2) if count == 1488 else (1, 4) if name == "paper" else (2, 8) if count == 1323 else (1, 9)
        assert (first.train.batch_labelled, first.train.batch_unlabelled) == images
    others = ("CutMix", "DMT") if name == "paper-voc-coco" else ("CutMix", "Cutout")
    counts = {f"{series}, {count}" for series in ("supervised", "three-stage", *others) for count in LAMBDAS[name]}
    assert set(table.presets[name].rows) == counts | {"supervised, all"}


@pytest.mark.parametrize("name", compare_dmt_shares.TABLE.presets)
def test_batches_of_each_share_of_labels_are_split_so_that_both_kinds_last_for_about_as_many(name: str) -> None:
    """feng2020_dmt, section 3, of the paper's 5,585 training images: from 3 % on, where the smallest part is no bound."""
    table, total = compare_dmt_shares.TABLE, 16 if name == "demo" else 32
    methods = table.presets[name].methods()
    for line in compare_dmt_shares.CURVES.values():
        for share, row in line.items():
            found = resolve_row(table.name, row, table.rows_of(table.presets[name])[row], methods)
            batch = (found.train["batch_labelled"], found.train["batch_unlabelled"])
            assert (found.data["labelled"], sum(batch), min(batch) >= 1) == (share, total, True)
            assert abs(batch[0] - share * total) <= 0.5 or batch[0] == 1
            if name == "paper" and share > 0.03:
                labelled = round(5585 * share)
                known, others = math.ceil(labelled / batch[0]), math.ceil((5585 - labelled) / batch[1])
                assert max(known, others) < 1.3 * min(known, others)
    assert [compare_dmt_shares.split(share).train.values["batch_labelled"] for share in compare_dmt_shares.SHARES] == [
        1, 1, 2, 3, 16, 26, 30,
    ]  # fmt: skip


def test_pets_mean_teacher_ramps_between_epochs_8_and_33_of_its_161_steps() -> None:
    method = compare_label_fractions.TABLE.presets["paper"].method
    assert isinstance(method, MeanTeacher)
    weights = [method.weight_at(Moment(step, 16_100, 161)) for step in (8 * 161 - 1, 8 * 161, 33 * 161 - 1, 33 * 161, 16_099)]
    last = math.exp(-5 * (1 / 25) ** 2)  # in epoch 32
    assert weights == pytest.approx([0, 1.5 * math.exp(-5), 1.5 * last, 1.5, 1.5])


@pytest.mark.parametrize("preset", ["mri", "paper"])
def test_perone2018_perturbs_its_baseline_as_the_student_by_noise_of_z_scores(preset: str) -> None:
    methods = ablate_mean_teacher_mri.TABLE.presets[preset].methods()
    teacher, baseline = methods["mean_teacher"], methods["supervised"]
    assert isinstance(teacher, MeanTeacher)
    assert isinstance(baseline, Supervised)
    gentle = teacher.perturbation
    assert isinstance(gentle, Gentle)
    assert baseline.perturbation == replace(gentle, noise_teacher=0.0, background=False)  # no teacher; no class where nothing is
    assert gentle.background == (preset == "paper")
    scores = np.random.default_rng(0).standard_normal((200, 200)).astype(np.float32)
    one = prepared_image(scores, (0.25, 0.25)).std()  # in the packed image
    assert (gentle.noise, gentle.noise_teacher) == pytest.approx((0.01 * one, 0.01 * one), rel=0.01)
    assert gentle.rotation == 4.5


def test_the_mse_row_of_one_output_is_the_squared_error_of_its_probability() -> None:
    table = ablate_mean_teacher_mri.TABLE
    method = resolve_row("mri", "MSE", table.rows["MSE"], table.presets["paper"].methods()).method
    assert isinstance(method, MeanTeacher)
    score, target = torch.randn(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    logits, probs = torch.cat([torch.zeros_like(score), score], 1), torch.cat([1 - target, target], 1)
    found = DISTANCES[method.distance](logits, probs, torch.ones(2, 8, 8, dtype=torch.bool))
    assert found.item() == pytest.approx(torch.nn.functional.mse_loss(score.sigmoid(), target).item(), rel=1e-5)


def test_rows_of_the_lambda_table_set_both_weights_to_their_number() -> None:
    curve, methods = sweep_lambda.TABLE.curve, sweep_lambda.TABLE.presets["demo"].methods()
    assert curve is not None
    for value, row in curve.series["full"].items():
        found = resolve_row("lambda", row, sweep_lambda.TABLE.rows[row], methods).method
        assert isinstance(found, ThreeStage)
        assert (found.lambda1, found.lambda2, found.switches()) == (value, value, tiny.FULL)


def test_the_supervised_baseline_is_one_stage_for_all_who_start_with_it() -> None:
    def first(method: Method) -> Stage:
        return method.stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)[0]

    baseline = first(Supervised())
    assert first(PseudoLabel()).key == first(PseudoLabel(rounds=2, weight=1.0)).key == first(ThreeStage()).key == baseline.key
    assert first(PseudoLabel(objective=Dice())).key == first(Supervised(objective=Dice())).key != baseline.key
    halves = [stage.key for stage in DMT().stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)[:2]]
    assert len({baseline.key, *halves}) == 3


def test_three_stage_is_refused_on_images_of_one_class_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--data.name", "cifar10", "--data.root", str(build_cifar10(tmp_path / "data")), "--data.labelled", "20"]
    assert main(ablate_three_stage.TABLE, [*words, "--net.name", "wide_resnet"]) == 2
    assert capsys.readouterr().err == "error: data.name in row 'S1': got 'cifar10'; allowed: a data set with a mask per image\n"


# ---- presets, --config, --quick, flags: in this order


def config_of(method: Method, preset: Preset, folder: Path) -> list[str]:
    """Words that name a saved configuration."""
    write_config(folder / "best.json", Saved(preset.data, preset.net, preset.train, method), {})
    return ["--config", str(folder / "best.json")]


@pytest.mark.parametrize("script", ["compare_dmt", "compare_label_fractions"])
def test_quick_makes_a_saved_configuration_small_too(script: str, tmp_path: Path) -> None:
    """In one script DMT is the preset's own method, in the other one of the others."""
    table = TABLES[script]
    words = config_of(DMT(phase_epochs=20, alpha=0.9), table.presets["demo"], tmp_path)
    for line in ([*words, "--quick"], ["--quick", *words]):
        arguments, preset = parse(table, line)
        assert preset.methods()["dmt"] == DMT(phase_epochs=0.1, phases=(0.5, 1.0), alpha=0.9)
        assert preset.train.steps == 6
        study = Study(table, preset, arguments)
        assert {line.method for line in study.lines.values() if isinstance(line.method, DMT)} == {preset.methods()["dmt"]}


def test_flags_have_the_last_word(tmp_path: Path) -> None:
    table = TABLES["compare_dmt"]
    words = config_of(DMT(phase_epochs=20, alpha=0.9), table.presets["demo"], tmp_path)
    _, preset = parse(table, [*words, "--quick", "--method.phase-epochs", "3", "--train.steps", "9", "--seeds", "5"])
    assert (preset.method, preset.train.steps, preset.seeds) == (
        DMT(phase_epochs=3.0, phases=(0.5, 1.0), alpha=0.9),
        9,
        (5,),
    )


@pytest.mark.slow
@pytest.mark.parametrize("script", TABLES)
def test_quick_works_as_a_user_would_run_it(script: str, cache: Path, tmp_path: Path) -> None:
    table = TABLES[script]
    ran = finish(tmp_path, cache, "--quick", script=Path(str(SCRIPTS[script].__file__)))
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.rstrip().splitlines()
    assert lines[-1] == f"report: {tmp_path / 'out' / 'report.html'}"
    assert Path(lines[-1].removeprefix("report: ")).stat().st_size > 10_000
    rows = table.quick.apply(table.presets["demo"]).rows or tuple(table.rows)
    header = next(i for i, line in enumerate(lines) if line.startswith("row "))
    printed = [re.split(r"\s{2,}", line)[0] for line in lines[header + 2 : header + 2 + len(rows)]]
    assert sorted(printed) == sorted(rows)
