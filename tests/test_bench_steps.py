"""The benchmark of training steps: every method has its line, the bare loop makes the passes of a step, intervals are SciPy's."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from scipy.stats import binom

from bench_steps import NETWORKS, PARTS, Arguments, Bare, Clock, main, measure, of_median
from semiseg.augment import CutMix, Gentle
from semiseg.methods import METHODS, MeanTeacher, OneWay, Supervised, ThreeStage


def test_every_method_has_a_line_with_a_ratio_and_shares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = next(iter(NETWORKS))
    assert main(Arguments(networks=(first,), blocks=2, steps=1, size=32, labelled=2, unlabelled=2, cache=tmp_path)) == 0
    head, _, *lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert {line[1].split(":")[0] for line in lines} == set(METHODS)
    assert tuple(head[-len(PARTS) :]) == PARTS
    for line in lines:
        assert sum(float(share.rstrip("%")) for share in line[-len(PARTS) :]) == pytest.approx(100, abs=0.5)
        ratio, interval = line[4].split(" ", 1)
        low, high = map(float, interval.strip("[]").split(", "))
        assert 0 < low <= float(ratio) <= high


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (Supervised(), ["student forward"]),
        (MeanTeacher(ramp=(0.0, 0.0)), ["teacher forward", "student forward"]),
        (OneWay(), ["student forward", "teacher forward", "student forward"]),
        (ThreeStage(), ["teacher forward", "student both"]),
    ],
)
def test_the_bare_loop_makes_the_passes_of_a_step_and_learns(method: MeanTeacher | ThreeStage, expected: list[str]) -> None:
    bare = Bare(tiny.trainer(tiny.chain(method)[:2][-1]))
    assert [f"{one.role} {one.call}" for one in bare.passes] == expected
    assert all(one.learns == (one.role == "student") for one in bare.passes)
    assert all(one.image.is_contiguous(memory_format=torch.channels_last) for one in bare.passes)
    before = {role: tiny.flat(net) for role, net in bare.networks.items()}
    bare.step()
    assert not any(tiny.flat(net).equal(before[role]) for role, net in bare.networks.items())


def test_parts_add_up_to_the_step_and_nothing_stays_wrapped() -> None:
    trainer, wrapped = tiny.trainer(tiny.chain(MeanTeacher(perturbation=CutMix()))[0]), vars(CutMix)["__call__"]
    found = measure(trainer, blocks=2, steps=1)
    assert sum(found.shares) == pytest.approx(1)
    shares = dict(zip(PARTS, found.shares, strict=True))
    assert shares["networks"] > shares["strong"] > 0
    assert vars(CutMix)["__call__"] is wrapped
    assert "forward" not in vars(trainer.state.student)


def test_a_part_inside_another_counts_for_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 1.0, 4.0, 6.0])
    monkeypatch.setattr("time.process_time", lambda: next(ticks))
    clock = Clock()
    clock.wrap("outer", clock.wrap("inner", lambda: None))()
    assert clock.seconds == {"inner": 3.0, "outer": 3.0}


@pytest.mark.parametrize("count", [6, 9, 20, 21, 60])
def test_the_interval_of_a_median_holds_it_with_at_least_95_percent_and_no_narrower_one_does(count: int) -> None:
    """Of n values the number below the median is binomial(n, 1/2)."""
    low, high = of_median(np.random.default_rng(0).permutation(count).tolist())
    assert low + high == count - 1
    assert binom.cdf(low, count, 0.5) * 2 <= 0.05
    assert binom.cdf(low + 1, count, 0.5) * 2 > 0.05


def test_of_few_values_the_interval_is_all_of_them() -> None:
    assert of_median([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert of_median([2.0]) == (2.0, 2.0)


def test_gentle_is_a_part_of_its_own() -> None:
    clock, trainer = Clock(), tiny.trainer(tiny.chain(MeanTeacher(perturbation=Gentle()))[0])
    with clock.over(trainer):
        trainer.train_step()
    assert {"networks", "strong", "weak", "optimiser", "EMA"} <= set(clock.seconds)
