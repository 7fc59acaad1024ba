"""Every command of the README is run: scripts with --dry-run added, make targets by what make would do."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = sorted(
    {line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.startswith(("python ", "make "))}
)


def test_the_readme_has_commands() -> None:
    assert "make ablate" in COMMANDS
    assert "make test" in COMMANDS
    assert any(command.startswith("python sweeps/ablate_three_stage.py") for command in COMMANDS)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_make_targets_of_the_readme_exist(command: str) -> None:
    said = subprocess.run(["make", "-n", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("python ")])
def test_scripts_of_the_readme_plan_their_work(command: str, tmp_path: Path) -> None:
    words = shlex.split(command)[1:]
    if any(word.startswith("../shared/data") and not (ROOT / word).is_dir() for word in words):
        pytest.skip("../shared/data is not there; a clone has no data")
    if "my_images" in words:
        words[words.index("my_images")] = str(image_folder(tmp_path / "my_images"))
    if words[0] == "analysis/check_splits.py":
        words += ["--cache", str(tmp_path / "cache")]
    if words[0] == "analysis/profile_networks.py":
        words += ["--only", "wide_resnet"]
    if words[0].startswith("sweeps/"):
        words += [
            "--dry-run",
            "--cache",
            str(tmp_path / "cache"),
            "--store",
            str(tmp_path / "store"),
            "--seeds",
            "0",
            "--quick",
        ]
    said = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert said.returncode == 0, said.stderr
    if words[0].startswith("sweeps/search_"):
        assert "of stage time if trained alone" in said.stdout
    elif words[0].startswith("sweeps/"):
        assert "to train, about" in said.stdout


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


def test_relative_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", README):
        assert (ROOT / target).exists(), target
    for path in re.findall(r"`((?:ssl|sweeps|analysis|tests)/[\w/.]+\.py)`", README):
        assert (ROOT / path).exists(), path
