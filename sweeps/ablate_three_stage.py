"""Which part of three-stage self-training earns its place? Table 3 of ke2020 (Ke et al.), rerun on your data.

The seven rows drop stage 3, stages 2 and 3, consistency (CR), stage 2's pseudo-mask task (T2), strong augmentation (SA) or the
wider sharing of stage 3's branch (N2). On the built-in scenes with 8 labelled images, 5 seeds take 60 distinct stages, those of
anchors among them (about 9 minutes on 2 CPU cores); --until decided adds seeds. The README has the numbers.

    python sweeps/ablate_three_stage.py
    python sweeps/ablate_three_stage.py --preset small --data.name camvid --data.root PATH
    python sweeps/ablate_three_stage.py --preset paper --dry-run
    python sweeps/ablate_three_stage.py --preset paper-voc-coco --data.root VOCdevkit --net.weights coco.pth
"""

import sys

from semiseg.change import Row
from semiseg.methods.three_stage import parts
from semiseg.sweep.command import main
from semiseg.sweep.declaration import Ablation, Paper
from semiseg.sweep.few_labels import PETS_LITE0
from semiseg.sweep.presets import THREE_STAGE

TABLE = Ablation(
    name="three_stage",
    title="Three-stage self-training, ablated",
    question="Which part of three-stage self-training (Ke et al. 2020, Table 3) earns its place?",
    rows={
        "S1": Row(parts("S1")),
        "S1 + S2": Row(parts("S1", "S2", "CR", "T2", "SA")),
        "full without CR": Row(parts("S1", "S2", "S3", "T2", "SA", "N2")),
        "full without T2": Row(parts("S1", "S2", "S3", "CR", "SA", "N2")),
        "full without SA": Row(parts("S1", "S2", "S3", "CR", "T2", "N2")),
        "full without N2": Row(parts("S1", "S2", "S3", "CR", "T2", "SA")),
        "full": Row(parts("S1", "S2", "S3", "CR", "T2", "SA", "N2")),
    },
    reference="full",
    baseline="S1",
    presets=THREE_STAGE | {"pets-lite0": PETS_LITE0},
    paper=Paper(
        title="A Three-Stage Self-Training Framework for Semi-Supervised Semantic Segmentation",
        url="https://arxiv.org/abs/2012.00827",
        table="Table 3",
        columns=("Cityscapes, 100 labels", "VOC, 212 labels"),
        rows={
            "S1": (46.91, 55.20),
            "S1 + S2": (53.25, 68.50),
            "full without CR": (50.2, 59.82),
            "full without T2": (52.63, 68.21),
            "full without SA": (47.96, 64.37),
            "full without N2": (53.80, 69.52),
            "full": (54.85, 70.77),
        },
    ),
)

if __name__ == "__main__":
    sys.exit(main(TABLE))
