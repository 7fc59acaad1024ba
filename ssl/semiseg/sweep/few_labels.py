"""Presets of few labels that the systems share: pets from a pretrained encoder, and a mean teacher on heart MRI.

Their settings are chosen in development by analysis/choose_settings.py; the tables are in docs/evidence.
"""

from dataclasses import replace

from semiseg.augment import Gentle
from semiseg.config import Train
from semiseg.ema import Ema
from semiseg.losses import CrossEntropy, CrossEntropyDice
from semiseg.methods import DMT, MeanTeacher, OneWay, PseudoLabel, Supervised
from semiseg.nets import SMP
from semiseg.sweep.declaration import Preset
from semiseg.sweep.presets import ACDC, PETS_DATA, SHORT

FOLLOWS = Ema(decay=(0.98,), warmup=True)
"""A teacher of some hundred steps: it averages about the last 50."""
BOTH = CrossEntropyDice()

TUNED = Train(steps=400, batch_labelled=4, batch_unlabelled=4, learning_rate=1e-3, optimiser="adamw", weight_decay=0.01)
PETS_LITE0 = Preset(
    data=PETS_DATA,
    net=SMP(weights="lite0"),
    train=TUNED,
    method=SHORT,
    others=(Supervised(),),
)
"""Three-stage self-training of a U-Net on EfficientNet-Lite0 with ImageNet weights, 5 % of the labels."""
ONE_WAY_PETS = replace(PETS_LITE0, method=OneWay(objective=CrossEntropy(), ema=FOLLOWS))
MUTUAL = DMT(objective=CrossEntropy(), phase_epochs=5)
"""Phases as short as CPUs pay for, which no development run chose; what else is special to the method is the paper's."""
TEACHER_PETS = replace(
    PETS_LITE0,
    method=MeanTeacher(objective=CrossEntropy(), distance="dice", target="hard", draw="mixed", ema=FOLLOWS),
    others=(*PETS_LITE0.others, MUTUAL),
)
MUTUAL_PETS = replace(PETS_LITE0, method=MUTUAL, others=(*PETS_LITE0.others, PseudoLabel()))

ROTATED = Gentle(hue=0.0, saturation=(1.0, 1.0), blur=(0.0, 0.0), noise=0.01, noise_teacher=0.01, rotation=4.5)
"""perone2018: rotations of 4.5 degrees, noise of 0.01 drawn apart for student and teacher, no change of colour."""
TEACHER_ACDC = replace(
    ACDC,
    method=MeanTeacher(
        objective=BOTH,
        distance="bce",
        target="soft",
        weight=2.9,
        ramp=(0.0, 1.0),
        draw="mixed",
        perturbation=ROTATED,
        ema=replace(FOLLOWS, buffers="own", mode="train"),
        evaluate="teacher",
    ),
    others=(Supervised(objective=BOTH, perturbation=replace(ROTATED, noise_teacher=0.0)),),
)
"""A mean teacher on three patients; data, network and training are those of three-stage's preset acdc."""
