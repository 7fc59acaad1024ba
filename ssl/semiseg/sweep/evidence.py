"""Studies that decide the papers' claims: declared here, run and kept by analysis/evidence.py, shown by analysis/measured.py."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from semiseg.config import require

PATH = "PATH"
"""Stands in a command for the folder of its data set, as in the docs."""
OURS = ("--out", "--store", "--cache", "--ray.trials")
"""Flags that whoever runs the command adds."""
KEPT = "kept.json"
"""Beside the tables of a study that is kept: what it took."""
FINAL = "final"
"""Where a search leaves the comparison of its best configuration with the default."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A study and what it is to decide. SettingError for a command that cannot be run from the declaration alone."""

    claim: str
    """A sentence that the study finds true, false or undecided."""
    command: str
    """What a user types, from the root of the repository; PATH is the folder of the data."""
    data: str = ""
    """That folder's name among the folders of data sets; "": the built-in scenes."""
    hours: float
    """CPU hours that are planned."""
    printed: str
    """What the paper prints of it, with its place and unit; "nothing" where it is silent."""
    rows: tuple[str, ...] = ()
    """Rows whose difference from labels alone decides the claim (in a study without anchors, from the row that they are compared with);
    none: all that have one."""

    def __post_init__(self) -> None:
        words = shlex.split(self.command)
        script = words[1] if words[:1] == ["python"] and len(words) > 1 else ""
        require(script.startswith("sweeps/"), "command", self.command, "python sweeps/SCRIPT ...")
        require(
            (PATH in words) == bool(self.data), "data", self.data, f"a folder's name where the command has {PATH}, else nothing"
        )
        ours = [word for word in words if word.partition("=")[0] in OURS]
        require(not ours, "command", " ".join(ours), f"none of {', '.join(OURS)}")
        require(self.hours > 0, "hours", self.hours, "CPU hours > 0")

    @property
    def words(self) -> list[str]:
        """The script and what follows it."""
        return shlex.split(self.command)[1:]

    @property
    def search(self) -> bool:
        """Whether it searches settings; its numbers are those of the comparison at its end."""
        return self.words[0].startswith("sweeps/search_")


def folders(studies: Mapping[str, Evidence]) -> Mapping[str, Evidence]:
    """The studies. SettingError for a name that is no folder's."""
    for name in studies:
        require(bool(re.fullmatch(r"[a-z0-9_]+", name)), "name", name, "lower-case letters, digits and _")
    return studies


EVIDENCE: Mapping[str, Evidence] = folders(
    {
        "front_door": Evidence(
            claim="Every part of three-stage self-training earns its place, on the built-in scenes.",
            command="python sweeps/ablate_three_stage.py",
            hours=0.5,
            printed="ke2020, Table 3, Cityscapes with 100 labels: full 54.85, S1 46.91 (+7.94)",
        ),
        "three_stage_acdc": Evidence(
            claim="Three-stage self-training beats labels alone on heart MRI with three labelled patients, and each part earns its place.",
            command="python sweeps/ablate_three_stage.py --preset acdc --data.root PATH --vary both --until decided --budget 1.5h",
            data="acdc70",
            hours=1.5,
            printed="ke2020, Table 3, Cityscapes with 100 labels: full 54.85, S1 46.91 (+7.94)",
        ),
        "lambda_acdc": Evidence(
            claim="lambda1 = lambda2 = 1/2 is the best weight, on heart MRI.",
            command="python sweeps/sweep_lambda.py --preset acdc --data.root PATH --vary both --seeds 0 1 2 3 4 --anchors none",
            data="acdc70",
            hours=1,
            printed="ke2020, Figure 3, Cityscapes with 100 labels: 1/2 best, 1/4 about 2 and 1 about 1.5 below",
        ),
        "three_stage_pets": Evidence(
            claim="Three-stage self-training beats labels alone on pets with 5 % of the labels, from a pretrained encoder.",
            command='python sweeps/ablate_three_stage.py --preset pets-lite0 --data.root PATH --rows S1 "S1 + S2" full --vary both '
            "--until decided --budget 1.5h",
            data="oxford-iiit-pet",
            hours=1.5,
            printed="ke2020, Table 3, VOC with 212 labels: full 70.77, S1 55.20 (+15.57)",
        ),
        "mean_teacher_pets": Evidence(
            claim="A mean teacher beats labels alone on pets with 5 % of the labels, from a pretrained encoder.",
            command="python sweeps/compare_label_fractions.py --preset pets-lite0 --data.root PATH --vary both --until decided --budget 1h",
            data="oxford-iiit-pet",
            hours=1,
            printed="pets_mean_teacher, Table 2, IOU: 68.5 against 67.8 (+0.7) with 5 % of the labels",
        ),
        "mean_teacher_acdc": Evidence(
            claim="A mean teacher with the delayed transform beats labels alone on MRI, and an independent transform.",
            command="python sweeps/ablate_mean_teacher_mri.py --preset acdc --data.root PATH --vary both --until decided --budget 1h",
            data="acdc70",
            hours=1,
            printed="perone2018, Table 1, Dice: 70.21 against 67.92 (+2.29), spinal cord",
        ),
        "dmt_pets": Evidence(
            claim="DMT and pseudo-labels beat labels alone on pets with 5 % of the labels, with as many steps, from a pretrained encoder.",
            command="python sweeps/compare_dmt.py --preset pets-lite0 --data.root PATH --method.phase-epochs 1 --vary both --seeds 0 1 2 3 4",
            data="oxford-iiit-pet",
            hours=2,
            printed="feng2020_dmt, Table 1, IoU: Baseline 79.8, Pseudo-Label 81.4, DMT 82.3, Oracle 88.8",
        ),
        "one_way_pets": Evidence(
            claim="Consistency helps when the student sees the perturbed image and the teacher the clean one, not the other way round.",
            command="python sweeps/compare_consistency_directions.py --preset pets-lite0 --data.root PATH --vary both "
            "--until decided --budget 3h",
            data="oxford-iiit-pet",
            hours=3,
            printed="grubisic2021, Cityscapes 1/4: supervised 61.5, 1w-ps simple 65.3, 1w-pt simple 1.6, 2w-p1 16.7, 1w-p2 61.6",
        ),
        "one_way_again_pets": Evidence(
            claim="The two rows that came out ahead there, on labelled subsets and seeds of their own, beat labels alone.",
            command='python sweeps/compare_consistency_directions.py --preset pets-lite0 --data.root PATH --rows "1w-ps simple" "1w-ps MT" '
            "--vary both --seeds 20 21 22 --until decided --budget 1.5h",
            data="oxford-iiit-pet",
            hours=1.5,
            printed="grubisic2021, Cityscapes 1/4: supervised 61.5, 1w-ps simple 65.3",
        ),
        "search_acdc": Evidence(
            claim="What a search of 24 trials finds for the mean teacher on heart MRI beats its default on test, on seeds and labelled "
            "patients that the search has not seen.",
            command="python sweeps/search_mean_teacher.py --preset acdc --data.root PATH --trials 24 --search-subsets 0 1 2 --pick best "
            "--vary both --seeds 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 --anchors none",
            data="acdc70",
            hours=1.2,
            printed="nothing",
        ),
        "search_full_acdc": Evidence(
            claim="A search of the mean teacher on heart MRI that stops no trial early, on six labelled subsets, finds what beats the "
            "default on test, on seeds and labelled patients that no study has seen.",
            command="python sweeps/search_mean_teacher.py --preset acdc --data.root PATH --trials 24 --pruner none "
            "--search-seeds 0 1 2 3 4 5 --search-subsets 0 1 2 3 4 5 --pick best --vary both --seeds "
            + " ".join(map(str, range(30, 70)))
            + " --anchors none",
            data="acdc70",
            hours=2.5,
            printed="nothing",
        ),
        "longer_scenes": Evidence(
            claim="Stage 2 gains from more steps, on the built-in scenes; with few of them pseudo-masks are too poor to learn from.",
            command='python sweeps/ablate_three_stage.py --rows "S1 + S2" "3 x the steps=S1 S2 CR T2 SA train.steps=1050" '
            '"10 x the steps=S1 S2 CR T2 SA train.steps=3500" "labels alone, as many=S1 train.steps=700" '
            '"labels alone, 3 x=S1 train.steps=2100" "labels alone, 10 x=S1 train.steps=7000" --vary both --seeds 0 1 2',
            hours=0.6,
            printed="nothing",
        ),
        "three_stage_longer_scenes": Evidence(
            claim="With three times the steps of the front door three-stage self-training beats labels alone of as many, on the built-in "
            "scenes, on labelled subsets and seeds of its own.",
            command='python sweeps/ablate_three_stage.py --rows S1 "S1 + S2" full --train.steps 1050 --vary both '
            "--seeds 20 21 22 23 24 25 26 27",
            hours=0.8,
            printed="ke2020, Table 3, Cityscapes with 100 labels: full 54.85, S1 46.91 (+7.94)",
        ),
        "longer_mean_teacher_acdc": Evidence(
            claim="A mean teacher on heart MRI catches up with labels alone when it has more steps; with few of them its teacher is too poor.",
            command='python sweeps/ablate_mean_teacher_mri.py --preset acdc --data.root PATH --rows "mean teacher" '
            '"3 x the steps=mean_teacher train.steps=1800" "10 x the steps=mean_teacher train.steps=6000" supervised '
            '"labels alone, 3 x=supervised train.steps=1800" "labels alone, 10 x=supervised train.steps=6000" '
            "--vary both --seeds 0 1 2 --anchors none",
            data="acdc70",
            hours=1.2,
            printed="nothing",
        ),
    }
)
"""In the order in which they are run."""
