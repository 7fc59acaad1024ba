"""README and docs: every command is run or planned, links and file names lead somewhere, nothing that exists is left out."""

import importlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_trees import SHARED
from PIL import Image
from search_studies import make_search

from semiseg.__main__ import OPTIONS
from semiseg.data import DATASETS
from semiseg.methods import METHODS
from semiseg.nets import NETS
from semiseg.sweep.bench import Bench
from semiseg.tool.commands import COMMANDS as TOOL
from semiseg.tool.commands import scripts
from semiseg.tool.completion import flags

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in DOCS}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROOTS = {  # of small copies of the real data sets, where they are
    "camvid": "camvid",
    "oxford_pets": "oxford-iiit-pet",
    "cityscapes": "camvid_as_cityscapes",
    "acdc": "acdc",
    "scgm": "spinal_gm",
    "cifar10": "cifar10_small",
}


def commands(text: str) -> set[str]:
    """What the text tells to type, in blocks and between backticks: scripts and make targets, without comments."""
    blocks = [line for _, block in BLOCK.findall(text) for line in block.splitlines()]
    inline = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    found = {
        line.split(" #")[0].strip()
        for line in (*blocks, *inline)
        if re.match(r"(python (?!-m semiseg)|make )|semiseg (--)?[a-z]", line)
    }
    return {as_script(command) for command in found}


def as_script(command: str) -> str:
    """`semiseg NAME WORDS` as Python and the script of that name, others as they are."""
    door, name, *words = command.split(" ")
    if door != "semiseg" or name not in scripts():
        return command
    return " ".join(["python", str(scripts()[name].relative_to(ROOT)), *words])


COMMANDS = sorted(set().union(*map(commands, TEXTS.values())))


def test_the_readme_fits_on_150_lines_and_has_the_front_doors() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 150
    assert {"make ablate", "make test"} <= commands(TEXTS["README.md"])
    assert any("--data.name folder --data.root PATH" in command for command in commands(TEXTS["README.md"]))


def test_every_sweep_method_data_set_and_network_is_described() -> None:
    pages = "".join(text for name, text in TEXTS.items() if name.startswith("docs/methods/"))
    missing = [name for name in METHODS if f"`{name}`" not in pages]
    missing += [
        script.name for script in (ROOT / "sweeps").glob("[!_]*.py") if f"sweeps/{script.name}" not in "".join(TEXTS.values())
    ]
    missing += [name for name in DATASETS if f"[`{name}`](#" not in TEXTS["docs/data.md"]]
    missing += [name for name in NETS if f"\n## {name}\n" not in TEXTS["docs/networks.md"]]
    assert missing == []


def test_every_page_of_a_method_has_its_parts() -> None:
    parts = ("it supports", "numbers mean", "## Implementation details", "## Our numbers beside the paper's")
    pages = [name for name in TEXTS if name.startswith("docs/methods/") and not name.endswith("supervised.md")]
    assert len(pages) >= 5
    assert [(name, part) for name in pages for part in parts if part not in TEXTS[name].replace("` supports", " it supports")] == []


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_make_targets_exist(command: str) -> None:
    said = subprocess.run(["make", "-n", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("semiseg ")])
def test_what_else_the_tool_is_told_exists(command: str) -> None:
    _, name, *words = shlex.split(command)
    if name in OPTIONS:
        assert len(words) == len(OPTIONS[name][1])
        return
    known = flags(importlib.import_module(TOOL[name]).main).split()
    assert [word for word in words if word.startswith("--") and word not in known] == []


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded images, shared by all commands."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("python ")])
def test_scripts_plan_their_work(
    command: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ready(shlex.split(command)[1:], tmp_path)
    if words[0].startswith("sweeps/"):
        words += ["--cache", str(cache), "--store", str(tmp_path / "store"), "--seeds", "0", *["1"] * ("crossed" in words)]
        words += [flag for flag in ("--dry-run", "--quick") if flag not in words]
        seeds = "--search-subsets" in words and "--search-seeds" not in words
        words += ["--search-seeds", "0", "1", "2"] if seeds else []  # --quick has one
    elif words[0] == "analysis/choose_settings.py":
        words += ["--cache", str(cache), "--store", str(tmp_path / "store"), "--seeds", "0", "--dry-run"]
    elif words[0] == "analysis/check_splits.py":
        words += ["--cache", str(cache)]
    elif words[0] == "analysis/look_at_data.py":
        words += ["--cache", str(cache), "--out", str(tmp_path / "data.html")]
    elif words[0] == "analysis/profile_networks.py":
        words += (
            ["--compare", "unet", "unet_mri", "--crop", "32", "32", "--blocks", "2"]
            if "--compare" in words
            else ["--only", "wide_resnet"]
        )
    elif words[0] in (
        "analysis/bench_sweep.py",
        "analysis/bench_plan.py",
        "analysis/bench_start.py",
        "analysis/reference_costs.py",
    ):
        words = [words[0], "--help"]
    elif words[0] == "analysis/evidence.py":
        words = words[:1]  # the plan; nothing is run or kept
    elif words[0] == "analysis/measured.py":
        words = [words[0], "--check"]
    elif words[0] == "analysis/simulate_sequential.py":
        words += ["--studies", "20", "--sequences", "50", "--engine", "1"]
    elif words[0] == "analysis/bench_steps.py":
        words += ["--blocks", "2", "--steps", "1", "--size", "32", "--networks", "U-Net 8, depth 3", "--cache", str(cache)]
    elif words[0] == "analysis/bench_gpu.py":
        words += ["--device", "cpu", "--no-graphs", "--blocks", "2", "--steps", "1", "--size", "32", "--cache", str(cache)]
    elif words[0] == "analysis/simulate_verdicts.py":
        words += ["--studies", "20", "--page", shutil.copy(ROOT / "docs" / "statistics.md", tmp_path)]
    elif words[0] == "analysis/profile_steps.py":
        words += ["--steps", "2", "--cache", str(cache)]
    measured = command in commands(TEXTS["README.md"])  # the cost too, by a few steps of every kind of stage
    if not measured:
        monkeypatch.setattr(Bench, "cost", lambda self, measure: "planned")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", words)
    try:
        runpy.run_path(words[0], run_name="__main__")
        status = 0
    except SystemExit as ended:
        status = ended.code
    said = capsys.readouterr()
    assert not status, said.err
    if not measured and (words[0].startswith("sweeps/") or words[0] == "analysis/choose_settings.py"):
        assert ", planned" in said.out
    elif words[0].startswith("sweeps/search_"):
        assert "of stage time if trained alone" in said.out
    elif words[0].startswith("sweeps/") or words[0] == "analysis/choose_settings.py":
        assert "to train, about" in said.out


def ready(words: list[str], place: Path) -> list[str]:
    """A command's words with what it names put there: data, a network of one's own, a results folder.

    Of a data set that is not there the root is left out, so that published numbers of images are planned; what needs the images
    themselves is skipped.
    """
    if "PATH" in words and words[0] != "analysis/evidence.py":
        at, name = words.index("PATH"), data_name(words)
        root = image_folder(place / "images") if name == "folder" else SHARED / ROOTS.get(name, "no copy")
        if root.is_dir():
            words[at] = str(root)
        elif words[0].startswith("analysis/") and words[0] != "analysis/choose_settings.py":
            pytest.skip(f"{name} is not there; a clone has no data")
        else:
            del words[at - 1 : at + 1]
    for at, word in enumerate(words):
        if word.startswith("my_file.py:"):
            (own,) = [block for language, block in BLOCK.findall(TEXTS["docs/networks.md"]) if language == "python"]
            (place / "my_file.py").write_text(own, encoding="utf-8")
            words[at] = str(place / word)
        if word in ("results/three_stage", "results/another_study"):
            words[at] = str(shutil.copytree(Path(__file__).parent / "data_report", place / Path(word).name))
        if word == "results/compared":
            words[at] = str(place / "compared")
        if word == "results/search_three_stage":
            make_search(place / "search")
            words[at] = str(place / "search")
    return words


def data_name(words: list[str]) -> str:
    """The data set that a command reads: the one it names, or that of its preset."""
    if "--data.name" in words:
        return words[words.index("--data.name") + 1]
    script = importlib.import_module(Path(words[0]).stem)
    if words[0] == "analysis/choose_settings.py":
        return script.CHOICES[words[1]].base.data.name
    declared = script.SEARCH if hasattr(script, "SEARCH") else script.TABLE
    return declared.presets[words[words.index("--preset") + 1]].data.name


def image_folder(folder: Path) -> Path:
    """Twenty images with masks, the smallest folder on which the README's command makes sense."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(20):
        mask = rng.integers(0, 3, (40, 60)).astype(np.uint8)
        Image.fromarray(mask * 60).convert("RGB").save(folder / "images" / f"{number}.jpg")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    return folder


def anchor(heading: str) -> str:
    """What GitHub calls a heading in a link: "a, b (`c`)" is a-b-c."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(file: Path) -> list[str]:
    return [anchor(heading) for heading in re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)]


@pytest.mark.parametrize("name", TEXTS)
def test_relative_links_and_file_names_lead_somewhere(name: str) -> None:
    text, lost = TEXTS[name], []
    links = re.findall(r"\]\((?!https?://)([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        path, _, part = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        if not target.exists() or (part and part not in anchors(target)):
            lost.append(link)
    lost += [path for path in re.findall(r"`((?:ssl|sweeps|analysis|tests|docs)/[\w./]*)`", text) if not (ROOT / path).exists()]
    assert lost == []


@pytest.mark.parametrize("name", TEXTS)
def test_only_what_a_reader_can_have_is_cited(name: str) -> None:
    """No file beside the clone, and papers by author and year."""
    assert re.findall(r"(?<![\w/])methods\.md|\.\./shared|/wor[k]/|(?:paper|seed) 00\d", TEXTS[name]) == []


def test_the_picture_is_small() -> None:
    with Image.open(ROOT / "docs" / "report.png") as picture:
        assert picture.width >= 800
    assert (ROOT / "docs" / "report.png").stat().st_size <= 300 * 1024
