"""Studies without Ray: their stages one after the other in this process. Not a test module."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from semiseg.runner import run_stage
from semiseg.sweep.bench import Bench
from semiseg.sweep.feed import Feed


def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a bench train its stages here."""

    @contextmanager
    def cluster(self: Bench) -> Iterator[int]:
        yield 1

    def feed(self: Bench, feed: Feed, slots: int) -> int:
        with feed.monitor:
            while (stage := feed.take()) is not None:
                run_stage(stage, self.place)
                feed.finish(stage.key)
        return 0

    monkeypatch.setattr(Bench, "begin", lambda _: None)
    monkeypatch.setattr(Bench, "cluster", cluster)
    monkeypatch.setattr(Bench, "feed", feed)
