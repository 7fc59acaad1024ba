"""The built wheel in a virtual environment of its own, run from an empty folder with a space in its name.

The environment sees the dependencies of this one, but neither the checkout nor what an editable installation adds to the path.
"""

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import semiseg
from semiseg import provenance
from semiseg.tool.commands import COMMANDS, scripts

ROOT = Path(__file__).parents[1]
Tool = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ("--rows", "S1", "--anchors", "none", "--net.width", "2", "--train.steps", "1", "--seeds", "0")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds wheels, is not installed: pip install -e .[dev]")
    place = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    (found,) = place.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the environment's programs."""
    place = tmp_path_factory.mktemp("fresh")
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, text=True, timeout=300, env=clean())
    (site,) = (place / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(
        f"{sysconfig.get_path('purelib')}\n", encoding="utf-8"
    )  # whose own .pth files do not count
    return place / "bin"


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("else") / "an empty folder"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def tool(installed: Path, place: Path) -> Tool:
    def call(*words: str, timeout: float = 300, cwd: Path = place) -> subprocess.CompletedProcess[str]:
        ran = subprocess.run(
            [str(installed / "semiseg"), *words],
            cwd=cwd,
            env=clean(),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran

    return call


def test_the_wheel_has_the_package_with_its_templates_and_every_script_once(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    package = ROOT / "ssl" / "semiseg"
    wanted = {
        f"semiseg/{path.relative_to(package)}"
        for path in package.rglob("*")
        if path.suffix in (".py", ".j2", ".css", ".js", ".json", ".typed")
    }
    wanted |= {f"semiseg/scripts/{path.parent.name}/{path.name}" for path in scripts().values()}
    assert {name for name in names if not name.startswith(f"semiseg-{semiseg.__version__}.dist-info/")} == wanted
    assert len(names) == len(set(names))


def python(installed: Path, place: Path, *words: str) -> str:
    """What the environment's Python prints."""
    command = [str(installed / "python"), *words]
    return subprocess.run(command, cwd=place, env=clean(), capture_output=True, text=True, check=True, timeout=300).stdout


def test_it_lists_says_its_version_and_plans_without_the_repository(tool: Tool, installed: Path, place: Path) -> None:
    assert tool("--version").stdout == f"semiseg {semiseg.__version__}\n"
    said = tool().stdout
    assert all(f"\n  {name} " in said for name in scripts())
    assert tool("ablation_report", "--help").stdout.startswith("usage: semiseg ablation_report [-h]")
    assert "usage: python -m semiseg sweep_lambda [-h]" in python(installed, place, "-m", "semiseg", "sweep_lambda", "--help")
    assert " to train, about" in tool("ablate_three_stage", *SMALL, "--dry-run").stdout
    code = "import semiseg, semiseg.tool.commands as c; print(semiseg.__file__, *{str(f.parents[1]) for f in c.scripts().values()})"
    assert all(Path(one).is_relative_to(installed.parent) for one in python(installed, place, "-c", code).split())


@pytest.mark.slow
@pytest.mark.parametrize("name", scripts())
def test_every_name_of_the_wheel_says_its_help(name: str, tool: Tool) -> None:
    assert tool(name, "--help").stdout.startswith(f"usage: semiseg {name} ")


@pytest.fixture(scope="module")
def study(tool: Tool, place: Path) -> Path:
    """Results of the front door's --quick."""
    said = tool("ablate_three_stage", "--quick", timeout=900).stdout
    assert f"report: {place / 'results' / 'three_stage-quick' / 'report.html'}" in said
    return place / "results" / "three_stage-quick"


@pytest.mark.slow
def test_the_front_door_runs_quickly_and_its_report_is_made_again(study: Path, tool: Tool, place: Path) -> None:
    about = json.loads((study / "study.json").read_text(encoding="utf-8"))["provenance"]
    assert about["command"] == "semiseg ablate_three_stage --quick"
    assert about["versions"]["semiseg"] == semiseg.__version__
    assert about["git"] == ""
    assert " 0 to train" in tool("ablate_three_stage", "--quick").stdout
    made_again("ablation_report", study, tool)
    assert {file.name for file in place.iterdir()} == {"results"}


@pytest.mark.slow
def test_a_search_runs_quickly_and_its_report_is_made_again(tool: Tool, place: Path) -> None:
    tool("search_three_stage", "--quick", timeout=900)
    made_again("search_report", place / "results" / "search_three_stage-quick", tool)


def made_again(name: str, folder: Path, tool: Tool) -> None:
    page = folder / "report.html"
    page.unlink()
    assert tool(name, f"results/{folder.name}").stdout.rstrip().endswith(f"results/{folder.name}/report.html")
    assert page.stat().st_size > 10_000


@pytest.mark.slow
def test_a_model_and_a_study_are_taken_along(study: Path, tool: Tool, place: Path, tmp_path: Path) -> None:
    if missing := {"export", "import", "predict"} - set(COMMANDS):
        pytest.skip(f"this wheel has no {', '.join(sorted(missing))}")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)).save(tmp_path / "mine.png")
    tool("predict", f"{study.name}/full", str(tmp_path / "mine.png"), "--out", str(tmp_path / "masks"))
    with Image.open(tmp_path / "masks" / "mine.png") as mask:
        assert mask.size == (70, 50)
    archive = tmp_path / "study.archive"
    tool("export", study.name, "--archive", str(archive))
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    tool("import", str(archive), cwd=elsewhere)
    assert " 0 to train" in tool("ablate_three_stage", "--quick", cwd=elsewhere).stdout


def test_an_installed_copy_in_the_checkout_of_another_project_has_no_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a virtual environment beside somebody's own code."""
    copy = tmp_path / "venv" / "semiseg" / "provenance.py"
    copy.parent.mkdir(parents=True)
    copy.touch()
    monkeypatch.setattr(provenance, "__file__", str(copy))
    assert provenance.git_revision() == ""
    (tmp_path / "theirs.py").touch()
    own = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "theirs.py"], [*own, "commit", "-qm", "theirs"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    assert provenance.git_revision() == ""
    subprocess.run(["git", "add", "-f", str(copy)], cwd=tmp_path, check=True)
    assert len(provenance.git_revision()) == 13  # so the check can fail; "+" for the file that was added
