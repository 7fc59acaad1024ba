"""What do pseudo-labels and dynamic mutual training add at 1 to 95 % of the labels? Figure 1 right of feng2020_dmt.

Three curves over the share of labelled images, 1, 2, 5, 10, 50, 80 and 95 %: Baseline, Pseudo-Label and DMT, and the level that
all labels reach. "The batch sizes of the labelled and unlabelled datasets are adjusted to have similar numbers of mini-batches"
(section 3): of the 32 images of a mini-batch 32 times the share is labelled, rounded to the nearest (halves up), at least 1 and at
most 31, so 1, 1, 2, 3, 16, 26 and 30 (of 16 on the built-in scenes: 1, 1, 1, 2, 8, 13 and 15). Below 3 % the labelled images come
round more often than the others. Pseudo-masks are those of the images without labels; an epoch of a phase shows each of them once.
On the built-in scenes 2 seeds take an estimated half an hour on 2 CPU cores, half of it for anchors (`--anchors none`).

    python sweeps/compare_dmt_shares.py
    python sweeps/compare_dmt_shares.py --preset pets --data.root PATH
    python sweeps/compare_dmt_shares.py --preset paper --dry-run
"""

import sys
from dataclasses import replace

from semiseg.change import Row, change
from semiseg.config import Data, Train
from semiseg.methods import DMT, PseudoLabel, Supervised
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation, Curve, Paper, Quick
from semiseg.sweep.presets import SHORT_MUTUAL

SHARES = (0.01, 0.02, 0.05, 0.1, 0.5, 0.8, 0.95)
SERIES = {
    "Baseline": change(Supervised),
    "Pseudo-Label": change(PseudoLabel, pseudo_on="unlabelled"),
    "DMT": change(DMT, pseudo_on="unlabelled"),
}
CURVES: dict[str, dict[float, str]] = {series: {share: f"{series}, {100 * share:g} %" for share in SHARES} for series in SERIES}
PRINTED = {"Baseline": 79.8, "Pseudo-Label": 81.4, "DMT": 82.3}
"""Table 1; Figure 1 prints no numbers."""


def split(share: float, images: int = 32) -> Row:
    """A mini-batch of which that share is labelled, rounded to the nearest (halves up), with at least one image of each kind."""
    labelled = min(max(int(share * images + 0.5), 1), images - 1)
    return Row(train=change(Train, batch_labelled=labelled, batch_unlabelled=images - labelled))


TABLE = Ablation(
    name="dmt_shares",
    title="Mutual training and pseudo-labels over the share of labels",
    question="What do pseudo-labels and mutual training add at 1 to 95 % of the labels (feng2020_dmt, Figure 1 right)?",
    rows={
        row: Row(SERIES[series], change(Data, labelled=share)) | split(share)
        for series, line in CURVES.items()
        for share, row in line.items()
    }
    | {"Oracle": Row(change(Supervised), change(Data, labelled="all"))},
    reference="Oracle",
    against={row: CURVES["Baseline"][share] for line in CURVES.values() for share, row in line.items()},
    metrics=("miou", "foreground_iou", "accuracy"),
    presets=SHORT_MUTUAL
    | {
        "demo": replace(
            SHORT_MUTUAL["demo"],
            adds={row: split(share, 16) for line in CURVES.values() for share, row in line.items()},
        )
    },
    quick=Quick(
        train=change(Train, steps=6, evaluations=1),
        methods=(change(DMT, phase_epochs=0.1, phases=(0.5, 1.0)),),
        rows=tuple(line[share] for share in (0.05, 0.8) for line in CURVES.values()),
        seeds=1,
    ),
    curve=Curve(
        x="share of labelled images",
        log=True,
        series=CURVES,
        levels=("Oracle",),
        paper={series: {0.1: value} for series, value in PRINTED.items()},
    ),
    paper=Paper(
        title="Dynamic Mutual Training - A Self-Supervised Semantic Segmentation Framework for Robust Pseudo Noise Handling",
        table="Table 1, Oxford-IIIT Pets; Figure 1 right prints no numbers",
        columns=("IoU",),
        rows={CURVES[series][0.1]: (value,) for series, value in PRINTED.items()} | {"Oracle": (88.8,)},
    ),
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
