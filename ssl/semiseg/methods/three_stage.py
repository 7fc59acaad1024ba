"""Three-stage self-training (Ke et al. 2020): a supervised stage, then two that learn its pseudo-masks as a second task."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from semiseg.augment.perturbation import Perturbation
from semiseg.augment.randaugment import RandAugment
from semiseg.change import Change
from semiseg.config import Net, Train, require, require_choices
from semiseg.ema import Ema
from semiseg.losses import CrossEntropy, Loss
from semiseg.methods.rule import Method
from semiseg.methods.self_training import SelfTraining
from semiseg.methods.stage_train import StageTrain
from semiseg.methods.supervised import Supervised
from semiseg.stage import AS_BEFORE, Split, Stage

Part = Literal["S1", "S2", "S3", "CR", "T2", "SA", "N2"]


@dataclass(frozen=True, kw_only=True)
class ThreeStage(Method):
    """Hyper-parameters and switches of ke2020; `stages` says which training runs they ask for.

    Where the paper is silent or its authors' code (RK621) does something else, the field says which reading is the default.
    """

    S1: bool = True
    """Stage 1: cross-entropy on the labelled images (equation 2)."""
    S2: bool = True
    """Stage 2: consistency and the pseudo-masks of stage 1 (equation 4)."""
    S3: bool = True
    """Stage 3: consistency and the pseudo-masks of stage 2 (equation 5)."""
    CR: bool = True
    """Consistency regularisation L_con in stages 2 and 3 (equation 1)."""
    T2: bool = True
    """Stage 2's auxiliary task L_pl on the masks of stage 1 (equation 3); without it stage 2 learns from no stage."""
    SA: bool = True
    """Strong augmentation A, B in stages 2 and 3; off: unlabelled images are weakly augmented like labelled ones."""
    N2: bool = True
    """Stage 3's branch shares N-1 blocks (g~); off: N-2 as in stage 2 (g^)."""
    lambda1: float = 0.5
    """Weight of L_con (paper 4.2: 1/2 on Cityscapes; 1/4, 1/4, 5/4, 5/8 on VOC with 1/100, 1/50, 1/20, 1/8 of the labels)."""
    lambda2: float = 0.5
    """Weight of L_pl; the paper sets it equal to lambda1."""
    stages_total: int = 3
    """Stages of the full method; stage k >= 4 repeats stage 3 on the masks of stage k-1 (paper 4.3, last paragraph)."""
    target: Literal["hard", "soft"] = "hard"
    """The teacher's argmax (authors' code) or its probabilities as the target of L_con."""
    distance: Literal["ce", "mse"] = "ce"
    """d_c of L_con (paper 4.2: cross-entropy); "mse" needs soft targets."""
    ramp: float = 0.0
    """Share of a stage, of what follows its label-only steps, over which lambda1 ramps up as exp(-5(1-t)^2); paper and code: none."""
    label_only: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    """Share of each stage after the first, its first steps, without L_con (paper and code: none). L_pl stays: its masks come from a
    network that is trained."""
    threshold: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    """Pixels that the teacher gives a lower probability to every class do not count in L_con (paper and code: all do)."""
    pseudo_weight: Literal["none", "confidence", "uncertainty"] = field(default="none", metadata={AS_BEFORE: "none"})
    """w of every pixel of L_pl, a mean of w CE over the counted pixels, not normalised by the sum of w: 1; the probability that the
    network which made the mask gives its class; or 1 - H(p) / ln C of its probabilities p of C classes (section 5 names uncertainty
    weighting as an extension, without a formula)."""
    ramp2: float = field(default=0.0, metadata={AS_BEFORE: 0.0})
    """Share of a stage over which lambda2 ramps up as exp(-5(1-t)^2) (section 5 names warm-up, without a formula); paper and code:
    none."""
    mask_out_of_frame: bool = True
    """Leave the padding of weakly augmented crops out of L_con; the authors' code trains on the teacher's guess there."""
    ema: Ema = field(default_factory=lambda: Ema(decay=(0.99, 0.995, 0.9975, 0.999), start=(0.0, 1 / 3, 2 / 3, 5 / 6), warmup=True))
    """How the teacher follows, per step: decays from epochs 0, 20, 40 and 50 of 60, averaged BatchNorm statistics and mode eval as in the
    authors' code (the paper gives none); warm-up as in mean teacher's code, since here the network starts from random weights."""
    evaluate: Literal["teacher", "student"] = "teacher"
    """Which network of stages 2, 3, ... is reported (authors' code: the teacher; the paper writes f_theta). Both are scored."""
    masks_role: Literal["teacher", "student"] = "teacher"
    """Which network of the previous stage makes the pseudo-masks (authors' code: the teacher); stage 1 has only a student."""
    masks_weights: Literal["last", "best"] = "last"
    """Pseudo-masks from the last weights (authors' code) or from the best ones on the selection images."""
    perturbation: Perturbation = field(default_factory=RandAugment)
    """The operators A and B: RandAugment and Cutout (authors' code)."""
    objective: Loss = field(default_factory=CrossEntropy)
    """Loss of labelled pixels in every stage (paper 4.2, equation 2: cross-entropy)."""
    stage1: StageTrain = field(default_factory=StageTrain, metadata={AS_BEFORE: StageTrain()})
    """What stage 1 trains with (paper: as all stages; authors' code: fewer steps, which docs/paper_presets.md lists)."""
    stage2: StageTrain = field(default_factory=StageTrain, metadata={AS_BEFORE: StageTrain()})
    """What stage 2 trains with."""
    stage3: StageTrain = field(default_factory=StageTrain, metadata={AS_BEFORE: StageTrain()})
    """What stage 3 and those that repeat it train with."""

    IMAGE_LEVEL = False
    SWITCHES = get_args(Part)

    def __post_init__(self) -> None:
        require_choices(self, "method")
        for name in ("lambda1", "lambda2"):
            require(0 <= getattr(self, name) < math.inf, f"method.{name}", getattr(self, name), "a number >= 0")
        require(self.stages_total >= 3, "method.stages_total", self.stages_total, "a whole number >= 3")
        for name in ("ramp", "ramp2"):
            require(0 <= getattr(self, name) <= 1, f"method.{name}", getattr(self, name), "a share in [0, 1]")
        require(0 <= self.label_only < 1, "method.label_only", self.label_only, "a share in [0, 1)")
        require(0 <= self.threshold <= 1, "method.threshold", self.threshold, "a probability in [0, 1]")
        require(self.target == "soft" or self.distance == "ce", "method.distance", self.distance, "ce, as method.target is hard")

    def check_switches(self) -> None:
        """Raise SettingError for switches that make no chain of stages."""
        require(self.S1 or self.S2, "switches", self.switches(), "S1 or S2 at least")
        require(self.S2 or not self.S3, "switches", self.switches(), "S3 only together with S2")
        require(
            self.S1 or not self.T2 or not self.S2, "switches", self.switches(), "T2 only together with S1, whose masks it learns"
        )

    def stages(self, split: Split, net: Net, train: Train, seed: int) -> tuple[Stage, ...]:
        """The chain of stages of one seed; the last one is scored. Raises SettingError for switches that make no chain."""
        self.check_switches()

        def stage(name: str, number: int, rule: Supervised | SelfTraining, *teachers: Stage) -> Stage:
            own = (self.stage1, self.stage2, self.stage3)[min(number, 3) - 1].of(train)
            return Stage(name=name, number=number, rule=rule, split=split, net=net, train=own, seed=seed, teachers=teachers)

        chain: list[Stage] = []
        if self.S1:
            chain.append(stage("s1", 1, Supervised(objective=self.objective)))
        if self.S2:
            rule = self.rule(own=2, lambda2=self.lambda2 if self.T2 else 0.0, teacher_is_supervised=True)
            teachers = chain[:1] if rule.lambda2 > 0 else []
            chain.append(stage("s2" + self._suffix(("CR", "T2", "SA")), 2, rule, *teachers))
        if self.S3:
            for number in range(3, self.stages_total + 1):
                rule = self.rule(own=1 if self.N2 else 2, lambda2=self.lambda2, teacher_is_supervised=False)
                teachers = chain[-1:] if rule.lambda2 > 0 else []
                chain.append(stage(f"s{number}" + self._suffix(("CR", "T2", "SA", "N2")), number, rule, *teachers))
        return tuple(chain)

    def rule(self, *, own: int, lambda2: float, teacher_is_supervised: bool) -> SelfTraining:
        """The rule of a stage >= 2; what a switched-off term would need is set to a fixed value, so that it cannot change the
        key."""
        lambda1 = self.lambda1 if self.CR else 0.0
        learns_masks, consistent = lambda2 > 0, lambda1 > 0
        return SelfTraining(
            lambda1=lambda1,
            lambda2=lambda2,
            own=own if learns_masks else 0,
            perturbation=self.perturbation if self.SA else None,
            target=self.target if consistent else "hard",
            distance=self.distance if consistent else "ce",
            ramp=self.ramp if consistent else 0.0,
            label_only=self.label_only if consistent else 0.0,
            threshold=self.threshold if consistent else 0.0,
            mask_out_of_frame=self.mask_out_of_frame if consistent else True,
            ema=self.ema,
            evaluate=self.evaluate,
            masks_role=self.masks_role if learns_masks and not teacher_is_supervised else "student",
            masks_weights=self.masks_weights if learns_masks else "last",
            pseudo_weight=self.pseudo_weight if learns_masks else "none",
            ramp2=self.ramp2 if learns_masks else 0.0,
            objective=self.objective,
        )

    def switches(self) -> str:
        """The switches that are on, as an ablation table writes them."""
        return " ".join(name for name in self.SWITCHES if getattr(self, name))

    def with_switches(self, names: str) -> "ThreeStage":
        """This method with exactly the named switches on. Raises SettingError for an unknown name."""
        wanted = names.split()
        for name in wanted:
            require(name in self.SWITCHES, "switch", name, " ".join(self.SWITCHES))
        return replace(self, **{name: name in wanted for name in self.SWITCHES})

    def _suffix(self, names: tuple[str, ...]) -> str:
        return "".join(f"-{name}" for name in names if not getattr(self, name))


def parts(*on: Part) -> Change[ThreeStage]:
    """Of a table's row: the named switches on, all others off."""
    return Change(ThreeStage, {name: name in on for name in (*ThreeStage.SWITCHES, *on)})
