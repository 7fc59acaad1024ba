"""The presets that rerun papers: equal to docs/paper_presets.md value by value, and every kind of stage in them makes a step."""

import json
import re
from collections.abc import Iterable
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from declared import TABLES

import ablate_three_stage
from semiseg.change import Row
from semiseg.codec import write_row
from semiseg.runner import split_of
from semiseg.stage import Stage
from semiseg.sweep.declaration import Preset, chosen_rows
from semiseg.sweep.dry_run import KnownPlace, sections
from semiseg.sweep.estimate import small
from semiseg.sweep.plan import Plan, make_plan
from semiseg.sweep.rows import resolve_row

PAPERS = [(script, name) for script, table in TABLES.items() for name in table.presets if name.startswith("paper")]
TEXT = (Path(__file__).parents[1] / "docs" / "paper_presets.md").read_text(encoding="utf-8")
LINE = re.compile(r"^\| ([^|]+) \| `(.*)` \| (.+) \|$", re.MULTILINE)

Settings = dict[str, Any]


def documented() -> tuple[Settings, dict[tuple[str, str], Settings]]:
    """Values of the first table, and of those that name a preset."""
    common: Settings = {}
    found: dict[tuple[str, str], Settings] = {}
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        heading = section.splitlines()[0]
        values = {name: json.loads(value) for name, value, _ in LINE.findall(section)}
        if heading == "Common":
            common = values
            continue
        scripts, names = (part.split(", ") for part in heading.split(": "))
        for script in scripts:
            for name in names:
                found.setdefault((script, name), {}).update(values)
    return common, found


def resolved(preset: Preset) -> Settings:
    """Every value of a preset under the name that the document has for it."""
    methods = preset.methods()
    found = sections(preset.data, preset.net, preset.train, methods, {}, preset.seeds)
    del found["rows"]
    flat = {f"{section}.{name}": value for section, values in found.items() for name, value in values.items()}
    flat["seeds"] = flat.pop("seeds.seeds")
    rows = {"rows": list(preset.rows)} if preset.rows else {}
    return flat | rows | {f"row {name}": added(row, preset) for name, row in preset.adds.items()}


def added(row: Row, preset: Preset) -> str:
    """The words of what is added to a row, without those that say the method."""
    return " ".join(word for word in write_row(row, preset.methods()).split() if "=" in word)


def test_every_script_has_a_preset_of_its_paper_and_the_document_no_others() -> None:
    assert {script for script, name in PAPERS if name == "paper"} == set(TABLES)
    assert set(documented()[1]) == set(PAPERS)


@pytest.mark.parametrize(("script", "name"), PAPERS)
def test_a_preset_is_what_the_document_says(script: str, name: str) -> None:
    common, tables = documented()
    values = resolved(TABLES[script].presets[name])
    kinds = {key.partition(".")[0] for key in values}
    own = tables[script, name]
    whole = [key for key in common if any(other.startswith(f"{key}.") for other in own)]  # null gives way to parts
    absent = [key for key in common if key.startswith("net.") and key not in values]  # a setting that this network does not have
    said = {key: value for key, value in common.items() if key.partition(".")[0] in kinds and key not in (*whole, *absent)} | own
    assert said == values


def test_every_line_of_the_document_is_read_and_has_a_source() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith(("| setting", "| ---"))]
    assert len(lines) == len(LINE.findall(TEXT)) > 200
    assert all(source.strip() for _, _, source in LINE.findall(TEXT))


OTHERS = [(script, name) for script, table in TABLES.items() for name in table.presets if (script, name) not in PAPERS]


@pytest.mark.parametrize(("script", "name"), OTHERS)
def test_the_document_says_how_many_images_of_a_batch_are_labelled_in_every_other_preset(script: str, name: str) -> None:
    """In the list before the tables, as `script` name, name: LABELLED + UNLABELLED."""
    said = next(item for item in TEXT.split("\n- ") if f"`{script}`" in item.partition(":")[0])
    train = TABLES[script].presets[name].train
    assert re.search(rf"\b{name}[a-z0-9, -]*: {train.batch_labelled} \+ {train.batch_unlabelled}\b", said), said


def planned(script: str, name: str) -> Plan:
    """The preset's rows at one seed, on stand-in images that are small."""
    table, preset = TABLES[script], TABLES[script].presets[name]
    methods, place = preset.methods(), place_of(preset)
    lines = {name: resolve_row(table.name, name, row, methods) for name, row in chosen_rows(table, preset).items()}
    train = replace(preset.train, precision="fp32")
    return make_plan(
        lines, (0,), split=lambda line: split_of(*place.open(**line.data)), net=preset.net, train=train, has=lambda key: False
    )


def kinds(script: str, name: str) -> list[Stage]:
    """A stage of every kind that is trained, the last one: that with most labels."""
    return list({kind(stage): stage for stage in planned(script, name).stages.values() if stage.train.steps > 0}.values())


def place_of(preset: Preset) -> KnownPlace:
    size = preset.data.size if preset.data.name == "cifar10" else (48, 64)
    return KnownPlace(data=replace(preset.data, size=size), cache=Path("unused"), store="unused")


def kind(stage: Stage) -> object:
    """What a step does, whatever the numbers in it."""
    rule = stage.rule
    names = ("direction", "teacher", "perturbation", "distance", "delayed", "consistency_on", "lambda1", "lambda2", "masks")
    values = [getattr(rule, name, None) for name in names]
    return (
        type(rule),
        rule.own_blocks,
        *(value if isinstance(value, str) else type(value) if is_dataclass(value) else bool(value) for value in values),
    )


def trained(found: Iterable[Stage], place: KnownPlace) -> int:
    """Make one step of each stage; how many there were."""
    torch.set_num_threads(1)
    count = 0
    for stage in found:
        crop = (32, 32) if place.data.name == "cifar10" else (40, 40)
        trainer = small(stage, place, steps=2, batch_labelled=1, batch_unlabelled=2, crop=crop)
        trainer.progress.step = 1  # in the middle of the stage, where no ramp over a share of it is 0
        before = [value.detach().clone() for value in trainer.state.student.parameters() if value.requires_grad]
        trainer.train_step()
        after = [value for value in trainer.state.student.parameters() if value.requires_grad]
        assert all(bool(value.isfinite().all()) for value in after)
        assert any(not torch.equal(*pair) for pair in zip(before, after, strict=True))
        count += 1
    return count


STEPS = {  # kinds of stages
    ("ablate_mean_teacher_mri", "paper"): 6,  # supervised; the threshold is a number
    ("ablate_mean_teacher_pets", "paper"): 2,
    ("compare_label_fractions", "paper"): 2,
    ("compare_dmt", "paper"): 4,  # supervised, on a part of the labels, pseudo-labels, mutual training
    ("compare_dmt", "paper-dst-cbc"): 4,
    ("ablate_dmt", "paper"): 5,  # supervised, on a part of the labels from random weights and others, mutual training in two ways
    ("compare_consistency_directions", "paper"): 1 + 7 + 3,  # as coded is a mean teacher in 1w-pt; CutMix adds 3
    ("compare_consistency_directions", "paper-cifar10"): 1 + 7,
}


@pytest.mark.parametrize(("script", "name"), STEPS)
def test_every_kind_of_stage_makes_a_step(script: str, name: str) -> None:
    assert trained(kinds(script, name), place_of(TABLES[script].presets[name])) == STEPS[script, name]


def test_the_three_stages_of_cityscapes_make_a_step() -> None:
    """DeepLabv2 with frozen BatchNorm: alone, with a branch of two blocks and with one of the last."""
    preset = ablate_three_stage.TABLE.presets["paper"]
    assert trained(planned("ablate_three_stage", "paper").chains["full", 0], place_of(preset)) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "name"), [(s, n) for s, n in PAPERS if TABLES[s].presets[n].net.name == "deeplabv2" and s != "sweep_lambda"]
)
def test_every_kind_of_stage_of_deeplabv2_makes_a_step(script: str, name: str) -> None:
    counts = 3 + (3 if name == "paper-voc-coco" else 2)  # CutMix and two kinds of DMT, or CutMix and Cutout
    expected = {"ablate_three_stage": 8, "compare_label_counts": counts, "compare_consistency_directions": 3}
    assert trained(kinds(script, name), place_of(TABLES[script].presets[name])) == expected[script]
