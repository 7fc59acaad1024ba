"""Published methods by name; each is a frozen dataclass of hyper-parameters that says which stages it trains."""

from collections.abc import Mapping

from semiseg.methods.three_stage import ThreeStage

METHODS: Mapping[str, type[ThreeStage]] = {
    "three_stage": ThreeStage,
}
