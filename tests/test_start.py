"""What a start imports, and what is remembered of costs. Nothing here depends on how fast a machine is."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from semiseg import lazy
from semiseg.data import Pack
from semiseg.device import gpus
from semiseg.machine import cpu_kind
from semiseg.methods import ThreeStage
from semiseg.runner import Place, run_stage
from semiseg.sweep import costs, estimate
from semiseg.sweep.ahead import Ahead
from semiseg.sweep.costs import Cost, Costs
from semiseg.sweep.plan import Plan
from semiseg.sweep.resources import Ray

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "kornia", "ray", "segmentation_models_pytorch", "timm", "plotly", "scipy", "pandas")
CALL = """
import sys
sys.path.insert(0, {sweeps!r})
import {script} as script
from semiseg.{package}.command import main
try:
    status = main(next(value for name, value in vars(script).items() if name in ("TABLE", "SEARCH")), {words!r})
except SystemExit as ended:
    status = ended.code
print(status, *sorted({{name.partition(".")[0] for name in sys.modules}} & set({heavy!r})), file=sys.stderr)
"""
COMPARISON, SEARCH = ("ablate_three_stage", "sweep"), ("search_three_stage", "search")
SMALL = ["--quick", "--train.steps", "1", "--rows", "S1", "--anchors", "none", "--net.width", "2"]


def called(door: tuple[str, str], words: list[str], folder: Path) -> tuple[str, list[str], str]:
    """Status of a command in a process of its own, what of HEAVY it has imported, and its output."""
    script, package = door
    code = CALL.format(sweeps=str(ROOT / "sweeps"), script=script, package=package, words=words, heavy=HEAVY)
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    status, *found = ran.stderr.splitlines()[-1].split()
    return status, found, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("words", "status"), [(["--help"], "0"), (["--no-such-flag"], "2"), (["--train.steps", "0"], "2"), (["--preset", "none"], "2")]
)
def test_help_and_refused_arguments_import_nothing_large(words: list[str], status: str, tmp_path: Path) -> None:
    assert called(COMPARISON, words, tmp_path)[:2] == (status, [])


def test_help_of_a_search_imports_no_torch(tmp_path: Path) -> None:
    status, found, said = called(SEARCH, ["--help"], tmp_path)
    assert (status, found) == ("0", [])
    assert "--sampler-seed" in said


def test_a_dry_run_imports_neither_ray_nor_what_it_does_not_plan_and_once_remembered_no_torch(tmp_path: Path) -> None:
    status, found, said = called(COMPARISON, [*SMALL, "--dry-run"], tmp_path)
    assert status == "0"
    assert not {"ray", "torchvision", "timm", "plotly", "scipy"} & set(found)
    assert "torch" in found  # so the check can fail
    status, found, again = called(COMPARISON, [*SMALL, "--dry-run"], tmp_path)
    assert (status, found) == ("0", [])
    assert said.splitlines()[-2].rpartition(", about ")[::2] == again.splitlines()[-2].rpartition(", about ")[::2]


def test_the_default_study_is_planned_without_torch_where_nothing_is_remembered(tmp_path: Path) -> None:
    """Its kinds of stages are in the table; after a change of theirs `python analysis/reference_costs.py` makes it anew."""
    status, found, said = called(COMPARISON, ["--dry-run"], tmp_path)
    assert status == "0"
    assert not {"torch", "ray"} & set(found)
    assert " to train, about " in said
    assert ", not timed on this machine\n" in said


def test_a_finished_study_imports_neither_torch_nor_ray(tmp_path: Path) -> None:
    words = [*SMALL, "--ray.trials", "1"]
    trained = CALL.replace(
        "from semiseg.", "import pytest, in_process\nin_process.without_ray(pytest.MonkeyPatch())\nfrom semiseg.", 1
    )
    code = f"import sys\nsys.path.insert(0, {str(ROOT / 'tests')!r})\n" + trained.format(
        sweeps=str(ROOT / "sweeps"), script=COMPARISON[0], package=COMPARISON[1], words=words, heavy=HEAVY
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert ran.stderr.splitlines()[-1].startswith("0 "), ran.stderr
    study = json.loads((tmp_path / "results" / "three_stage-quick" / "study.json").read_text())
    status, found, said = called(COMPARISON, words, tmp_path)
    assert status == "0"
    assert not {"torch", "torchvision", "kornia", "ray"} & set(found)
    assert " 0 to train" in said
    again = json.loads((tmp_path / "results" / "three_stage-quick" / "study.json").read_text())
    assert again["provenance"]["device"] == study["provenance"]["device"]


def test_what_stands_for_a_module_gives_way_to_it() -> None:
    """Wherever the package holds it, so that calls cost nothing more and patches of the module are seen."""
    code = "import semiseg.ema, semiseg.lazy as lazy; held = semiseg.ema.torch; print(type(held).__name__); held.no_grad; "
    code += "import torch; print(semiseg.ema.torch is torch, lazy.torch is torch)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert ran.stdout.split() == ["Later", "True", "True"]
    with pytest.raises(AttributeError):
        lazy.Later("json").__wrapped__  # noqa: B018  what inspect asks of everything imports nothing


# ---- remembered costs


@pytest.fixture
def stage() -> Any:
    """A stage whose cost nothing is known of: other tests share the cache."""
    (tiny.data()[1] / costs.FILE).unlink(missing_ok=True)
    (found,) = tiny.chain(ThreeStage().with_switches("S1"))
    return found


def test_a_cost_is_remembered_for_its_kind_with_who_measured_it(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tiny.place(tmp_path)
    monkeypatch.setattr(estimate, "timed_stage", lambda *_: Cost(2.0, 0.5))
    assert estimate.costs_of([stage], place) == {stage.key: (2.0, 0.5)}
    monkeypatch.setattr(estimate, "timed_stage", None)  # measuring again would fail
    longer = replace(stage, train=replace(stage.train, steps=9000, learning_rate=0.5), seed=7)
    assert estimate.costs_of([stage, longer], place) == {stage.key: (2.0, 0.5), longer.key: (2.0, 0.5)}
    (entry,) = json.loads((place.cache / costs.FILE).read_text()).values()
    assert (entry["step"], entry["image"], entry["by"]) == (2.0, 0.5, f"{estimate.STEPS} steps")
    assert cpu_kind() in entry["machine"]


@pytest.mark.parametrize(
    "changed",
    [
        lambda one: replace(one, train=replace(one.train, batch_labelled=3)),
        lambda one: replace(one, train=replace(one.train, crop=(16, 16))),
        lambda one: replace(one, net=replace(one.net, width=6)),
        lambda one: replace(one, rule=ThreeStage().stages(one.split, one.net, one.train, 0)[1].rule),
    ],
)
def test_another_batch_crop_network_or_rule_is_another_kind(stage: Any, changed: Any, tmp_path: Path) -> None:
    memory = Costs(tiny.place(tmp_path))
    memory.keep(stage, Cost(1.0, 1.0), "test")
    assert memory.of(stage) == (1.0, 1.0)
    assert memory.of(changed(stage)) is None
    assert memory.by(changed(stage)) == ""


def test_another_machine_or_number_of_threads_remembers_nothing(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tiny.place(tmp_path)
    Costs(place).keep(stage, Cost(1.0, 1.0), "test")
    assert Costs(replace(place, threads=2)).of(stage) is None
    monkeypatch.setattr(costs, "machine", lambda *_: "another")
    assert Costs(place).of(stage) is None


@pytest.mark.parametrize(
    "step",
    [0, -1.0, "2", None, float("nan"), float("inf"), [1.0], {}],
    ids=["0", "<0", "text", "null", "nan", "inf", "list", "dict"],
)
def test_a_remembered_cost_that_is_none_is_measured_anew(
    step: Any, stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tiny.place(tmp_path)
    Costs(place).keep(stage, Cost(1.0, 1.0), "test")
    file = place.cache / costs.FILE
    (kind,) = json.loads(file.read_text())
    monkeypatch.setattr(estimate, "timed_stage", lambda *_: Cost(3.0, 0.0))
    for content in (json.dumps({kind: {"step": step, "image": 1.0}}), "", "[]", "{", json.dumps({kind: 3})):
        file.write_text(content)
        assert estimate.costs_of([stage], place) == {stage.key: (3.0, 0.0)}
        assert json.loads(file.read_text())[kind]["step"] == 3.0


def test_a_cache_that_cannot_be_written_costs_only_the_memory(stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(costs, "write_bytes", full)
    monkeypatch.setattr(estimate, "timed_stage", lambda *_: Cost(3.0, 0.0))
    assert estimate.costs_of([stage], tiny.place(tmp_path)) == {stage.key: (3.0, 0.0)}


def test_what_a_finished_stage_took_counts_for_more_than_a_few_steps(
    stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tiny.place(tmp_path)
    Costs(place).keep(stage, Cost(99.0, 99.0), "3 steps")
    run_stage(stage, place)
    seconds = place.open_store().info(stage.key)["cpu_seconds"]
    monkeypatch.setattr(estimate, "timed_stage", None)
    other = replace(stage, seed=1)
    cost = estimate.costs_of([other], place, [stage])[other.key]
    assert estimate.stage_seconds(stage, place, cost) == pytest.approx(seconds)
    assert Costs(place).by(other) == f"stage {stage.key[:12]}"
    plan = Plan({("S1", 0): (stage,), ("S1", 1): (other,)}, frozenset({stage.key}))
    assert estimate.estimate(plan, place, 1) == pytest.approx(seconds)


def test_scoring_costs_a_third_of_training_by_pixels(stage: Any, tmp_path: Path) -> None:
    """Of 6 seconds: 4 steps with 2 images of 32 x 32 each, and 24 images of 32 x 32 scored, which are worth 4 steps."""
    small = replace(stage, train=replace(stage.train, steps=4, batch_labelled=1, batch_unlabelled=1, crop=(32, 32)))
    pack: Pack = tiny.place(tmp_path).open()[0]
    assert set(pack.heights) == set(pack.widths) == {32}
    assert costs.told(small, 6.0, 24, pack) == pytest.approx((0.75, 0.125))


# ---- the machine, and a start that nobody wants any more


def test_the_kind_of_a_processor_is_read_from_what_linux_says(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("model name\t: A\ncpu family\t: 6\nmodel\t\t: 85\nstepping\t: 7\n\nmodel name\t: B\n")
    assert cpu_kind(file) == "A 6 85 7"
    assert cpu_kind(tmp_path / "none")


def test_torch_is_not_asked_for_gpus_where_no_driver_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semiseg.device.GPUS", ("null",))  # /dev/null is everywhere
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr(sys, "platform", "linux")
    assert gpus() == 3
    monkeypatch.setattr("semiseg.device.GPUS", ("no-such-device",))
    assert gpus() == 0


@pytest.mark.parametrize("fails", [False, True])
def test_a_start_of_ray_ends_with_what_began_it(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from semiseg.sweep import cluster

    said: list[str] = []

    def begin(settings: Ray, limit: float) -> Any:
        said.append("begun")
        if fails:
            raise RuntimeError("no room")
        return lambda: said.append("ended")

    monkeypatch.setattr(cluster, "begin", begin)
    ahead = Ahead(Ray(), 1.0)
    if fails:
        with pytest.raises(RuntimeError, match="no room"):
            ahead.wait()
    else:
        ahead.wait()
    ahead.close()
    assert said == (["begun"] if fails else ["begun", "ended"])
    assert not ahead._thread.is_alive()


def test_place_is_the_one_that_remembers(tmp_path: Path) -> None:
    """Costs lie in the cache, which belongs to a machine, and not in the store, which several may share."""
    place: Place = tiny.place(tmp_path)
    assert Costs(place).file.parent == place.cache
