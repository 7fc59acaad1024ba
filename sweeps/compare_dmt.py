"""Does dynamic mutual training beat plain pseudo-labels, and how long should its phases be? Table 1 and Figure 1 left of
feng2020_dmt.

Baseline (10 % of the labels), Pseudo-Label (Lee 2013), DMT, and Oracle (all labels); then DMT with 5, 10, 20 and 30 epochs a
phase. All start from the same labelled images; DMT trains two models through five phases, so it takes many more steps than the
baseline, as in the paper. On the built-in scenes, with 5 epochs a phase and 3 seeds, about 8 minutes on 2 CPU cores.

    python sweeps/compare_dmt.py
    python sweeps/compare_dmt.py --preset pets --data.root PATH
    python sweeps/compare_dmt.py --preset paper --dry-run
"""

import sys

from semiseg.change import Row, change
from semiseg.config import Data, Train, Weak
from semiseg.methods import DMT, PseudoLabel, Supervised
from semiseg.nets import UNet
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation, Curve, Paper, Preset, Quick, spreads

EPOCHS: dict[float, str] = {epochs: f"DMT, {epochs} epochs a phase" for epochs in (5, 10, 20, 30)}

TABLE = Ablation(
    name="dmt",
    title="Dynamic mutual training against pseudo-labels",
    question="Does dynamic mutual training beat plain pseudo-labels, and how long should its phases be (feng2020_dmt, Table 1, Figure 1)?",
    rows={
        "Baseline": Row(change(Supervised)),
        "Pseudo-Label": Row(change(PseudoLabel)),
        "DMT": Row(change(DMT)),
        "Oracle": Row(change(Supervised), change(Data, labelled="all")),
    }
    | {name: Row(change(DMT, phase_epochs=epochs)) for epochs, name in EPOCHS.items()},
    reference="Baseline",
    against={},
    metrics=("miou", "foreground_iou", "accuracy"),
    presets={
        "demo": Preset(
            data=Data(labelled=0.1),
            method=DMT(phase_epochs=5),
            others=(PseudoLabel(),),
            net=UNet(width=8),
            train=Train(steps=700, batch_labelled=4, batch_unlabelled=12, learning_rate=5e-3),
            rows=("Baseline", "Pseudo-Label", "DMT", "Oracle"),
        ),
        "pets": Preset(
            data=Data(name="oxford_pets", labelled=0.1, size=(64, 64)),
            method=DMT(),
            others=(PseudoLabel(),),
            net=UNet(width=8),
            train=Train(steps=600, batch_labelled=4, batch_unlabelled=12, learning_rate=5e-3, score="foreground_iou"),
            seeds=(0, 1),
        ),
        # feng2020_dmt, and where it is silent the code that it builds on (DST-CBC)
        "paper": Preset(
            data=Data(
                name="oxford_pets", labelled=0.1, size=(64, 64), variant=("split_feng2020_dmt",)
            ),  # size: pets_mean_teacher's, as feng2020_dmt gives none
            method=DMT(),  # its defaults are the paper's
            others=(PseudoLabel(),),
            net=UNet(width=64, depth=3),  # "U-Net": width and depth are pets_mean_teacher's
            train=Train(
                steps=10_000,  # of pretraining; "10,000 epochs" would be 180,000 steps of 18 batches
                batch_labelled=3,  # 32 in all, such that 558 labelled and 5,585 images last for about as many batches: 186 and 193
                batch_unlabelled=29,
                optimiser="sgd",
                betas=(0.9, 0.999),  # the first is the momentum
                learning_rate=0.004,
                weight_decay=5e-4,  # code
                decay="poly",
                weak=Weak(scale=(0.5, 1.5), flip=0.5),  # code; the paper names no augmentation
                score="foreground_iou",
            ),
            seeds=(0, 1, 2),  # DMT's 3 runs; the others have 5
        ),
    },
    quick=Quick(
        train=change(Train, steps=6, evaluations=1),
        methods=(change(DMT, phase_epochs=0.1, phases=(0.5, 1.0)),),
        rows=("Baseline", "Pseudo-Label", "DMT", "Oracle"),
        seeds=1,
    ),
    curve=Curve(x="epochs per phase", series={"DMT": EPOCHS}, levels=("Baseline", "Pseudo-Label", "Oracle")),
    paper=Paper(
        title="Dynamic Mutual Training - A Self-Supervised Semantic Segmentation Framework for Robust Pseudo Noise Handling",
        table="Table 1, Oxford-IIIT Pets, 10 % of the labels",
        columns=("IoU",),
        rows={"Baseline": (79.8,), "Pseudo-Label": (81.4,), "DMT": (82.3,), "Oracle": (88.8,)},
        spreads={"DMT": spreads("se", 3, 0.2), "Oracle": spreads("se", 5, 0.1)}
        | dict.fromkeys(("Baseline", "Pseudo-Label"), spreads("se", 5, 0.2)),
    ),
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
