"""Who should see the perturbed image, and which perturbation? The slide table of grubisic2021 and its figure over label fractions.

Directions 1w-ps, 1w-pt, 2w-p1 and 1w-p2 with the student itself ("simple") or its moving average ("MT") as the teacher, all with
PhTPS; 1w-pt MT once more with the slip of the authors' code. Then PhTPS against CutMix and CutMix* at 1/8, 1/4, 1/2 and all of the
labels. On the built-in scenes the directions take about 10 minutes for 2 seeds on 2 CPU cores. The presets `fractions` (SwiftNet) and
`fractions-deeplab` (DeepLabv2) are the figure there, for a laptop: small images and few steps from random weights.

    python sweeps/compare_consistency_directions.py
    python sweeps/compare_consistency_directions.py --preset camvid --data.root PATH
    python sweeps/compare_consistency_directions.py --preset cifar10 --data.root PATH
    python sweeps/compare_consistency_directions.py --preset fractions
    python sweeps/compare_consistency_directions.py --preset fractions-deeplab
    python sweeps/compare_consistency_directions.py --preset paper --dry-run
"""

import sys
from dataclasses import replace
from typing import Any

from semiseg.augment import CutMix, PhTPS
from semiseg.change import Change, Row, change
from semiseg.config import Data, Train, Weak
from semiseg.methods import OneWay, Supervised
from semiseg.nets import DeepLabV2, SwiftNet, UNet, WideResNet
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation, Curve, Paper, Preset, Quick, spreads
from semiseg.sweep.few_labels import ONE_WAY_PETS

DIRECTIONS = {
    "1w-ps simple": change(OneWay, teacher="simple", direction="1w-ps"),
    "1w-pt simple": change(OneWay, teacher="simple", direction="1w-pt"),
    "2w-p1 simple": change(OneWay, teacher="simple", direction="2w-p1"),
    "1w-p2 simple": change(OneWay, teacher="simple", direction="1w-p2"),
    "1w-ps MT": change(OneWay, teacher="mean", direction="1w-ps"),
    "1w-pt MT": change(OneWay, teacher="mean", direction="1w-pt"),
    "1w-pt MT, as coded": change(OneWay, teacher="mean", direction="1w-pt", paper_compat=True),
    "1w-p2 MT": change(OneWay, teacher="mean", direction="1w-p2"),
}
CUT = {
    "CutMix simple": change(OneWay, teacher="simple", perturbation=CutMix()),
    "CutMix MT": change(OneWay, teacher="mean", perturbation=CutMix()),
}
FRACTIONS = {0.125: "1/8", 0.25: "1/4", 0.5: "1/2", 1.0: "1/1"}
PERTURBATIONS = {
    "simple-PhTPS": change(OneWay, teacher="simple", perturbation=PhTPS()),
    "simple-CutMix": change(OneWay, teacher="simple", perturbation=CutMix()),
    "MT-PhTPS": change(OneWay, teacher="mean", perturbation=PhTPS()),
    "MT-CutMix": change(OneWay, teacher="mean", perturbation=CutMix()),
    "MT-CutMix*": change(OneWay, teacher="mean", perturbation=CutMix(), distance="mse_sum", threshold=0.97, weight=1.0),
}
CURVES = {name: {value: f"{name}, {text}" for value, text in FRACTIONS.items()} for name in ("supervised", *PERTURBATIONS)}
METHODS: dict[str, Change[Any]] = {"supervised": change(Supervised), **PERTURBATIONS}
SHARED = ("supervised", *DIRECTIONS)
FIGURE = {  # data/tables.ods of the authors' repository: half-resolution Cityscapes, SwiftNet-RN18
    "supervised": (55.1, 61.5, 66.9, 70.5),
    "simple-PhTPS": (62.7, 65.3, 68.5, 71.4),
    "simple-CutMix": (59.8, 63.8, 67.0, 69.3),
    "MT-PhTPS": (62.0, 66.0, 69.1, 71.2),
    "MT-CutMix": (59.3, 63.3, 66.8, 69.7),
    "MT-CutMix*": (61.6, 64.6, 67.6, 69.9),
}
DEEPLAB = {  # there too, DeepLabv2
    "supervised": (56.7, 62.5, 67.8, 69.0),
    "MT-PhTPS": (61.9, 66.8, 69.9, 71.7),
    "MT-CutMix*": (62.4, 65.0, 67.6, 69.0),
}
SPREADS = {  # of the slide table: Cityscapes, CIFAR-10
    "supervised": spreads("sd", 5, 0.5, 0.4, None),
    "1w-ps simple": spreads("sd", 5, 1.9, 0.3, None),
    "1w-pt simple": spreads("sd", 5, 1.0, 20.1, None),
    "2w-p1 simple": spreads("sd", 5, 3.0, 1.0, None),
    "1w-p2 simple": spreads("sd", 5, 0.5, 7.0, None),
    "1w-ps MT": spreads("sd", 5, 1.0, 0.4, None),
    "1w-pt MT, as coded": spreads("sd", 5, 1.4, 0.5, None),
    "1w-p2 MT": spreads("sd", 5, 1.1, 1.4, None),
    # the figure prints none; these three of its numbers are the slide table's, on Cityscapes with 1/4 of the labels
    "supervised, 1/4": spreads("sd", 5, 0.5, None, None),
    "simple-PhTPS, 1/4": spreads("sd", 5, 1.9, None, None),
    "MT-PhTPS, 1/4": spreads("sd", 5, 1.0, None, None),
}


FIGURE_ROWS = tuple(row for name in DEEPLAB for row in CURVES[name].values())
"""What the figure draws of both networks."""


def figure(numbers: dict[str, tuple[float, ...]]) -> dict[str, dict[float, float]]:
    """Percent by curve and share."""
    return {name: dict(zip(FRACTIONS, values, strict=True)) for name, values in numbers.items()}


# grubisic2021 through its authors' code (vidlu v0.1.0); docs/paper_presets.md has the source of every value. A supervised batch
# has no images in the place of the unlabelled ones. The paper draws the labelled subset anew for every run, as seeds do here.
CITYSCAPES = Preset(
    data=Data(name="cityscapes", labelled=0.25, size=(512, 1024), selection=100),  # half resolution; the code reports on val alone
    method=OneWay(weight=0.5),
    net=SwiftNet(weights="imagenet"),
    train=Train(
        steps=74_400,  # 1,600, 800, 400 or 200 epochs of 1/8, 1/4, 1/2 or all of 2,975 images in batches of 8: 372 x 200
        batch_labelled=8,
        batch_unlabelled=8,
        betas=(0.9, 0.99),
        learning_rate=4e-4,
        weight_decay=1e-4,
        backbone_rate=0.25,  # 1e-4
        backbone_decay=0.25,  # 2.5e-5
        decay="quarter_cosine",  # here by step, in the code by epoch
        crop=(448, 448),
        weak=Weak(scale=(1 / 1.5, 1.5), scale_law="log_uniform", flip=0.5),
    ),
    seeds=(0, 1, 2, 3, 4),
    adds=dict.fromkeys(("supervised", *CURVES["supervised"].values()), Row(train=change(Train, batch_unlabelled=0))),
)

FRACTIONS_SMALL = Preset(
    data=Data(labelled=0.25),
    method=OneWay(),
    net=SwiftNet(),
    train=Train(steps=300, batch_labelled=4, batch_unlabelled=4, learning_rate=1e-3, decay="quarter_cosine"),
    seeds=(0, 1),
    rows=FIGURE_ROWS,
)

TABLE = Ablation(
    name="consistency_directions",
    title="One-way consistency: who sees the perturbed image",
    question="Who should see the perturbed image, student or teacher, and which perturbation is best (grubisic2021)?",
    rows={"supervised": Row(change(Supervised))}
    | {name: Row(direction) for name, direction in (DIRECTIONS | CUT).items()}
    | {
        row: Row(METHODS[name], change(Data, labelled="all" if value == 1 else value))
        for name, line in CURVES.items()
        for value, row in line.items()
    },
    reference="supervised",
    against={row: CURVES["supervised"][value] for line in CURVES.values() for value, row in line.items()},
    metrics=("miou", "accuracy"),
    presets={
        "demo": Preset(
            data=Data(labelled=0.05),
            method=OneWay(),
            net=UNet(width=8),
            train=Train(steps=500, batch_labelled=4, batch_unlabelled=4, learning_rate=5e-3),
            seeds=(0, 1),
            rows=SHARED,
        ),
        "camvid": Preset(
            data=Data(name="camvid", labelled=0.25, size=(96, 128)),
            method=OneWay(),
            net=UNet(width=8),
            train=Train(steps=600, batch_labelled=4, batch_unlabelled=4, learning_rate=5e-3, decay="quarter_cosine"),
            seeds=(0, 1),
            rows=SHARED,
        ),
        "pets-lite0": replace(ONE_WAY_PETS, rows=(*(row for row in SHARED if row != "1w-pt MT, as coded"), *CUT)),
        "cifar10": Preset(
            data=Data(name="cifar10", labelled=0.08),
            method=OneWay(weight=1.0),
            net=WideResNet(width=16, depth=1),
            train=Train(
                steps=600,
                batch_labelled=16,
                batch_unlabelled=32,
                learning_rate=3e-3,
                decay="quarter_cosine",
                score="accuracy",
                weak=Weak(scale=(1.0, 1.0)),
            ),
            seeds=(0, 1),
            rows=SHARED,
        ),
        "fractions": FRACTIONS_SMALL,
        "fractions-deeplab": replace(
            FRACTIONS_SMALL,
            net=DeepLabV2(),
            train=replace(FRACTIONS_SMALL.train, steps=200, batch_labelled=2, batch_unlabelled=2),
            seeds=(0,),
            curve_paper=figure(DEEPLAB),
        ),
        "paper": CITYSCAPES,
        # the figure's DeepLabv2 curves: half the epochs in batches of 4 are as many steps
        # code: from COCO weights (--net.weights FILE)
        "paper-deeplab": replace(
            CITYSCAPES,
            net=DeepLabV2(weights="imagenet"),
            train=replace(CITYSCAPES.train, batch_labelled=4, batch_unlabelled=4),
            seeds=(0,),  # code: each curve once
            rows=FIGURE_ROWS,
            curve_paper=figure(DEEPLAB),
        ),
        "paper-cifar10": Preset(
            data=Data(name="cifar10", labelled=4000, selection=1000),  # 2/25 of 50,000
            method=OneWay(weight=1.0),
            net=WideResNet(depth=4, width=32),  # WRN-28-2
            train=Train(
                steps=1000 * 32,  # 1,000 epochs of 4,000 images in batches of 128
                batch_labelled=128,
                batch_unlabelled=512,
                # vidlu's settings for this network (configs/training.py: wrn_cifar); neither paper nor slides give any
                optimiser="sgd",
                betas=(0.9, 0.999),  # the first is the momentum
                learning_rate=0.1,
                weight_decay=5e-4,
                decay="multistep",
                # code: crops of 32 out of the image padded by 4, which our weak augmentation has not
                weak=Weak(scale=(1.0, 1.0), flip=0.5),
                score="accuracy",
            ),
            seeds=(0, 1, 2, 3, 4),
            rows=SHARED,
            adds={"supervised": Row(train=change(Train, batch_unlabelled=0))},
        ),
    },
    quick=Quick(
        train=change(Train, steps=6, evaluations=1),
        rows=("supervised", "1w-ps simple", "1w-ps MT", "1w-pt MT", "1w-p2 MT", "MT-PhTPS, 1/8", "MT-CutMix*, 1/8"),
        seeds=1,
    ),
    curve=Curve(
        x="share of labelled images",
        log=True,
        series=CURVES,
        paper=figure(FIGURE),
        spreads={name: {0.25: SPREADS[f"{name}, 1/4"][0]} for name in ("supervised", "simple-PhTPS", "MT-PhTPS")},
    ),
    paper=Paper(
        title="A baseline for semi-supervised learning of efficient semantic segmentation models",
        url="https://arxiv.org/abs/2106.07075",
        table="slides: directions on Cityscapes 1/4 (mIoU) and CIFAR-10 2/25 (accuracy), mean of 5, where MT 1w-pt is the baseline; "
        "figure over shares: data/tables.ods of the repository",
        columns=("Cityscapes, SwiftNet", "CIFAR-10", "Cityscapes, DeepLabv2"),
        rows={
            "supervised": (61.5, 80.8, None),
            "1w-ps simple": (65.3, 90.8, None),
            "1w-pt simple": (1.6, 50.1, None),
            "2w-p1 simple": (16.7, 72.9, None),
            "1w-p2 simple": (61.6, 73.3, None),
            "1w-ps MT": (66.0, 90.8, None),
            "1w-pt MT, as coded": (61.5, 80.5, None),
            "1w-p2 MT": (62.0, 73.4, None),
        }
        | {
            CURVES[name][value]: (number, None, figure(DEEPLAB).get(name, {}).get(value))
            for name, line in figure(FIGURE).items()
            for value, number in line.items()
        },
        spreads=SPREADS,
    ),
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
