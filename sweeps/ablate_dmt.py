"""Which reading of dynamic mutual training matters? Where feng2020_dmt contradicts itself, its code or what it proposes.

Every row changes one thing of `DMT`, the preset's reading: how losses are averaged, how and when confident pixels are chosen,
whose pseudo-masks are learned, who teaches first, how both models start, and exponents that rise over a phase (section 4.2: "The
DMT paper propose a sigmoid-like function"). The presets `demo` and `pets` start from semiseg's defaults, `paper` from the report as
it is written; each has the rows that differ from it. On the built-in scenes 2 seeds take an estimated 15 minutes on 2 CPU cores.

    python sweeps/ablate_dmt.py
    python sweeps/ablate_dmt.py --preset pets --data.root PATH
    python sweeps/ablate_dmt.py --preset paper --dry-run
"""

import sys
from dataclasses import replace

from semiseg.change import Row, change
from semiseg.config import Train
from semiseg.methods import DMT, Supervised
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation, Paper, Quick
from semiseg.sweep.presets import SHORT_MUTUAL

ALWAYS = {
    "teacher first in each phase": change(DMT, teacher_first="each_phase"),
    "A teaches first": change(DMT, teacher_first="a"),
    "symmetric": change(DMT, update="symmetric"),
    "rising gamma": change(DMT, gamma_schedule="sigmoid"),
    "same start": change(DMT, same_start=True),
}
FROM_DEFAULTS = {
    "separate means": change(DMT, reduction="separate"),
    "direct ranking": change(DMT, ranking="global"),
    "ranked in batches": change(DMT, scope="batch"),
    "masks online": change(DMT, masks="online", scope="batch"),
    "unlabelled masks alone": change(DMT, pseudo_on="unlabelled"),
}
FROM_REPORT = {
    "pooled mean": change(DMT, reduction="pooled"),
    "ranking of each class": change(DMT, ranking="class"),
    "masks of a phase": change(DMT, masks="phase", scope="dataset"),
    "masks of all images": change(DMT, pseudo_on="all"),
}


def beside(own: dict[str, object]) -> tuple[str, ...]:
    """Rows of a preset that starts from one of the readings."""
    return ("Baseline", "DMT", *own, *ALWAYS)


TABLE = Ablation(
    name="dmt_readings",
    title="Dynamic mutual training, reading by reading",
    question="Which reading of dynamic mutual training matters (feng2020_dmt, sections 2 and 4.2)?",
    rows={"Baseline": Row(change(Supervised)), "DMT": Row(change(DMT))}
    | {name: Row(method) for name, method in (FROM_DEFAULTS | FROM_REPORT | ALWAYS).items()},
    reference="DMT",
    baseline="Baseline",
    metrics=("miou", "foreground_iou", "accuracy"),
    presets={
        name: replace(preset, rows=beside({**(FROM_REPORT if name == "paper" else FROM_DEFAULTS)}))
        for name, preset in SHORT_MUTUAL.items()
    },
    quick=Quick(
        train=change(Train, steps=6, evaluations=1),
        methods=(change(DMT, phase_epochs=0.1, phases=(0.5, 1.0)),),
        seeds=1,
    ),
    paper=Paper(
        title="Dynamic Mutual Training - A Self-Supervised Semantic Segmentation Framework for Robust Pseudo Noise Handling",
        table="Table 1, Oxford-IIIT Pets, 10 % of the labels; the report trains one reading",
        columns=("IoU",),
        rows={"Baseline": (79.8,), "DMT": (82.3,)},
    ),
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
