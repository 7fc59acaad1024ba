"""Presets that several tables share, so that their stages are the same ones."""

from semiseg.config import Net, Train
from semiseg.methods import ThreeStage
from semiseg.sweep.ablation import Preset

# From random weights, in hundreds of steps: the teacher must follow faster than over the paper's 60,000 steps (0.98 averages about
# the last 50), and has nothing to say at first, so lambda1 ramps up. Everything else of the method is the default.
SHORT = ThreeStage(ema_decay=(0.98,), ema_start=(0.0,), ramp=0.6)

SCENES = Train(steps=700, batch_labelled=4, batch_unlabelled=4, learning_rate=5e-3)
"""Training on the built-in scenes: 3 seeds of a seven-row table take minutes on two cores."""

THREE_STAGE = {
    "demo": Preset(method=SHORT, net=Net(width=8), train=SCENES),
    "small": Preset(
        method=SHORT,
        net=Net(width=16),
        train=Train(steps=600, batch_labelled=4, batch_unlabelled=4, learning_rate=5e-3),
        seeds=(0, 1),
    ),
}
"""Of paper 004: built-in scenes, and real images on a laptop."""
