"""Presets that several tables share, so that their stages are the same ones."""

from dataclasses import replace

from semiseg.augment import RandAugment
from semiseg.config import Data, Train, Weak
from semiseg.ema import Ema
from semiseg.losses import CrossEntropy, CrossEntropyDice, Dice
from semiseg.methods import DMT, MeanTeacher, PseudoLabel, Supervised, ThreeStage
from semiseg.nets import DeepLabV2, UNet
from semiseg.sweep.declaration import Preset

# From random weights, in hundreds of steps: the teacher must follow faster than over the paper's 60,000 steps (0.98 averages about
# the last 50), and has nothing to say at first, so lambda1 ramps up. Everything else of the method is the default.
SHORT = ThreeStage(ema=Ema(decay=(0.98,), warmup=True), ramp=0.6)

SCENES = Train(steps=350, batch_labelled=4, batch_unlabelled=4, learning_rate=1e-2, warmup=0.1, crop=(48, 48))
"""Training on the built-in scenes; steps and crops by what five seeds of a seven-row table may cost on two cores, rate and warm-up by
docs/evidence/settings_demo-stages.md."""

# Few labels of real images, at sizes where a stage takes about a minute of one core; in fp32, as on every CPU.
ACDC_DATA = Data(name="acdc", labelled=42, size=(64, 64))
"""42 slices are those of 3 of the patients, as groups stay whole (in few draws 2 or 4)."""
PETS_DATA = Data(name="oxford_pets", labelled=0.05, size=(64, 64))
STREET_DATA = Data(name="camvid", labelled=36, size=(96, 128))
FEW_NET = UNet(width=16)
FEW = Train(steps=600, batch_labelled=4, batch_unlabelled=4, learning_rate=5e-3)
"""What choices of settings begin with (analysis/choose_settings.py)."""
TURNED = Weak(scale=(1.0, 1.0), flip=1.0, rot90=0.75, rotation=20.0, either=0.5)
"""The augmentation of SSL4MIS."""

# Training on labels alone is chosen by docs/evidence/settings_acdc.md, loss and terms of the later stages by settings_acdc-stages.md:
# those of SHORT stood.
ACDC = Preset(
    data=replace(ACDC_DATA, normalise="percentile", normalise_over="group"),
    net=FEW_NET,
    train=replace(FEW, learning_rate=1e-3, weak=TURNED),
    method=replace(SHORT, objective=CrossEntropyDice()),
    seeds=(0, 1),
)
# Labels alone likewise by docs/evidence/settings_pets.md and settings_street.md; later stages are not chosen.
PETS = Preset(data=PETS_DATA, net=FEW_NET, train=FEW, method=replace(SHORT, objective=Dice()), seeds=(0, 1))
STREET = Preset(data=STREET_DATA, net=FEW_NET, train=FEW, method=replace(SHORT, objective=Dice()), seeds=(0, 1))

# ke2020 where it speaks (4.2: its section 4.2), otherwise its authors' code (RK621); docs/paper_presets.md has every value's
# source.
DEEPLAB = DeepLabV2(  # 4.2: on ResNet-101
    weights="imagenet",  # 4.2
    frozen_norm=True,  # code
    caffe_stride=True,  # code
    aspp_branches=4,  # DeepLabv2 as published; the code sums 2 of the 4 (deeplab2.py:126-130)
    aux_width="half",  # code (deeplab2.py:158-166), as are the next two; the paper says "free parameters"
    aux_init="normal",
    aux_dummy=True,
)
FINE_TUNED = Train(
    steps=60_000,  # of every stage; code: stage 1 takes 20,000 on Cityscapes and 10,000 on VOC
    learning_rate=3e-5,  # 4.2, of Adam
    backbone_rate=0.1,  # code (main.py:96-99): 3e-6 for the pretrained layers, of which the paper does not speak
    decay="constant",  # code
    weak=Weak(flip=0.5),  # 4.2: at random; code: half of the images
    evaluations=60,  # code: every epoch of 1,000 steps, of which the best is reported
)
CITYSCAPES = Preset(
    # 4.1: half size. The code chooses and reports on the same 500 images of val; we choose on 100 carved out of the 2,975 of train
    data=Data(name="cityscapes", labelled=100, size=(512, 1024), selection=100),
    net=DEEPLAB,
    # 4.2: crops, flips and no scale, 1 labelled image of 5 (code: stage 1 takes 4, ours 5)
    train=replace(
        FINE_TUNED, batch_labelled=1, batch_unlabelled=4, crop=(256, 512), weak=replace(FINE_TUNED.weak, scale=(1.0, 1.0))
    ),
    method=ThreeStage(
        lambda1=0.5,  # 4.2
        lambda2=0.5,
        mask_out_of_frame=False,  # code (main.py:164-175)
        ema=replace(ThreeStage().ema, warmup=False),  # code; its decays of epochs 0, 20, 40 and 50 of 60 are the defaults
    ),
)
VOC = Preset(
    data=Data(name="voc_aug", labelled=212, selection=200),  # 1/50 of 10,582; images keep their sizes
    net=DEEPLAB,
    # 4.2: crops of 321, random scales, 1 labelled image of 10; code: out of 0.5, 0.6 ... 1.5 (here any between)
    train=replace(
        FINE_TUNED, batch_labelled=1, batch_unlabelled=9, crop=(321, 321), weak=replace(FINE_TUNED.weak, scale=(0.5, 1.5))
    ),
    method=ThreeStage(
        lambda1=0.25,  # 4.2, for 1/100 and 1/50
        lambda2=0.25,
        mask_out_of_frame=False,
        ema=replace(ThreeStage().ema, warmup=False),
        perturbation=RandAugment(translate=10 / 321, cutout_size=32 / 321),  # code: in pixels, whatever the crop
    ),
)
VOC_COCO = replace(VOC, net=replace(DEEPLAB, weights="coco"))  # 4.2: second scheme, of Table 3, Figure 3 and Table 2's second half

THREE_STAGE = {
    "demo": Preset(
        method=replace(SHORT, objective=CrossEntropyDice()), net=UNet(width=8), train=SCENES, seeds=(0, 1, 2, 3, 4)
    ),  # the loss by docs/evidence/settings_demo-stages.md
    "small": Preset(
        method=SHORT,
        net=UNet(width=16),
        train=Train(steps=600, batch_labelled=4, batch_unlabelled=4, learning_rate=5e-3),
        seeds=(0, 1),
    ),
    "acdc": ACDC,
    "acdc-7": replace(ACDC, data=replace(ACDC.data, labelled=120)),  # of 7 patients
    "pets": PETS,
    "street": STREET,
    "paper": CITYSCAPES,
    "paper-voc": VOC,
    "paper-voc-coco": VOC_COCO,
}
"""Of ke2020: built-in scenes, real images on a laptop, few labels of real images, and the paper's own two data sets, the second one
from either kind of weights."""

MEAN_TEACHER = {
    # three methods on the same ground: one loss of labelled pixels, a teacher that follows within hundreds of steps
    "demo": Preset(
        method=MeanTeacher(objective=CrossEntropy(), distance="kl", target="soft", ema=Ema(decay=(0.98,), warmup=True)),
        others=(DMT(phase_epochs=2),),
        net=UNet(width=8),
        train=Train(steps=600, batch_labelled=4, batch_unlabelled=12, learning_rate=5e-3, evaluations=10),
        seeds=(0, 1),
    ),
    # pets_mean_teacher's losses, batch of 32, constant rate and scoring; a smaller network and fewer steps
    "pets": Preset(
        data=Data(name="oxford_pets", size=(64, 64)),
        method=MeanTeacher(ema=Ema(decay=(0.7,), every="epoch")),
        others=(Supervised(objective=Dice()), DMT(phase_epochs=5)),
        net=UNet(width=8),
        train=Train(
            steps=600,
            batch_labelled=8,
            batch_unlabelled=24,
            learning_rate=1e-3,
            decay="constant",
            evaluations=20,
            score="foreground_iou",
        ),
        seeds=(0, 1),
    ),
    # pets_mean_teacher; its DMT curve is another paper's, with other settings: compare_dmt.py --preset paper
    "paper": Preset(
        data=Data(name="oxford_pets", size=(64, 64)),
        # the other defaults are the paper's too; a = 0.9 of the teacher is ours, which the paper does not give
        method=MeanTeacher(ramp=(8, 33), ramp_unit="epoch"),
        others=(Supervised(objective=Dice()), DMT()),  # augmentation is read as the student of mean teacher's alone
        net=UNet(width=64, depth=3),
        train=Train(
            steps=100 * 161,  # 100 epochs of 5,146 training images in batches of 32
            batch_labelled=8,  # only the sum matters: drawn from labelled and unlabelled images alike
            batch_unlabelled=24,
            learning_rate=1e-3,
            decay="constant",
            weak=Weak(scale=(1.0, 1.0), flip=0.0),  # no geometric augmentation
            evaluations=20,  # every 5th epoch
            score="foreground_iou",
        ),
        vary="training",  # 2.1: a static order of labels
    ),
}
"""Of pets_mean_teacher: three methods on the built-in scenes, pets on a laptop, and the paper's own set-up."""

ONLINE = DMT(
    masks="online",  # 4.2: "online self-training"
    scope="batch",  # what masks made online can be ranked within
    ranking="global",  # 2.3: "direct ranking"
    reduction="separate",  # equations 3 and 5
    pseudo_on="unlabelled",  # algorithm 1, lines 7 and 8
)
"""Mutual training as feng2020_dmt writes it; its other defaults are the paper's too."""
DST_CBC = DMT(
    alpha=0.8,
    teacher_first="a",
    update="symmetric",
    ranking="class",
    scope="dataset",
    reduction="pooled",
    masks="phase",
    pseudo_on="unlabelled",
)
"""Mutual training as the code does it that feng2020_dmt builds on."""
MUTUAL_PAPER = Preset(
    data=Data(
        name="oxford_pets", labelled=0.1, size=(64, 64), variant=("split_feng2020_dmt",)
    ),  # size: pets_mean_teacher's, as feng2020_dmt gives none
    method=ONLINE,
    others=(PseudoLabel(pseudo_on="unlabelled"),),
    net=UNet(width=64, depth=3),  # "U-Net": width and depth are pets_mean_teacher's
    train=Train(
        steps=10_000,  # of pretraining; "10,000 epochs" would be 180,000 steps of 18 batches
        batch_labelled=3,  # 32 in all, such that 558 labelled and 5,027 others last for about as many batches: 186 and 174
        batch_unlabelled=29,
        optimiser="sgd",
        betas=(0.9, 0.999),  # the first is the momentum
        learning_rate=0.004,
        weight_decay=5e-4,  # code, as the paper follows its defaults
        decay="poly",
        weak=Weak(scale=(0.5, 1.5), flip=0.5),  # code; the paper names no augmentation
        score="foreground_iou",
    ),
    seeds=(0, 1, 2),  # DMT's 3 runs; the others have 5
    vary="training",  # of the published split, whose labelled images are the same in all runs
)
MUTUAL = {
    "demo": Preset(
        data=Data(labelled=0.1),
        method=DMT(phase_epochs=5),
        others=(PseudoLabel(),),
        net=UNet(width=8),
        train=Train(steps=700, batch_labelled=4, batch_unlabelled=12, learning_rate=5e-3),
    ),
    "pets": Preset(
        data=Data(name="oxford_pets", labelled=0.1, size=(64, 64)),
        method=DMT(),
        others=(PseudoLabel(),),
        net=UNet(width=8),
        train=Train(steps=600, batch_labelled=4, batch_unlabelled=12, learning_rate=5e-3, score="foreground_iou"),
        seeds=(0, 1),
    ),
    "paper": MUTUAL_PAPER,
    "paper-dst-cbc": replace(
        MUTUAL_PAPER,
        method=DST_CBC,
        train=replace(MUTUAL_PAPER.train, batch_labelled=8, batch_unlabelled=24),  # a quarter, as its 2 + 6 on Cityscapes
    ),
}
"""Of feng2020_dmt: built-in scenes, pets on a laptop, the report as it is written, and the code that it builds on."""
SHORT_MUTUAL = {
    "demo": replace(
        MUTUAL["demo"], method=DMT(phase_epochs=2), train=replace(MUTUAL["demo"].train, steps=300, evaluations=4), seeds=(0, 1)
    ),
    "pets": replace(MUTUAL["pets"], method=DMT(phase_epochs=5)),
    "paper": MUTUAL_PAPER,
}
"""The same with shorter phases, where many rows train on a laptop."""
