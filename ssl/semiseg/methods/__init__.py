"""Published methods by name; each is a frozen dataclass of hyper-parameters that says which stages it trains."""

from collections.abc import Mapping

from semiseg.methods.dmt import DMT
from semiseg.methods.mean_teacher import MeanTeacher
from semiseg.methods.one_way import OneWay
from semiseg.methods.pseudo_label import PseudoLabel
from semiseg.methods.rule import Method
from semiseg.methods.supervised import Supervised
from semiseg.methods.three_stage import ThreeStage

METHODS: Mapping[str, type[Method]] = {
    "supervised": Supervised,
    "mean_teacher": MeanTeacher,
    "pseudo_label": PseudoLabel,
    "dmt": DMT,
    "one_way": OneWay,
    "three_stage": ThreeStage,
}


def name_of(method: Method) -> str:
    """The name under which the method's class is registered, or that of the class itself."""
    return next((name for name, kind in METHODS.items() if kind is type(method)), type(method).__name__)
