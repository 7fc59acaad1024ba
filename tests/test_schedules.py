"""Schedules and the moving average against their closed forms."""

import math
from copy import deepcopy
from typing import Any, Literal

import pytest
import torch
from torch import nn

from semiseg.ema import Ema, ema_update, warm_decay
from semiseg.methods import ThreeStage
from semiseg.schedules import DECAYS, Moment, cosine_decay, piecewise, sigmoid_ramp


class Norm(nn.Module):
    """One parameter, one float buffer, one counter, all holding one value."""

    average: torch.Tensor
    count: torch.Tensor

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([float(value)] * 2))
        self.register_buffer("average", torch.tensor([float(value)]))
        self.register_buffer("count", torch.tensor(int(value)))

    def values(self) -> tuple[float, float, int]:
        return self.weight[0].item(), self.average.item(), int(self.count)


def test_the_cosine_goes_from_one_to_zero_through_a_half() -> None:
    assert [cosine_decay(share) for share in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert cosine_decay(0.25) == pytest.approx((1 + math.sqrt(0.5)) / 2)


def test_every_decay_starts_at_one_and_only_the_constant_one_stays_there() -> None:
    assert [decay(0.0) for decay in DECAYS.values()] == [1.0] * len(DECAYS)
    ends = {name: decay(1.0) for name, decay in DECAYS.items()}
    assert ends == pytest.approx({"constant": 1, "cosine": 0, "quarter_cosine": 0, "poly": 0, "multistep": 0.008}, abs=1e-12)
    assert DECAYS["quarter_cosine"](2 / 3) == pytest.approx(0.5)
    assert DECAYS["poly"](0.75) == pytest.approx(0.25**0.9)


def test_the_multistep_decay_is_torchs_at_30_60_and_80_of_100_epochs() -> None:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones=[30, 60, 80], gamma=0.2)
    rates = []
    for _ in range(100):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    assert [DECAYS["multistep"](epoch / 100) for epoch in range(100)] == pytest.approx(rates)
    assert [DECAYS["multistep"](share) for share in (0.29, 0.3, 0.6, 0.8)] == pytest.approx([1, 1 / 5, 1 / 25, 1 / 125])


def test_the_ramp_is_that_of_mean_teacher() -> None:
    assert sigmoid_ramp(0, 10) == pytest.approx(math.exp(-5))
    assert sigmoid_ramp(5, 10) == pytest.approx(math.exp(-5 / 4))
    assert [sigmoid_ramp(step, 10) for step in (10, 11)] == [1, 1]
    assert sigmoid_ramp(0.3, 0) == 1
    assert all(sigmoid_ramp(step, 10) < sigmoid_ramp(step + 1, 10) for step in range(10))


def test_the_authors_decays_hold_from_their_shares_of_a_stage() -> None:
    """Epochs 0-19, 20-39, 40-49 and 50-59 of 60 (RK621 main.py:575)."""
    ema = ThreeStage().ema
    by_epoch = [piecewise(epoch / 60, ema.start, ema.decay) for epoch in range(60)]
    assert by_epoch == [0.99] * 20 + [0.995] * 20 + [0.9975] * 10 + [0.999] * 10


def test_starts_and_values_must_pair() -> None:
    with pytest.raises(ValueError, match="shorter"):
        piecewise(0.5, (0.0, 0.5), (1.0,))


def test_a_teacher_at_0_is_1_minus_decay_to_the_n_after_n_steps_towards_1() -> None:
    teacher, student = Norm(0), Norm(1)
    for _ in range(25):
        ema_update(teacher, student, 0.9)
    assert teacher.values()[:2] == pytest.approx((1 - 0.9**25, 1 - 0.9**25))


def test_a_decay_of_0_copies_and_of_1_keeps_exactly() -> None:
    teacher, student = Norm(0.1), Norm(0.7)
    ema_update(teacher, student, 1.0)
    assert teacher.weight.equal(Norm(0.1).weight)
    ema_update(teacher, student, 0.0)
    assert teacher.weight.equal(student.weight)


def test_buffers_are_averaged_copied_or_left_alone_and_counters_never_averaged() -> None:
    found = {}
    for buffers in ("average", "copy", "own"):
        teacher, student = Norm(0), Norm(4)
        ema_update(teacher, student, 0.75, buffers)
        found[buffers] = teacher.values()
    assert found == {"average": (1, 1, 4), "copy": (1, 4, 4), "own": (1, 0, 0)}


@pytest.mark.parametrize("buffers", ["average", "copy", "own"])
def test_an_update_is_to_the_last_bit_that_of_a_loop_over_tensors(buffers: Any) -> None:
    """Tensors that several modules share are moved once."""
    torch.manual_seed(0)
    teacher, student = (nn.Sequential(nn.Linear(7, 7), nn.BatchNorm1d(7), nn.Linear(7, 7)) for _ in range(2))
    for net in (teacher, student):
        net[2].weight = net[0].weight
        net(torch.randn(9, 7))
    slow = deepcopy(teacher)
    ema_update(teacher, student, 0.93, buffers)
    with torch.no_grad():
        for target, source in zip(slow.parameters(), student.parameters(), strict=True):
            target.lerp_(source, 1 - 0.93)
        for target, source in zip(slow.buffers(), student.buffers(), strict=True) if buffers != "own" else ():
            target.copy_(target.lerp(source, 1 - 0.93) if buffers == "average" and target.is_floating_point() else source)
    assert all(one.equal(other) for one, other in zip(teacher.state_dict().values(), slow.state_dict().values(), strict=True))


def test_the_average_touches_the_teacher_alone_and_leaves_no_graph() -> None:
    teacher, student = Norm(0), Norm(4)
    ema_update(teacher, student, 0.5)
    assert student.values() == (4, 4, 4)
    assert student.weight.grad is None
    assert teacher.weight.grad_fn is None


def test_the_warm_up_averages_all_that_was_seen_until_the_decay_bounds_it() -> None:
    """With 1 - 1/(k+1) the teacher is the plain mean of the students so far."""
    teacher, seen = Norm(-5), [3.0, 1.0, 8.0, 4.0]
    for step, value in enumerate(seen):
        ema_update(teacher, Norm(value), warm_decay(0.99, step))
        assert teacher.values()[0] == pytest.approx(sum(seen[: step + 1]) / (step + 1))
    assert warm_decay(0.99, 98) < 0.99
    assert warm_decay(0.99, 99) == warm_decay(0.99, 10_000) == 0.99


def test_an_average_follows_after_every_step_or_epoch_with_the_decay_of_its_share_of_the_stage() -> None:
    by_step = Ema(decay=(0.5, 0.75), start=(0.0, 0.5))
    teacher = by_step.teacher(Norm(0))
    for step in range(4):
        by_step.follow(teacher, Norm(1), Moment(step, 4, 2))
    assert next(teacher.parameters())[0].item() == pytest.approx(1 - 0.5**2 * 0.75**2)
    by_epoch = Ema(decay=(0.5,), every="epoch")
    assert [by_epoch.update_number(Moment(step, 6, 2)) for step in range(6)] == [None, 0, None, 1, None, 2]
    teacher = by_epoch.teacher(Norm(0))
    for step in range(6):
        by_epoch.follow(teacher, Norm(1), Moment(step, 6, 2))
    assert next(teacher.parameters())[0].item() == pytest.approx(1 - 0.5**3)


def test_the_warm_up_counts_updates_not_steps() -> None:
    by_epoch = Ema(decay=(0.99,), every="epoch", warmup=True)
    teacher = by_epoch.teacher(Norm(-5))
    for step, value in enumerate((9.0, 3.0, 9.0, 1.0, 9.0, 8.0)):
        by_epoch.follow(teacher, Norm(value), Moment(step, 6, 2))
    assert next(teacher.parameters())[0].item() == pytest.approx((3 + 1 + 8) / 3)


def test_what_follows_the_first_share_of_a_stage_is_counted_like_a_stage_of_its_own() -> None:
    counted = [Moment(step, 10, 4).after(0.25) for step in range(10)]  # 2.5 steps: 2, halves to even
    assert counted == [None, None, *(Moment(step, 8, 4) for step in range(8))]
    assert [Moment(step, 10, 4).after(0.0) for step in range(10)] == [Moment(step, 10, 4) for step in range(10)]
    assert all(Moment(step, 600, 9).after(200 / 600) is None for step in range(200))
    assert Moment(200, 600, 9).after(200 / 600) == Moment(0, 400, 9)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_teacher_starts_with_the_students_weights_and_learns_nothing_by_itself(mode: Literal["eval", "train"]) -> None:
    student = Norm(3)
    teacher = Ema(mode=mode).teacher(student)
    assert (teacher.training, student.training) == (mode == "train", True)
    assert isinstance(teacher, Norm)
    assert teacher.values() == student.values()
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())
    student.weight.data.fill_(5)
    assert teacher.values()[0] == 3
