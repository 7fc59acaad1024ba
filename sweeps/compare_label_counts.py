"""How do three-stage self-training and its competitors do with few and with many labels? Tables 1 and 2 of ke2020 (Ke et al.).

Curves over the number of labelled images: stage 1, which is the supervised baseline, all three stages, the consistency of French et
al. 2020 (arXiv:1906.01916) with CutMix and with Cutout, and dynamic mutual training (Feng et al. 2020). The labelled images of a point
are among those of the next. On the built-in scenes 4, 8, 16 and 32 of them for 2 seeds take about 15 minutes on 2 CPU cores, without
DMT, whose rows train 13 stages each: `--rows "DMT, 4"`. The presets `paper` (Cityscapes, 100, 372, 744, 1488 labels), `paper-voc` and
`paper-voc-coco` (1/100, 1/50, 1/20, 1/8 of 10,582) set lambda and the labelled images in a batch per number of labels, as the paper
does; its text has 1448 for the 1488 = 2975/2 of Table 1. All other numbers of the two tables are in docs/methods/ke2020.md.

    python sweeps/compare_label_counts.py
    python sweeps/compare_label_counts.py --preset small --data.root PATH
    python sweeps/compare_label_counts.py --preset paper --dry-run
    python sweeps/compare_label_counts.py --preset paper-voc --dry-run
    python sweeps/compare_label_counts.py --preset paper-voc-coco --dry-run
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from semiseg.augment import CutMix, Cutout
from semiseg.augment.perturbation import Perturbation
from semiseg.change import Change, Row, change
from semiseg.config import Data, Train
from semiseg.ema import Ema
from semiseg.methods import DMT, OneWay, ThreeStage
from semiseg.methods.three_stage import parts
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation, Curve, Paper, Preset, Quick
from semiseg.sweep.presets import CITYSCAPES, THREE_STAGE, VOC, VOC_COCO

DEMO, CITIES, OBJECTS = (4, 8, 16, 32), (100, 372, 744, 1488), (106, 212, 529, 1323)
COUNTS = sorted((*DEMO, *CITIES, *OBJECTS))


def french(perturbation: Perturbation) -> Change[OneWay]:
    """French et al.: squares summed over classes, averaged over all pixels, times the share of pixels with 0.97 or more; the mean
    teacher, whose decay stays 0.99, is reported."""
    return change(
        OneWay,
        teacher="mean",
        evaluate="teacher",
        perturbation=perturbation,
        distance="mse_sum",
        threshold=0.97,
        threshold_on="batch",
        mean_over="all",
        weight=1.0,
    )


METHODS: dict[str, Change[Any]] = {
    "supervised": parts("S1"),
    "three-stage": parts("S1", "S2", "S3", "CR", "T2", "SA", "N2"),
    "CutMix": french(CutMix()),
    "Cutout": french(Cutout()),
    "DMT": change(DMT),
}
CURVES: dict[str, dict[float, str]] = {series: {count: f"{series}, {count}" for count in COUNTS} for series in METHODS}
ALL = "supervised, all"
COLUMNS = ("Cityscapes", "VOC, ImageNet", "VOC, COCO")
Numbers = dict[str, dict[int, float]]
STATED: tuple[Numbers, Numbers, Numbers] = (  # Table 1, and the two halves of Table 2; supervised: "DeepLabV2"; DMT: "Feng et al."
    {
        "supervised": {372: 56.2, 744: 60.2},
        "three-stage": dict(zip(CITIES, (54.85, 62.82, 65.80, 67.11), strict=True)),
        "CutMix": dict(zip(CITIES[:3], (51.20, 60.34, 63.87), strict=True)),
        "Cutout": dict(zip(CITIES[:3], (47.21, 57.72, 61.96), strict=True)),
    },
    {
        "supervised": dict(zip(OBJECTS[1:], (48.3, 56.8, 62.0), strict=True)),
        "three-stage": dict(zip(OBJECTS, (55.13, 62.71, 68.23, 69.36), strict=True)),
        "CutMix": dict(zip(OBJECTS, (53.79, 64.81, 66.48, 67.60), strict=True)),
        "Cutout": dict(zip(OBJECTS, (48.73, 58.26, 64.37, 66.76), strict=True)),
    },
    {
        "supervised": dict(zip(OBJECTS[1:], (53.2, 58.7, 65.2), strict=True)),
        "three-stage": dict(zip(OBJECTS, (63.82, 70.77, 71.90, 72.95), strict=True)),
        "CutMix": dict(zip(OBJECTS, (60.19, 67.30, 70.33, 71.82), strict=True)),
        "DMT": dict(zip(OBJECTS, (61.6, 65.5, 69.3, 70.7), strict=True)),
    },
)


def at(counts: Iterable[int], series: Iterable[str]) -> tuple[str, ...]:
    """Rows of those numbers of labels, and the upper bound."""
    return (*(CURVES[name][count] for name in series for count in counts), ALL)


def drawn(numbers: Numbers) -> Mapping[str, Mapping[float, float]]:
    """Numbers of one half of a table as points."""
    return {name: {float(count): value for count, value in line.items()} for name, line in numbers.items()}


RUN = ("supervised", "three-stage", "CutMix", "Cutout")
FEW_STEPS = (OneWay(ema=Ema(decay=(0.98,), warmup=True)), DMT(phase_epochs=2))  # from random weights
DST_CBC = DMT(alpha=0.8, gamma1=5.0, gamma2=5.0, phase_epochs=4, phase_rate=0.5, teacher_first="a", update="symmetric")  # on VOC
# code: 300 epochs of 84 images with 106 labels, 134 of 529 with 529; ours for the other two
PRETRAINING = {106: 3_300, 212: 5_000, 529: 134 * 67, 1323: 15_000}
FEW_OF_TEN = change(Train, batch_labelled=2, batch_unlabelled=8)
OF_FRENCH = {  # their scripts: 40 epochs of 1,000 steps with as many unlabelled images as labelled ones
    "paper": change(Train, steps=40_000, evaluations=40, batch_labelled=4, batch_unlabelled=4),
    "paper-voc": change(Train, steps=40_000, evaluations=40, batch_labelled=10, batch_unlabelled=10),
}


def of_french(preset: str, counts: Iterable[int]) -> dict[str, Row]:
    return {CURVES[name][count]: Row(train=OF_FRENCH[preset]) for name in ("CutMix", "Cutout") for count in counts}


def of_voc(preset: Preset, series: tuple[str, ...], stated: Numbers) -> Preset:
    """Section 4.2: lambda1 = lambda2 = 1/4, 1/4, 5/4, 5/8; 1 labelled image of 10, of 1/8 of the labels 2 of 10."""
    return replace(
        preset,
        others=(OneWay(), DST_CBC),
        rows=at(OBJECTS, series),
        adds={
            "three-stage, 529": Row(change(ThreeStage, lambda1=1.25, lambda2=1.25)),
            "three-stage, 1323": Row(change(ThreeStage, lambda1=0.625, lambda2=0.625), train=FEW_OF_TEN),
            "supervised, 1323": Row(train=FEW_OF_TEN),
        }
        | of_french("paper-voc", OBJECTS)
        | {
            CURVES["DMT"][count]: Row(
                train=change(
                    Train,
                    steps=steps,
                    batch_labelled=1,
                    batch_unlabelled=7,
                    optimiser="sgd",
                    betas=(0.9, 0.999),  # the first is the momentum
                    learning_rate=2e-3,  # of pretraining, half of it in phases
                    backbone_rate=1.0,  # one rate
                    decay="poly",
                    weight_decay=5e-4,
                )
            )
            for count, steps in PRETRAINING.items()
        },
        curve_paper=drawn(stated),
    )


TABLE = Ablation(
    name="label_counts",
    title="Three-stage self-training and its competitors over the number of labels",
    question="How do three-stage self-training and its competitors do with few and with many labels (Ke et al. 2020, Tables 1 and 2)?",
    rows={row: Row(METHODS[series], change(Data, labelled=count)) for series, line in CURVES.items() for count, row in line.items()}
    | {ALL: Row(parts("S1"), change(Data, labelled="all"))},
    reference=ALL,
    against={row: CURVES["supervised"][count] for line in CURVES.values() for count, row in line.items()},
    presets={
        "demo": replace(THREE_STAGE["demo"], others=FEW_STEPS, seeds=(0, 1), rows=at(DEMO, RUN)),
        "small": replace(
            THREE_STAGE["small"],
            data=Data(name="camvid", size=(96, 128)),
            others=FEW_STEPS,
            rows=tuple(f"{series}, {count}" for series in RUN for count in (8, 16, 32, 100)) + (ALL,),
        ),
        # section 4.2: 1 labelled image of 5, of 1488 labels 3 of 5; lambda1 = lambda2 = 1/2 throughout
        "paper": replace(
            CITYSCAPES,
            others=(OneWay(), DMT()),
            rows=at(CITIES, RUN),
            adds={
                CURVES[series][1488]: Row(train=change(Train, batch_labelled=3, batch_unlabelled=2))
                for series in ("supervised", "three-stage")
            }
            | of_french("paper", CITIES),
            curve_paper=drawn(STATED[0]),
        ),
        "paper-voc": of_voc(VOC, RUN, STATED[1]),
        "paper-voc-coco": of_voc(VOC_COCO, ("supervised", "three-stage", "CutMix", "DMT"), STATED[2]),
    },
    quick=Quick(rows=(*at((4, 16), RUN)[:-1], "DMT, 4"), methods=(change(DMT, phase_epochs=0.1, phases=(0.5, 1.0)),), seeds=1),
    curve=Curve(x="labelled images", log=True, series=CURVES, levels=(ALL,)),
    paper=Paper(
        title="A Three-Stage Self-Training Framework for Semi-Supervised Semantic Segmentation",
        url="https://arxiv.org/abs/2012.00827",
        table="Tables 1 and 2; supervised: DeepLabV2, CutMix and Cutout: French et al. (with COCO as rerun there), DMT: Feng et al., "
        "as quoted there",
        columns=COLUMNS,
        rows={
            row: tuple(numbers.get(series, {}).get(int(count)) for numbers in STATED)
            for series, line in CURVES.items()
            for count, row in line.items()
            if any(count in numbers.get(series, {}) for numbers in STATED)
        }
        | {ALL: (66.0, 70.7, 73.6)},
    ),
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
