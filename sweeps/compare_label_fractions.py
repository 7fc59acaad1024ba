"""What do unlabelled images add at 5, 10 and 25 % of the labels? Tables 1 and 2 of pets_mean_teacher, and Figure 1 right of
feng2020_dmt.

Three curves over the share of labelled images: supervised (labelled images alone: M5L, M10L, M25L of pets_mean_teacher, lower
bounds, and M100L, the upper bound), mean teacher (M5, M10, M25; with all labels it is no model of the paper) and dynamic mutual
training. The labelled images of 5 % are among those of 10 %, those among those of 25 %. Weights are chosen on the selection
images, scored every 20th of a stage (pets_mean_teacher: every 5th of 100 epochs), and reported once on test. On the built-in
scenes 2 seeds take about 15 minutes on 2 CPU cores.

    python sweeps/compare_label_fractions.py
    python sweeps/compare_label_fractions.py --preset pets --data.root PATH
    python sweeps/compare_label_fractions.py --preset pets-border --data.root PATH
    python sweeps/compare_label_fractions.py --preset paper --dry-run
"""

import sys
from dataclasses import replace
from typing import Literal

from semiseg.change import Row, change, within
from semiseg.config import Data, Train
from semiseg.ema import Ema
from semiseg.methods import DMT, MeanTeacher, Supervised
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation, Curve, Paper, Quick
from semiseg.sweep.few_labels import TEACHER_PETS
from semiseg.sweep.presets import MEAN_TEACHER

SHARES = {0.05: "5 %", 0.1: "10 %", 0.25: "25 %", 1.0: "100 %"}
SERIES = {"supervised": change(Supervised), "mean teacher": change(MeanTeacher), "DMT": change(DMT)}


def share(value: float) -> float | Literal["all"]:
    return "all" if value == 1 else value


CURVES = {
    series: {value: f"{series}, {text}" for value, text in SHARES.items() if value < 1 or series != "DMT"} for series in SERIES
}

SHARED = tuple(row for line in CURVES.values() for row in line.values())
BORDER = {f"{series}, 10 %, border ignored": CURVES[series][0.1] for series in ("supervised", "mean teacher")}
"""Rows to which the border of the trimaps is nothing, as it may be noise to the others (pets_mean_teacher, section 3.3), to whom
it is pet; all are scored on the masks of the latter."""

TABLE = Ablation(
    name="label_fractions",
    title="Mean teacher and mutual training over the share of labels",
    question="What do unlabelled images add at 5, 10 and 25 % of the labels (pets_mean_teacher, Tables 1 and 2; feng2020_dmt, Figure 1)?",
    rows={
        row: Row(SERIES[series], change(Data, labelled=share(value)))
        for series, line in CURVES.items()
        for value, row in line.items()
    }
    | {row: Row(SERIES[row.partition(",")[0]], change(Data, labelled=0.1, trimap="border_ignored")) for row in BORDER},
    reference="supervised, 100 %",
    against={row: CURVES["supervised"][value] for line in CURVES.values() for value, row in line.items()} | BORDER,
    metrics=("miou", "foreground_iou", "half_dice", "foreground_dice", "accuracy"),
    presets={name: replace(preset, rows=SHARED) for name, preset in MEAN_TEACHER.items()}
    | {
        "pets-lite0": replace(TEACHER_PETS, rows=("supervised, 5 %", "mean teacher, 5 %")),
        "pets-border": replace(MEAN_TEACHER["pets"], rows=tuple(BORDER)),
        "paper": replace(
            MEAN_TEACHER["paper"],
            rows=(*CURVES["supervised"].values(), *(CURVES["mean teacher"][value] for value in (0.05, 0.1, 0.25))),
            # 100 epochs of 257, 514 and 1,286 labelled images: 9, 17 and 41 batches each
            adds={
                CURVES["supervised"][value]: Row(train=change(Train, steps=100 * batches))
                for value, batches in {0.05: 9, 0.1: 17, 0.25: 41}.items()
            },
        ),
    },
    quick=Quick(
        train=change(Train, steps=6, evaluations=1),
        # a stage is shorter than an epoch
        methods=(change(DMT, phase_epochs=0.1, phases=(0.5, 1.0)), within(MeanTeacher, "ema", change(Ema, every="step"))),
        rows=("supervised, 5 %", "mean teacher, 5 %", "DMT, 5 %", "supervised, 25 %", "mean teacher, 25 %", "supervised, 100 %"),
        seeds=1,
    ),
    curve=Curve(
        x="share of labelled images",
        log=True,
        series=CURVES,
        paper={"supervised": {0.05: 67.8, 0.1: 70.5, 0.25: 73.0, 1.0: 79.2}, "mean teacher": {0.05: 68.5, 0.1: 70.0, 0.25: 75.5}},
    ),
    paper=Paper(
        title="Mean Teacher SSL Image Segmentation: Does Increasing the Number of Labelled Images Improve Performance",
        table="Tables 1 and 2, Oxford-IIIT Pets; which IoU is printed is unclear",
        columns=("IoU",),
        rows={
            "supervised, 5 %": (67.8,),
            "supervised, 10 %": (70.5,),
            "supervised, 25 %": (73.0,),
            "supervised, 100 %": (79.2,),
            "mean teacher, 5 %": (68.5,),
            "mean teacher, 10 %": (70.0,),
            "mean teacher, 25 %": (75.5,),
        },
        metrics=("foreground_iou",),
    ),
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
