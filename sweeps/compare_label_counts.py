"""How does three-stage self-training do with few and with many labels? Tables 1 and 2 of ke2020 (Ke et al.).

Two curves over the number of labelled images: stage 1, which is the supervised baseline, and all three stages. The labelled images
of a point are among those of the next. On the built-in scenes 4, 8, 16 and 32 of them for 2 seeds take about 7 minutes on 2 CPU
cores. The presets `paper` (Cityscapes, 100, 372, 744, 1488 labels) and `paper-voc` (1/100, 1/50, 1/20, 1/8 of 10,582) set lambda
and the labelled images in a batch per number of labels, as the paper does; its text has 1448 for the 1488 = 2975/2 of Table 1.

    python sweeps/compare_label_counts.py
    python sweeps/compare_label_counts.py --preset small --data.root PATH
    python sweeps/compare_label_counts.py --preset paper --dry-run
    python sweeps/compare_label_counts.py --preset paper-voc --dry-run
"""

import sys
from dataclasses import replace

from semiseg.change import Row, change
from semiseg.config import Data, Train
from semiseg.methods import ThreeStage
from semiseg.methods.three_stage import parts
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation, Curve, Paper, Quick
from semiseg.sweep.presets import CITYSCAPES, THREE_STAGE, VOC

DEMO, CITIES, OBJECTS = (4, 8, 16, 32), (100, 372, 744, 1488), (106, 212, 529, 1323)
METHODS = {"supervised": parts("S1"), "three-stage": parts("S1", "S2", "S3", "CR", "T2", "SA", "N2")}
COUNTS = sorted((*DEMO, *CITIES, *OBJECTS))
CURVES: dict[str, dict[float, str]] = {series: {count: f"{series}, {count}" for count in COUNTS} for series in METHODS}
ALL = "supervised, all"
EIGHTH = change(Train, batch_labelled=2, batch_unlabelled=8)
OURS = {  # three-stage: Cityscapes, VOC from ImageNet and from COCO weights
    **dict(zip(CITIES, ((54.85, None, None), (62.82, None, None), (65.80, None, None), (67.11, None, None)), strict=True)),
    **dict(zip(OBJECTS, ((None, 55.13, 63.82), (None, 62.71, 70.77), (None, 68.23, 71.90), (None, 69.36, 72.95)), strict=True)),
}
DEEPLAB = {  # "DeepLabV2" as the tables quote it
    372: (56.2, None, None),
    744: (60.2, None, None),
    212: (None, 48.3, 53.2),
    529: (None, 56.8, 58.7),
    1323: (None, 62.0, 65.2),
}


def at(counts: tuple[int, ...]) -> tuple[str, ...]:
    """Rows of those numbers of labels, and the upper bound."""
    return (*(CURVES[series][count] for series in METHODS for count in counts), ALL)


TABLE = Ablation(
    name="label_counts",
    title="Three-stage self-training over the number of labels",
    question="How does three-stage self-training do with few and with many labels (Ke et al. 2020, Tables 1 and 2)?",
    rows={row: Row(METHODS[series], change(Data, labelled=count)) for series, line in CURVES.items() for count, row in line.items()}
    | {ALL: Row(parts("S1"), change(Data, labelled="all"))},
    reference=ALL,
    against={row: CURVES["supervised"][count] for line in CURVES.values() for count, row in line.items()},
    presets={
        "demo": replace(THREE_STAGE["demo"], seeds=(0, 1), rows=at(DEMO)),
        "small": replace(THREE_STAGE["small"], data=Data(name="camvid", size=(96, 128)), rows=at((8, 16, 32, 100))),
        # section 4.2: 1 labelled image of 5, of 1488 labels 3 of 5; lambda1 = lambda2 = 1/2 throughout
        "paper": replace(
            CITYSCAPES,
            rows=at(CITIES),
            adds={CURVES[series][1488]: Row(train=change(Train, batch_labelled=3, batch_unlabelled=2)) for series in METHODS},
        ),
        # section 4.2: lambda1 = lambda2 = 1/4, 1/4, 5/4, 5/8; 1 labelled image of 10, of 1/8 of the labels 2 of 10
        "paper-voc": replace(
            VOC,
            rows=at(OBJECTS),
            adds={
                "three-stage, 529": Row(change(ThreeStage, lambda1=1.25, lambda2=1.25)),
                "three-stage, 1323": Row(change(ThreeStage, lambda1=0.625, lambda2=0.625), train=EIGHTH),
                "supervised, 1323": Row(train=EIGHTH),
            },
        ),
    },
    quick=Quick(rows=at((4, 16))[:-1], seeds=1),
    curve=Curve(
        x="labelled images",
        log=True,
        series=CURVES,
        levels=(ALL,),
        paper={
            "three-stage": {count: next(value for value in values if value is not None) for count, values in OURS.items()},
            "supervised": {count: next(value for value in values if value is not None) for count, values in DEEPLAB.items()},
        },
    ),
    paper=Paper(
        title="A Three-Stage Self-Training Framework for Semi-Supervised Semantic Segmentation",
        url="https://arxiv.org/abs/2012.00827",
        table="Tables 1 and 2; supervised: DeepLabV2 as quoted there",
        columns=("Cityscapes", "VOC, ImageNet", "VOC, COCO"),
        rows={CURVES["three-stage"][count]: values for count, values in OURS.items()}
        | {CURVES["supervised"][count]: values for count, values in DEEPLAB.items()}
        | {ALL: (66.0, 70.7, 73.6)},
    ),
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
