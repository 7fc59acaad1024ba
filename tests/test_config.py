"""Settings refuse what cannot be used, naming field, value and what is allowed."""

from typing import Any

import pytest

from semiseg.augment import Chain, CutMix, Cutout, RandAugment
from semiseg.config import Data, SettingError, Train, Weak
from semiseg.ema import Ema
from semiseg.methods import ThreeStage
from semiseg.nets import UNet


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (Data, {"labelled": 0}, r"data.labelled: got 0; allowed: a count >= 1, a share in \(0, 1\]"),
        (Data, {"labelled": 2.5}, "data.labelled: got 2.5"),
        (Data, {"size": (4, 64)}, r"data.size: got \(4, 64\); allowed: height and width of at least 8 pixels, or 'native'"),
        (Data, {"selection": 0}, "data.selection: got 0"),
        (Data, {"classes": ("a", "a")}, "data.classes: .*distinct names"),
        (UNet, {"width": 0}, "net.width: got 0; allowed: a whole number >= 1"),
        (UNet, {"depth": 7}, "net.depth: got 7; allowed: a whole number in 1..6"),
        (Train, {"steps": -1}, "train.steps: got -1; allowed: a whole number >= 0"),
        (Train, {"batch_labelled": 0}, "train.batch_labelled: got 0"),
        (Train, {"batch_unlabelled": -1}, "train.batch_unlabelled: got -1; allowed: a whole number >= 0"),
        (Train, {"evaluations": 0}, "train.evaluations: got 0"),
        (Train, {"learning_rate": 0.0}, "train.learning_rate: got 0.0; allowed: a number > 0"),
        (Train, {"learning_rate": float("nan")}, "train.learning_rate: got nan"),
        (Train, {"learning_rate": float("inf")}, "train.learning_rate: got inf"),
        (ThreeStage, {"lambda1": float("inf")}, "method.lambda1: got inf"),
        (Train, {"weight_decay": -0.1}, "train.weight_decay: got -0.1"),
        (Weak, {"flip": 1.1}, "train.weak.flip: got 1.1"),
        (Weak, {"vertical_flip": -0.1}, r"train.weak.vertical_flip: got -0.1; allowed: a probability in \[0, 1\]"),
        (Weak, {"rot90": 2}, "train.weak.rot90: got 2"),
        (Weak, {"rotation": 181}, r"train.weak.rotation: got 181; allowed: degrees in \[0, 180\]"),
        (Weak, {"either": 0.0}, r"train.weak.either: got 0.0; allowed: a probability in \(0, 1\] or None"),
        (Weak, {"scale": (1.2, 0.8)}, r"train.weak.scale: got \(1.2, 0.8\); allowed: two numbers, 0 < low <= high"),
        (Train, {"crop": (4, 32)}, "train.crop: got"),
        (Train, {"metrics": ("ece", "ece")}, r"train.metrics: got \('ece', 'ece'\); allowed: distinct names"),
        (Train, {"window_overlap": 20}, "train.window_overlap: got 20; allowed: a multiple of 32, or 0"),
        (Train, {"window_overlap": -32}, "train.window_overlap: got -32"),
        (
            Train,
            {"sliding_window": (512, 128)},
            r"train.sliding_window: got \(512, 128\); allowed: height and width, multiples of 32 above twice train.window_overlap \(128\)",
        ),
        (Train, {"sliding_window": (200, 256), "window_overlap": 32}, r"train.sliding_window: got \(200, 256\)"),
        (RandAugment, {"ops": -1}, "randaugment.ops: got -1"),
        (RandAugment, {"probability": 2}, "randaugment.probability: got 2"),
        (RandAugment, {"levels": (3, 11)}, "randaugment.levels: got"),
        (RandAugment, {"translate": 1.0}, "randaugment.translate: got 1.0"),
        (RandAugment, {"cutouts": -1}, "randaugment.cutouts: got -1"),
        (RandAugment, {"cutout_size": 1.5}, "randaugment.cutout_size: got 1.5"),
        (CutMix, {"area": (0.6, 0.5)}, r"cutmix.area: got \(0.6, 0.5\); allowed: two shares in \[0, 1\], low <= high"),
        (Cutout, {"area": (0.5, 1.5)}, "cutout.area: got"),
        (Chain, {"steps": ()}, r"chain.steps: got \(\); allowed: at least one perturbation"),
        (Ema, {"decay": (2.0,)}, r"ema.decay: got \(2.0,\); allowed: decays in \[0, 1\]"),
        (Ema, {"decay": (0.9, 0.99)}, r"ema.start: got \(0.0,\); allowed: ascending shares from 0.0, as many as ema.decay"),
        (Ema, {"decay": (0.9, 0.99), "start": (0.1, 0.5)}, "ema.start: got"),
        (Ema, {"decay": (0.9, 0.99, 0.999), "start": (0.0, 0.6, 0.5)}, "ema.start: got"),
        (Ema, {"decay": (1.0,)}, "ema.decay: got .*would never be updated"),
    ],
)
def test_a_value_out_of_range_is_refused(kind: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        kind(**changes)


@pytest.mark.parametrize(
    ("kind", "name", "prefix"),
    [
        *((Train, name, "train") for name in ("decay", "precision", "weights")),
        *((ThreeStage, name, "method") for name in ("target", "evaluate", "masks_role")),
        *((Ema, name, "ema") for name in ("every", "buffers", "mode")),
        (ThreeStage, "masks_weights", "method"),
        (Weak, "scale_law", "train.weak"),
    ],
)
def test_a_misspelt_choice_is_refused_where_it_is_written(kind: Any, name: str, prefix: str) -> None:
    """tyro guards the command line; a preset in a script, or a search space, is guarded by nobody else."""
    with pytest.raises(SettingError, match=f"{prefix}.{name}: got 'oops'"):
        kind(**{name: "oops"})


def test_a_teacher_that_would_never_see_a_batch_statistic_is_refused() -> None:
    """Left to its own forward passes, a teacher in evaluation mode keeps BatchNorm's initial mean 0 and variance 1 (methods.md
    1.5)."""
    with pytest.raises(SettingError, match=r"ema\.(buffers|mode): got"):
        Ema(buffers="own", mode="eval")
    assert Ema(buffers="own", mode="train")
