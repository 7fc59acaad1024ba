"""The Ray dashboard as its user meets it: the printed address, the token, the Actors page's data and the Prometheus metrics."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Found, started, wait_for

pytestmark = pytest.mark.slow
WORDS = ["--train.steps", "4000", "--train.evaluations", "100", "--net.width", "4", "--data.labelled", "8", "--seeds", "0"]
WORDS += ["--rows", "S1", "full without T2", "--ray.dashboard"]  # s1 and s2-T2 run side by side, longer than the checks take
ACTORS = {"three_stage/S1/seed 0/s1", "three_stage/full without T2/seed 0/s2-T2"}
TAGS = [("three_stage", "S1", "0", "s1"), ("three_stage", "full without T2", "0", "s2-T2")]
GAUGES = ("selection_score", "images_per_second", "progress")


class Page:
    """The dashboard of a running sweep; `ask(path)` is what it answers to the holder of the token."""

    def __init__(self, place: Path, process: subprocess.Popen[str]) -> None:
        self.place, self.process = place, process
        line = self.wait(lambda: re.search(r"^Ray dashboard: (http://\S+) .*$", self.output(), re.MULTILINE), "address")
        assert line is not None
        self.line, self.address = line[0], line[1]
        program = Path(sys.executable).with_name("ray")
        said = subprocess.run([program, "get-auth-token"], capture_output=True, text=True, check=True, timeout=60)
        self.token = said.stdout.strip()

    def output(self) -> str:
        return (self.place / "stdout").read_text()

    def wait(self, condition: Callable[[], Found], what: str) -> Found:
        return wait_for(condition, self.process, what)

    def ask(self, path: str) -> Any:
        answer = get(self.address + path, {"Authorization": f"Bearer {self.token}"})
        return json.loads(answer)["data"]


def get(url: str, headers: dict[str, str] | None = None) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=20) as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Page]:
    place = tmp_path_factory.mktemp("dashboard")
    with started(place, cache, *WORDS) as process:
        found = Page(place, process)
        found.wait(lambda: "step " in found.output(), "running stage")
        yield found


def test_the_address_is_local_and_the_way_to_the_token_is_told(page: Page) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", page.address)
    assert "`ray get-auth-token`" in page.line
    assert re.fullmatch(r"\S{20,}", page.token)


def test_the_page_loads_but_its_data_need_the_token(page: Page) -> None:
    assert "<title>Ray Dashboard</title>" in get(page.address)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(page.address + "/logical/actors")


def test_an_actor_is_called_by_study_row_seed_and_stage(page: Page) -> None:
    def actors() -> set[str]:
        alive = [actor for actor in page.ask("/logical/actors")["actors"].values() if actor["state"] == "ALIVE"]
        return {actor["reprName"] for actor in alive}

    page.wait(lambda: actors() == ACTORS, f"actors {ACTORS}")


def test_a_running_stage_exports_its_figures_to_prometheus(page: Page) -> None:
    (node,) = page.ask("/nodes?view=summary")["summary"]
    port = find(node, "metricsExportPort")

    def samples() -> dict[tuple[str, ...], float]:
        """Values by gauge and tags."""
        found: dict[tuple[str, ...], float] = {}
        for name, labels, value in re.findall(
            r"^ray_semiseg_(\w+)\{(.*)\} (\S+)$", get(f"http://{node['ip']}:{port}/metrics"), re.MULTILINE
        ):
            tags = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            found[name, tags["study"], tags["row"], tags["seed"], tags["stage"]] = float(value)
        return found

    wanted = {(gauge, *tags) for gauge in GAUGES for tags in TAGS}
    page.wait(lambda: wanted <= set(samples()), "all gauges")
    for (gauge, *_), value in samples().items():
        assert value > 0
        assert gauge == "images_per_second" or value <= 1


def test_figures_move_on(page: Page) -> None:
    def steps() -> list[int]:
        return [int(step) for step in re.findall(r"s1: step (\d+)/4000", page.output())]

    page.wait(lambda: len(steps()) >= 2, "second line of a stage")
    assert steps() == sorted(set(steps()))


def find(value: Any, name: str) -> Any:
    """The first entry called `name` anywhere inside nested dicts."""
    if isinstance(value, dict):
        return value[name] if name in value else next(filter(None, (find(inner, name) for inner in value.values())), None)
    return None
