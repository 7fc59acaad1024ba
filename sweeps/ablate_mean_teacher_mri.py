"""Does a mean teacher help to segment spinal-cord grey matter, and what of it? Table 1 of perone2018 and what its text argues
about.

Supervised against mean teacher in six metrics, averages over slices, and how much they vary from seed to seed; then the teacher's
transform shared with the student (what section 2.1 argues against) or drawn anew (Algorithm 1 as printed) in place of delayed, mean
squared error for cross-entropy, a confidence threshold, and consistency on unlabelled images alone. On the built-in scenes (five
classes, so the metrics are means over four of them) 3 seeds take about 8 minutes on 2 CPU cores.

    python sweeps/ablate_mean_teacher_mri.py
    python sweeps/ablate_mean_teacher_mri.py --preset mri --data.root PATH
    python sweeps/ablate_mean_teacher_mri.py --preset paper --dry-run
"""

import sys
from dataclasses import replace

from semiseg.change import Row, change
from semiseg.config import Data, Train, Weak
from semiseg.ema import Ema
from semiseg.losses import SoftDice
from semiseg.methods import MeanTeacher, Supervised
from semiseg.nets import UNet, UNetMRI
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation, Paper, Preset, Quick, spreads
from semiseg.sweep.few_labels import ROTATED, TEACHER_ACDC

METHOD = MeanTeacher(
    objective=SoftDice(),
    distance="bce",
    target="soft",
    weight=2.9,
    ramp=(0.0, 1.0),  # paper: 100 of 350 epochs, some 1,100 steps, which is more than these stages have
    draw="mixed",
    perturbation=ROTATED,
    # paper: 0.99, then 0.999, over 350 epochs; a stage of hundreds of steps needs a teacher that follows faster
    ema=Ema(decay=(0.98,), warmup=True, buffers="own", mode="train"),
)
# that noise is of z-scores (code: after NormalizeInstance), which scgm packs from -4..4 as 0..1
Z_SCORES = replace(ROTATED, noise=0.01 / 8, noise_teacher=0.01 / 8)
# paper: rotation and noise without a teacher too
BASELINE = Supervised(objective=SoftDice(), perturbation=replace(Z_SCORES, noise_teacher=0.0))

TABLE = Ablation(
    name="mean_teacher_mri",
    title="Mean teacher for spinal-cord grey matter, ablated",
    question="Does a mean teacher help to segment spinal-cord grey matter, and what of it (perone2018, Table 1)?",
    rows={
        "supervised": Row(change(Supervised)),
        "mean teacher": Row(change(MeanTeacher)),
        "transform shared": Row(change(MeanTeacher, delayed="shared")),
        "transform independent": Row(change(MeanTeacher, delayed="independent")),
        "MSE": Row(change(MeanTeacher, distance="mse")),
        "threshold 0.9": Row(change(MeanTeacher, threshold=0.9)),
        "unlabelled only": Row(change(MeanTeacher, consistency_on="unlabelled")),
    },
    reference="mean teacher",
    against={"mean teacher": "supervised", "supervised": "supervised"},
    metrics=("image_dice", "image_iou", "image_accuracy", "image_precision", "image_recall", "image_specificity"),
    presets={
        "demo": Preset(
            method=METHOD,
            others=(Supervised(objective=SoftDice()),),
            net=UNet(width=8),
            train=Train(steps=500, batch_labelled=4, batch_unlabelled=4, learning_rate=5e-3, score="image_dice"),
        ),
        "mri": Preset(
            data=Data(name="scgm", size=(64, 64), labelled="all"),
            method=replace(METHOD, perturbation=Z_SCORES),
            others=(BASELINE,),
            net=UNet(width=8, outputs="one"),
            train=Train(
                steps=500, batch_labelled=4, batch_unlabelled=4, learning_rate=2e-3, score="image_dice", weak=Weak(flip=0.0)
            ),
        ),
        "acdc": replace(TEACHER_ACDC, rows=("supervised", "mean teacher", "transform shared", "transform independent")),
        # of the paper, and where it is silent of its group's later code (medicaltorch, domainadaptation); docs/paper_presets.md
        "paper": Preset(
            data=Data(name="scgm", labelled="all"),  # 200 x 200 pixels of 0.25 mm; a third split selects
            method=replace(
                METHOD,
                perturbation=replace(Z_SCORES, background=True),  # code: rotated with zeros, which count
                ramp=(0.0, 100 / 350),  # epochs 0 to 100 of 350
                ema=replace(METHOD.ema, decay=(0.99, 0.999), start=(0.0, 50 / 350)),  # epochs 0 and 50
                mask_out_of_frame=False,  # code: no validity mask
            ),
            others=(BASELINE,),
            net=UNetMRI(width=64, outputs="one", dropout=0.5),
            train=Train(
                steps=350 * 10,  # 86 labelled slices are 10 batches of 8 an epoch, the rest dropped (code)
                batch_labelled=8,
                batch_unlabelled=8,  # code: a second loader of the same batch; the paper only says 8
                learning_rate=6e-4,
                warmup=50 / 350,
                decay="cosine",
                weight_decay=6e-4,
                weak=Weak(scale=(1.0, 1.0), flip=0.0),
                score="image_dice",
                threshold=0.9,  # code (main.py:95-101); the paper does not say
                empty_images="zero",  # code
            ),
            seeds=tuple(range(10)),  # the paper's 10 runs
            # 1,600 epochs of the same 10 batches, 50 of them warm-up
            adds={"supervised": Row(train=change(Train, steps=16000, batch_unlabelled=0, warmup=0.03125, weight_decay=0.0008))},
        ),
    },
    quick=Quick(seeds=1),
    paper=Paper(
        title="Deep semi-supervised segmentation with weight-averaged consistency targets",
        url="https://arxiv.org/abs/1807.04657",
        table="Table 1, SCGM challenge, mean of 10 runs",
        columns=("Dice", "mIoU", "Accuracy", "Precision", "Recall", "Specificity"),
        metrics=("image_dice", "image_iou", "image_accuracy", "image_precision", "image_recall", "image_specificity"),
        rows={
            "supervised": (67.915, 53.679, 99.745, 57.948, 92.495, 99.775),
            "mean teacher": (70.209, 55.509, 99.792, 64.732, 86.112, 99.846),
        },
        spreads={
            "supervised": spreads("sd", 10, 0.313, 0.327, 0.005, 0.788, 0.907, 0.010),
            "mean teacher": spreads("sd", 10, 0.229, 0.253, 0.003, 0.773, 0.936, 0.006),
        },
    ),
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
