"""The ablation of the mean teacher's augmentation on pets: its whole rows are those of the table over labels, its others lack what they
say."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from test_sweeps import plan

import ablate_mean_teacher_pets
import compare_label_fractions
from semiseg.augment import Gentle, View
from semiseg.methods import MeanTeacher
from semiseg.sweep.rows import resolve_row

ABSENT: list[dict[str, Any]] = [{"hue": 0.0}, {"saturation": (1.0, 1.0)}, {"blur": (0.0, 0.0)}, {"noise": 0.0}]
"""pets_mean_teacher's four changes, each switched off, in the order of section 2.2."""
WITHOUT = {"no hue": {0}, "no saturation": {1}, "no blur": {2}, "no noise": {3}, "none": {0, 1, 2, 3}}
"""Row -> which of the four it is without."""


@pytest.mark.parametrize("name", ablate_mean_teacher_pets.TABLE.presets)
def test_the_whole_rows_of_the_pets_ablation_are_those_of_a_quarter_of_the_labels(name: str) -> None:
    tables = ablate_mean_teacher_pets.TABLE, compare_label_fractions.TABLE
    found, curve = (plan(table, table.presets[name]).chains for table in tables)
    for row in ("supervised", "mean teacher"):
        assert found[row, 0] == curve[f"{row}, 25 %", 0]


@pytest.mark.parametrize("row", WITHOUT)
def test_a_row_of_the_pets_ablation_is_without_the_change_that_it_names(row: str) -> None:
    table = ablate_mean_teacher_pets.TABLE
    method = resolve_row("pets", row, table.rows[row], table.presets["paper"].methods()).method
    assert isinstance(method, MeanTeacher)
    gentle = method.perturbation
    assert isinstance(gentle, Gentle)
    image = torch.rand((64, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    view = View(image, torch.ones(64, 32, 32, dtype=torch.bool))
    found = set()
    for number, other in enumerate(ABSENT):
        alone = replace(gentle, **{name: value for one in ABSENT if one is not other for name, value in one.items()})
        if alone(view, torch.Generator().manual_seed(1)).image.equal(image):
            found.add(number)
    assert found == WITHOUT[row]
