"""What of the student's augmentation does a mean teacher on pets live on? The question that pets_mean_teacher leaves open (section
3.3).

With a quarter of the labels: supervised (M25L), the mean teacher (M25), and the same without each of the four changes of the
student's images that section 2.2 names: hue, saturation, blur, noise; then without any, so that student and teacher see the same
image. On the built-in scenes 2 seeds take about 13 minutes on 2 CPU cores.

    python sweeps/ablate_mean_teacher_pets.py
    python sweeps/ablate_mean_teacher_pets.py --preset pets --data.root PATH
    python sweeps/ablate_mean_teacher_pets.py --preset paper --dry-run
"""

import sys
from dataclasses import replace

from semiseg.augment import Gentle
from semiseg.change import Change, Row, change, within
from semiseg.config import Train
from semiseg.ema import Ema
from semiseg.methods import MeanTeacher, Supervised
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation, Paper, Quick
from semiseg.sweep.presets import MEAN_TEACHER

WITHOUT = {
    "no hue": change(Gentle, hue=0.0),
    "no saturation": change(Gentle, saturation=(1.0, 1.0)),
    "no blur": change(Gentle, blur=(0.0, 0.0)),
    "no noise": change(Gentle, noise=0.0),
    "none": change(Gentle, hue=0.0, saturation=(1.0, 1.0), blur=(0.0, 0.0), noise=0.0),
}
PRESETS = {name: replace(preset, data=replace(preset.data, labelled=0.25)) for name, preset in MEAN_TEACHER.items()}


def seen(student: Change[Gentle]) -> Row:
    """The mean teacher whose student's images are changed otherwise."""
    return Row(within(MeanTeacher, "perturbation", student))


TABLE = Ablation(
    name="mean_teacher_pets",
    title="Mean teacher on pets without parts of its augmentation",
    question="What of the student's augmentation does a mean teacher live on (pets_mean_teacher, section 3.3)?",
    rows={
        "supervised": Row(change(Supervised)),
        "mean teacher": Row(change(MeanTeacher)),
        **{name: seen(student) for name, student in WITHOUT.items()},
    },
    reference="mean teacher",
    against={"mean teacher": "supervised", "supervised": "supervised"},
    metrics=("miou", "foreground_iou", "half_dice", "foreground_dice", "accuracy"),
    presets=PRESETS
    | {
        # 100 epochs of 1,286 labelled images: 41 batches each
        "paper": replace(PRESETS["paper"], adds={"supervised": Row(train=change(Train, steps=100 * 41))}),
    },
    quick=Quick(
        train=change(Train, steps=6, evaluations=1),
        methods=(within(MeanTeacher, "ema", change(Ema, every="step")),),  # a stage is shorter than an epoch
        seeds=1,
    ),
    paper=Paper(
        title="Mean Teacher SSL Image Segmentation: Does Increasing the Number of Labelled Images Improve Performance",
        table="Table 2, 25 % of the labels; which IoU is printed is unclear; nothing is printed without a part",
        columns=("IoU",),
        rows={"supervised": (73.0,), "mean teacher": (75.5,)},
        metrics=("foreground_iou",),
    ),
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
