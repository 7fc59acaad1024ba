"""What programs and notebooks may rely on: declare a table, run it, read its results.

`docs/api.md` shows how, `docs/api.txt` lists every name with its signature, and tests hold both to what is here. Classes of
methods, networks, perturbations and losses are imported from the packages of their registries (`semiseg.methods`, `semiseg.nets`,
`semiseg.augment`, `semiseg.losses`) and are as public. Importing this loads neither torch nor ray.
"""

from semiseg.api.reading import study_numbers, study_scores
from semiseg.api.running import Options, RunError, plan_study, run_study
from semiseg.augment import PERTURBATIONS
from semiseg.change import Change, Row, change, within
from semiseg.config import Data, SettingError, Train, Weak
from semiseg.data import DATASETS
from semiseg.ema import Ema
from semiseg.losses import DISTANCES, LOSSES
from semiseg.measures import METRICS
from semiseg.methods import METHODS
from semiseg.methods.three_stage import parts
from semiseg.nets import NETS
from semiseg.report import text_table, write_report
from semiseg.results import Results, read
from semiseg.results.records import ReportOptions
from semiseg.sweep.declaration import Ablation, Curve, Paper, Preset, Quick, spreads
from semiseg.sweep.effects import Effects
from semiseg.sweep.resources import Ray

__all__ = [
    "DATASETS",
    "DISTANCES",
    "LOSSES",
    "METHODS",
    "METRICS",
    "NETS",
    "PERTURBATIONS",
    "Ablation",
    "Change",
    "Curve",
    "Data",
    "Effects",
    "Ema",
    "Options",
    "Paper",
    "Preset",
    "Quick",
    "Ray",
    "ReportOptions",
    "Results",
    "Row",
    "RunError",
    "SettingError",
    "Train",
    "Weak",
    "change",
    "parts",
    "plan_study",
    "read",
    "run_study",
    "spreads",
    "study_numbers",
    "study_scores",
    "text_table",
    "within",
    "write_report",
]
