"""What a GPU asks of the training loop, shown without one: no step waits for it, graphs of the networks' passes change nothing.

Tensors of the meta device have shapes and no values, so whatever reads a value of one (`item`, `nonzero`, an index of booleans, a
comparison in an `if`) raises where a GPU would be waited for.
"""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

import bench_gpu
from bench_steps import NETWORKS
from semiseg.augment import PERTURBATIONS
from semiseg.config import SettingError
from semiseg.losses import DISTANCES, LOSSES
from semiseg.methods import METHODS, MeanTeacher, Supervised, ThreeStage
from semiseg.methods.mutual import MutualTraining
from semiseg.stage import Stage
from semiseg.sweep.resources import Ray, sharing_advice
from semiseg.train import Trainer

META = torch.device("meta")


def moved(value: Any) -> Any:
    """The same on the meta device."""
    if isinstance(value, torch.Tensor):
        return value.to(META)
    if hasattr(value, "_fields"):
        return value._replace(**{name: moved(getattr(value, name)) for name in value._fields})
    return value


def loss_without_values(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The terms of a step whose batch and networks are on the meta device."""
    trainer = tiny.trainer(stage)
    for network in (trainer.state.networks() | trainer.state.fixed).values():
        network.to(META)
    generator = torch.Generator().manual_seed(0)
    batch, middle = moved(trainer.batches.make(4, generator)), tiny.at(0.75)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # it does not know the meta device
    return dict(stage.rule.loss(trainer.state, batch, middle, generator))


def checked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = loss_without_values(stage, monkeypatch)
    assert terms
    assert all(one.device == META for one in terms.values())


@pytest.mark.parametrize("name", METHODS)
def test_no_step_of_a_method_waits_for_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in tiny.chain(METHODS[name]()):
        checked(stage, monkeypatch)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_no_perturbation_waits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checked(tiny.chain(MeanTeacher(ramp=(0.0, 0.0), perturbation=PERTURBATIONS[name]()))[0], monkeypatch)


@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_waits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checked(tiny.chain(Supervised(objective=LOSSES[name]()))[0], monkeypatch)


@pytest.mark.parametrize("name", DISTANCES)
def test_no_distance_waits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: Any = {"distance": name, "target": "hard" if name in ("dice", "ce") else "soft"}
    checked(tiny.chain(MeanTeacher(ramp=(0.0, 0.0), **chosen))[0], monkeypatch)


def test_masks_that_are_ranked_in_the_batch_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = next(one for one in tiny.chain(METHODS["dmt"]()) if isinstance(one.rule, MutualTraining))
    assert isinstance(stage.rule, MutualTraining)
    online = replace(stage.rule, masks="online", ranking="class", share=0.5)
    pseudo, confidence = torch.zeros((2, 8, 8), dtype=torch.int64, device=META), torch.rand((2, 8, 8)).to(META)
    assert online._ranked(pseudo, confidence, len(tiny.CLASSES)).device == META


def test_reading_a_value_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    plain: Any = Supervised.loss

    def reading(*words: Any) -> dict[str, torch.Tensor]:
        terms = plain(*words)
        return {name: one * float(one.detach()) for name, one in terms.items()}

    monkeypatch.setattr(Supervised, "loss", reading)
    with pytest.raises(RuntimeError, match="meta"):
        checked(tiny.chain(Supervised())[0], monkeypatch)


@pytest.mark.parametrize("method", [MeanTeacher(ramp=(0.0, 0.0)), ThreeStage()], ids=lambda one: type(one).__name__)
def test_graphs_change_weights_by_rounding_alone_and_leave_scoring_as_it_is(method: Any) -> None:
    """torch.compile's own passes with the kernels that run without it stand for the graphs of a GPU."""
    stage = tiny.chain(method)[:2][-1]
    plain = tiny.trainer(stage)
    compiled = Trainer(stage, plain.pack, plain.splits, plain.device, plain.learned, "aot_eager")
    from torch._dynamo.utils import counters

    for trainer in (plain, compiled):
        while not trainer.finished:
            trainer.advance(60)
    recorded = counters["stats"]["unique_graphs"]
    found, expected = compiled.finish(), plain.finish()
    assert recorded > 0
    assert counters["stats"]["unique_graphs"] == recorded  # nothing that scores is recorded
    assert found.weights.keys() == expected.weights.keys()
    for name, value in expected.weights.items():
        torch.testing.assert_close(found.weights[name], value, rtol=1e-3, atol=1e-5)


def test_graphs_need_a_gpu() -> None:
    with pytest.raises(SettingError, match="ray.cuda_graphs: got True; allowed: off without a GPU"):
        Ray(cuda_graphs=True, gpus_per_trial=0)
    assert Ray(cuda_graphs=True, gpus_per_trial=0.25).cuda_graphs


GIB = 2**30


@pytest.mark.parametrize(
    ("settings", "tensors", "memory", "said"),
    [
        ({}, 0.7, 139, "1.4 of the GPU's 139 GiB; --ray.gpus-per-trial 0.125 trains 8 at a time"),
        ({}, 3.3, 16, "4.0 of the GPU's 16 GiB; --ray.gpus-per-trial 0.333 trains 3 at a time"),  # 16 GiB are not filled
        ({"gpus_per_trial": 0.25}, 0.7, 139, "--ray.gpus-per-trial 0.125 trains 8"),
        ({"cpus_per_trial": 4}, 0.7, 139, "--ray.gpus-per-trial 0.25 trains 4"),
        ({"gpus_per_trial": 0.125}, 0.7, 139, ""),
        ({"gpus_per_trial": 0.06}, 0.7, 139, ""),
        ({"trials": 1}, 0.7, 139, ""),  # asked for
        ({}, 9.0, 16, ""),
        ({}, 0.0, 139, ""),  # nothing was measured
        ({"gpus_per_trial": 0.0}, 0.7, 139, ""),
    ],
)
def test_how_many_stages_share_a_gpu_is_said_by_what_one_takes(
    settings: dict[str, Any], tensors: float, memory: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semiseg.sweep.resources.usable_cpus", lambda: 16)
    given: dict[str, Any] = {"gpus_per_trial": 1.0} | settings
    found = sharing_advice(Ray(**given), tensors * GIB, memory * GIB)
    assert said in found
    assert bool(found) == bool(said)
    if found:  # what is suggested fits as Ray counts it
        share, count = float(found.split("gpus-per-trial ")[1].split()[0]), int(found.split("trains ")[1].split()[0])
        assert share * count <= 1 < share * (count + 1)
        assert count * (tensors + 0.7) <= memory


def test_the_benchmark_has_a_line_for_each_method_and_each_number_of_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = bench_gpu.Arguments(
        networks=(next(iter(NETWORKS)),),
        methods=("supervised", "mean_teacher"),
        blocks=2,
        steps=1,
        size=32,
        images=2,
        graphs=False,
        device="cpu",
        cache=tmp_path,
    )
    assert bench_gpu.main(ask) == 0
    _, _, head, _, *lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [line[1] for line in lines] == ["supervised", "mean_teacher"]
    for line in lines:
        bare, ours, ratio = float(line[2]), float(line[3]), float(line[4].split(" ", 1)[0])
        low, high = map(float, line[4].split(" ", 1)[1].strip("[]").split(", "))
        assert len(line) == len(head)
        assert 0 < low <= ratio <= high
        assert low * 0.99 <= ours / bare <= high * 1.01  # medians of two blocks are means, whose quotient lies between the blocks'


def test_processes_that_share_a_device_add_their_images_up(tmp_path: Path) -> None:
    ask = bench_gpu.Arguments(size=32, images=2, seconds=0.5, device="cpu", cache=tmp_path)
    rate, taken = bench_gpu.shares(ask, next(iter(NETWORKS)), "supervised", 2, "")
    assert rate > 0
    assert taken == 0


def test_without_a_gpu_the_benchmark_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert bench_gpu.main(bench_gpu.Arguments()) == 2
    assert "no GPU that torch can use" in capsys.readouterr().err
