"""What a study notes in the store of what it needs."""

from pathlib import Path

from semiseg.store import Store
from semiseg.sweep.plan import Plan
from semiseg.users import Asked, note_user


class Noting:
    """Notes plans of a study, each once. A URI holds the note too."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder
        self._last: Plan | None = None

    def note(self, plan: Plan) -> None:
        """Note the stages of a plan, and the settings of those that it trains; what is in the store says its own."""
        if plan is self._last:
            return
        stages = {
            key: Asked(plan.label(stage), None if key in plan.done else stage.settings()) for key, stage in plan.stages.items()
        }
        note_user(self.store, self.folder, stages)
        self._last = plan
