"""How should the labelled images be shared between the two models of mutual training? The subset experiment of feng2020_dmt.

Equation 1 gives both models the share alpha of the shuffled labelled images, one its beginning and one its end. The report found
that "an increasing proportion of data to model A (teacher first) seems to degrade performance compared to even splits"
(section 4.2), in words alone. Two curves over the share of A, which teaches first in every phase: `both alike`, where B has as
much, so that the subsets overlap more and more; and `A more, B less`, where both together have 1.4 of the labelled images, as with
alpha 0.7, and the overlap stays 0.4 of them. On the built-in scenes 5 points take an estimated 10 minutes on 2 CPU cores.

    python sweeps/compare_dmt_subsets.py
    python sweeps/compare_dmt_subsets.py --preset pets --data.root PATH
    python sweeps/compare_dmt_subsets.py --preset paper --dry-run
"""

import sys
from dataclasses import replace

from semiseg.change import Row, change
from semiseg.config import Train
from semiseg.methods import DMT, Supervised
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation, Curve, Paper, Quick
from semiseg.sweep.presets import SHORT_MUTUAL

ALIKE: dict[float, str] = {alpha: f"alpha {alpha}" for alpha in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)}
UNEQUAL: dict[float, str] = {alpha: f"A {alpha}, B {1.4 - alpha:.1f}" for alpha in (0.4, 0.5, 0.6, 0.8, 0.9, 1.0)}
EVEN = ALIKE[0.7]

TABLE = Ablation(
    name="dmt_subsets",
    title="Shares of the labels of the two models of mutual training",
    question="How should the labels be shared between the two models (feng2020_dmt, equation 1 and section 4.2)?",
    rows={
        "Baseline": Row(change(Supervised)),
        **{row: Row(change(DMT, teacher_first="a", alpha=alpha)) for alpha, row in ALIKE.items()},
        **{
            row: Row(change(DMT, teacher_first="a", alpha_a=alpha, alpha_b=round(1.4 - alpha, 1))) for alpha, row in UNEQUAL.items()
        },
    },
    reference=EVEN,
    against={},
    metrics=("miou", "foreground_iou", "accuracy"),
    presets=SHORT_MUTUAL
    | {
        "demo": replace(
            SHORT_MUTUAL["demo"],
            rows=("Baseline", *(ALIKE[alpha] for alpha in (0.5, 0.7, 1.0)), *(UNEQUAL[alpha] for alpha in (0.4, 1.0))),
        )
    },
    quick=Quick(
        train=change(Train, steps=6, evaluations=1),
        methods=(change(DMT, phase_epochs=0.1, phases=(0.5, 1.0)),),
        rows=("Baseline", ALIKE[0.5], EVEN, UNEQUAL[0.4], UNEQUAL[1.0]),
        seeds=1,
    ),
    curve=Curve(
        x="share of the labels of model A",
        series={"both alike": ALIKE, "A more, B less": dict(sorted((UNEQUAL | {0.7: EVEN}).items()))},
        levels=("Baseline",),
    ),
    paper=Paper(
        title="Dynamic Mutual Training - A Self-Supervised Semantic Segmentation Framework for Robust Pseudo Noise Handling",
        table="Table 1, Oxford-IIIT Pets, 10 % of the labels; the subset experiment prints no numbers",
        columns=("IoU",),
        rows={"Baseline": (79.8,), EVEN: (82.3,)},
    ),
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
