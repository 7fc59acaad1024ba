"""How long a cluster's free resources are awaited. Knows nothing of Ray."""

import sys
import time
from typing import Any

from semiseg.sweep.resources import Ray
from semiseg.sweep.stop import halt
from semiseg.waiting import SAY_AFTER


class Awaited:
    """Says when a cluster has no resources free for a first stage, and gives up after a while; Tune itself waits without a word."""

    def __init__(self, settings: Ray, limit: float) -> None:
        cpus, gpus = settings.cpus_per_trial, settings.gpus
        self.needs = f"{cpus} CPU{'s' * (cpus > 1)}" + (f" and {gpus:g} GPU{'s' * (gpus > 1)}" if gpus else "")
        self.limit, self.began, self.said = limit, time.monotonic(), False
        self.started = settings.address is None  # a cluster of one's own has nobody else on it
        self.gave_up = ""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.started = True

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        waited = time.monotonic() - self.began
        if self.started or self.gave_up or not trials:
            return
        if waited >= SAY_AFTER and not self.said:
            self.said = True
            print(f"waiting for {self.needs} free on the cluster, for at most {self.limit:.0f} s", file=sys.stderr, flush=True)
        if waited >= self.limit:
            self.gave_up = (
                f"ray: {self.needs} did not become free on the cluster within {self.limit:.0f} s; allowed: a larger --wait-seconds"
            )
            halt()
