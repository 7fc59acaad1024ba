"""Settings refuse what cannot be used, naming field, value and what is allowed."""

from typing import Any

import pytest

from semiseg.config import Data, SettingError, Strong, Train
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
        (Train, {"flip": 1.1}, "train.flip: got 1.1"),
        (Train, {"scale": (1.2, 0.8)}, r"train.scale: got \(1.2, 0.8\); allowed: two numbers, 0 < low <= high"),
        (Train, {"crop": (4, 32)}, "train.crop: got"),
        (Strong, {"ops": -1}, "strong.ops: got -1"),
        (Strong, {"probability": 2}, "strong.probability: got 2"),
        (Strong, {"levels": (3, 11)}, "strong.levels: got"),
        (Strong, {"translate": 1.0}, "strong.translate: got 1.0"),
        (Strong, {"cutouts": -1}, "strong.cutouts: got -1"),
        (Strong, {"cutout_size": 1.5}, "strong.cutout_size: got 1.5"),
    ],
)
def test_a_value_out_of_range_is_refused(kind: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        kind(**changes)


@pytest.mark.parametrize(
    ("kind", "name", "prefix"),
    [
        *((Train, name, "train") for name in ("decay", "precision", "weights")),
        *((ThreeStage, name, "method") for name in ("target", "ema_buffers", "teacher_mode", "evaluate", "masks_role")),
        (ThreeStage, "masks_weights", "method"),
    ],
)
def test_a_misspelt_choice_is_refused_where_it_is_written(kind: Any, name: str, prefix: str) -> None:
    """tyro guards the command line; a preset in a script, or a search space, is guarded by nobody else."""
    with pytest.raises(SettingError, match=f"{prefix}.{name}: got 'oops'"):
        kind(**{name: "oops"})


def test_a_teacher_that_would_never_see_a_batch_statistic_is_refused() -> None:
    """Left to its own forward passes, a teacher in evaluation mode keeps BatchNorm's initial mean 0 and variance 1 (methods.md
    1.5)."""
    with pytest.raises(SettingError, match=r"method\.(ema_buffers|teacher_mode): got"):
        ThreeStage(ema_buffers="own", teacher_mode="eval")
