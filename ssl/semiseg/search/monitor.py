"""What a person sees while a search trains: the running stages and, on a terminal, the best candidates so far."""

import math
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from semiseg.search.choice import Judged, settings_said
from semiseg.sweep.monitor import Monitor, Watched

MOST = 5
"""Candidates in the table."""


class WithLeaders(Watched, Protocol):
    """What such a monitor has to know besides."""

    leaders: Sequence[Judged]
    """The best candidates so far, the best first."""


class SearchMonitor(Monitor):
    """Follows a search. Use it as a context manager around the training."""

    def __init__(self, watched: WithLeaders, console: Console | None = None) -> None:
        self.search = watched  # a live table draws itself at once
        super().__init__(watched, console)

    def _table(self) -> RenderableType:
        return Group(super()._table(), leaders_table(self.search.leaders[:MOST]))


def leaders_table(leaders: Sequence[Judged]) -> Table:
    """Trial, mean score with its standard error, number of seeds, settings."""
    table = Table(title="best so far" if leaders else "", title_justify="left", box=None, pad_edge=False)
    if leaders:
        for name, right in (("trial", True), ("selection score", True), ("seeds", True), ("settings", False)):
            table.add_column(name, justify="right" if right else "left")
    for one in leaders:
        default = " (default)" if one.trial.user_attrs.get("default") else ""
        table.add_row(str(one.trial.number), score_words(one), str(one.n), Text(settings_said(one.trial) + default))
    return table


def score_words(one: Judged) -> str:
    """Mean and standard error in percent; an error that is not known is left out."""
    error = "" if math.isnan(one.error) else f" ± {100 * one.error:.1f}"
    return f"{100 * one.mean:.1f}{error} %"
