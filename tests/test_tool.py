"""`semiseg NAME`: what it lists, what it runs, how it refuses, what shells complete."""

import importlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import yaml

import semiseg
from ablate_three_stage import TABLE
from semiseg.__main__ import OPTIONS, main
from semiseg.methods import ThreeStage
from semiseg.outside import DOORS, command_line
from semiseg.refusals import SettingError
from semiseg.sweep import estimate, planned
from semiseg.sweep.command import main as sweep
from semiseg.sweep.costs import Cost, Costs
from semiseg.sweep.plan import Plan
from semiseg.sweep.planned import noted
from semiseg.tool import commands
from semiseg.tool.commands import COMMANDS, FOLDERS, scripts
from semiseg.tool.completion import SHELLS, offered
from semiseg.tool.listing import KINDS, ORDER, Entry, entries, list_text

ROOT = Path(__file__).parents[1]
NAMES = [*COMMANDS, *scripts()]
HEAVY = ("torch", "ray", "numpy", "tyro", "pyarrow", "pandas", "scipy", "optuna")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a space in its name."""
    made = tmp_path / "a place"
    made.mkdir()
    return made


def tool(place: Path, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    said = [sys.executable, "-m", "semiseg", *words]
    return subprocess.run(said, cwd=place, env=os.environ | changes, capture_output=True, text=True, check=False, timeout=120)


# ---- the list


def test_every_script_and_command_is_listed_once() -> None:
    assert sorted(NAMES) == sorted(entry.name for entry in entries())
    assert len(set(NAMES)) == len(NAMES)
    assert set(scripts()) == {file.stem for folder in FOLDERS for file in (ROOT / folder).glob("*.py")}
    assert sorted(KINDS) == sorted(ORDER)


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_a_name_is_listed_with_a_question_and_a_script_with_its_cost(entry: Entry) -> None:
    assert 10 < len(entry.question) <= 140
    assert entry.question[-1] in "?."
    if entry.name in scripts():
        assert entry.cost, "its docstring says about what a run takes: 'about 7 minutes on 2 CPU cores'"
    declares = entry.kind in ("sweeps", "searches")
    assert bool(entry.study) == declares


def test_a_study_is_known_by_its_declaration() -> None:
    found = {entry.name: entry for entry in entries()}
    assert found["ablate_three_stage"].study == "three_stage"
    assert found["search_three_stage"].study == "search_three_stage"
    assert found["ablate_three_stage"].question == "Which part of three-stage self-training earns its place?"
    assert found["ablate_three_stage"].cost == "about 9 minutes on 2 CPU cores"


def test_the_list_says_what_is_known_of_this_machine_and_breaks_lines_where_a_terminal_ends() -> None:
    text = list_text(entries(), {"three_stage": "here about 9 min on 4 slots"}, 90)
    assert max(map(len, text.splitlines())) <= 90
    assert "here about 9 min on 4 slots]" in " ".join(text.split())
    assert all(text.count(f"\n  {name} ") == 1 for name in NAMES)


def test_a_plan_without_arguments_is_what_the_list_says_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By remembered step costs, those of finished stages among them; of another processor, or of nothing, it is as declared."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(estimate, "timed_stage", lambda *_: Cost(0.5, 0.0))
    monkeypatch.setattr(Costs, "elsewhere", lambda *_: None)  # what another machine took is no cost of this one
    monkeypatch.setattr("semiseg.sweep.resources.Ray.expected_slots", lambda _: 3)
    assert sweep(TABLE, ["--dry-run", "--seeds", "0"]) == 0
    assert noted(tmp_path / "results" / "cache") == {}
    assert sweep(TABLE, ["--dry-run"]) == 0
    said = capsys.readouterr().out.splitlines()[-1].rpartition("to train, ")[2]
    assert noted(tmp_path / "results" / "cache") == {"three_stage": said}
    assert main([]) == 0
    assert f"[here {said}]" in " ".join(capsys.readouterr().out.split())
    assert main(["--cache", str(tmp_path / "none")]) == 0
    assert "[here" not in capsys.readouterr().out
    monkeypatch.setattr("semiseg.sweep.planned.cpu_kind", lambda: "another")
    assert noted(tmp_path / "results" / "cache") == {}


@pytest.mark.parametrize("content", ["", "[]", '{"a": 3}', '{"a": {"cpu": ""}}', "{"])
def test_damaged_notes_say_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / planned.FILE).write_text(content)
    assert noted(tmp_path) == {}
    planned.note(tmp_path, "a", "about 3 min")
    assert noted(tmp_path) == {"a": "about 3 min"}


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("", True),
        ("--dry-run --out x --cache=y", True),
        ("--dry_run", True),
        ("--store --seeds --quick", False),
        ("--seeds 0", False),
        ("x", False),
    ],
)
def test_words_that_change_nothing_of_a_study(words: str, same: bool) -> None:
    assert planned.unchanged(words.split()) == same


def test_a_whole_plan_costs_as_much_when_part_of_it_is_done(tmp_path: Path) -> None:
    chain = tiny.chain(ThreeStage())
    place = tiny.place(tmp_path)
    place = replace(place, cache=shutil.copytree(place.cache, tmp_path / "cache"))  # nobody else shall remember these costs
    plan = Plan({("full", 0): chain}, frozenset({chain[0].key}))
    assert planned.whole_cost(plan, place, 1) is None
    for stage in chain:
        Costs(place).keep(stage, Cost(2.0, 0.0), "test")
    assert planned.whole_cost(plan, place, 1) == pytest.approx(2.0 * sum(stage.train.steps for stage in chain))


def test_the_list_imports_nothing_large(place: Path) -> None:
    code = f"import sys\nfrom semiseg.__main__ import main\nmain([])\nprint(sorted(set({HEAVY!r}) & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines()[-1] == "[]"
    assert ran.stdout.splitlines()[0].startswith(f"semiseg {semiseg.__version__}")


# ---- running


@pytest.mark.parametrize(("name", "folder"), [("sweep_lambda", "sweeps"), ("search_report", "analysis")])
def test_a_name_says_what_its_script_says(name: str, folder: str, place: Path) -> None:
    script = subprocess.run(
        [sys.executable, str(ROOT / folder / f"{name}.py"), "--help"], cwd=place, capture_output=True, text=True, check=True
    )
    ran = tool(place, name, "--help")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[1:] == script.stdout.splitlines()[1:]
    assert ran.stdout.splitlines()[0].startswith(f"usage: python -m semiseg {name} [-h]")


def test_a_script_finds_its_neighbours(place: Path) -> None:
    ran = tool(place, "bench_plan", "--help")
    assert "numbers of stages" in ran.stdout, ran.stderr


def test_a_refusal_keeps_its_line_and_its_status(place: Path) -> None:
    ran = tool(place, "sweep_lambda", "--train.steps", "0")
    assert (ran.returncode, ran.stderr) == (2, "error: train.steps: got 0; allowed: a whole number from 1 to 2147483647\n")
    ran = tool(place, "ablation_report", "nowhere")
    assert ran.returncode == 2
    assert "nowhere" in ran.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ablate_three_stages"], "error: command: got 'ablate_three_stages'; allowed: ablate_three_stage, "),
        (["zzz"], "error: command: got 'zzz'; allowed: what `semiseg` lists"),
        (["--completion"], "error: --completion: got ''; allowed: SHELL"),
        (["--completion", "fish"], "error: completion: got 'fish'; allowed: bash, zsh"),
        (["--version", "2"], "error: --version: got '2'; allowed: nothing behind it"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["semiseg", *words])
    assert main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said)


def test_a_package_without_scripts_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(semiseg, "__file__", str(tmp_path / "lib" / "semiseg" / "__init__.py"))
    with pytest.raises(SettingError, match="^scripts: got none in .*; allowed: an installed wheel, or a whole checkout$"):
        commands.scripts()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_main(name: str) -> None:
    assert callable(importlib.import_module(COMMANDS[name]).main)
    assert name not in OPTIONS


@pytest.mark.parametrize("door", DOORS)
def test_the_same_command_is_what_was_typed(door: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [f"{door} sweep_lambda"])
    assert command_line(["--rows", "a b"]) == f"{door} sweep_lambda --rows 'a b'"
    monkeypatch.setattr(sys, "argv", [str(ROOT / "sweeps" / "sweep_lambda.py")])
    monkeypatch.chdir(ROOT)
    assert command_line(["--quick"]) == "python sweeps/sweep_lambda.py --quick"


# ---- completion


@pytest.fixture
def door(place: Path) -> Path:
    """What an installation calls `semiseg`."""
    file = place / "semiseg"
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m semiseg "$@"\n')
    file.chmod(0o755)
    return file


COMPLETE = {
    "bash": 'COMP_WORDS=("$DOOR" {words}); COMP_CWORD={at}; _semiseg; printf "%s\\n" "${{COMPREPLY[@]}}"',
    "zsh": 'compadd() {{ shift; print -l -- "${{(@M)@:#$words[CURRENT]*}}" }}; words=("$DOOR" {words}); CURRENT=$(({at} + 1)); _semiseg',
}
BEFORE = {"bash": "", "zsh": "compdef() { : }\n_files() { : }\n"}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["ablate_m"], ["ablate_mean_teacher_mri", "ablate_mean_teacher_pets"]),
        (["ablation_report", "--report.s"], ["--report.sample-rows"]),
        (["ablation_report", "--report.axis", ""], ["step", "epoch", "share"]),
        (["ablation_report", "--report.axis", "s"], ["step", "share"]),
        (["ablation_report", "re"], []),
    ],
    ids=" ".join,
)
def test_shells_complete(shell: str, words: list[str], wanted: list[str], door: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    quoted = " ".join(f"'{word}'" for word in words)
    code = BEFORE[shell] + 'eval "$("$DOOR" --completion SHELL)"\n'.replace("SHELL", shell)
    code += COMPLETE[shell].format(words=quoted, at=len(words))
    ran = subprocess.run(
        [shell, "-c", code], env=os.environ | {"DOOR": str(door)}, capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.split() == wanted, ran.stderr


def test_flags_of_tyro_and_argparse_are_offered_with_their_choices() -> None:
    tyro = "│ -h, --help    │\n│ --vary {None,both} │\n│ --out {None}|PATH │\n│ --anchors [{fair,none} [{fair,none} ...]]\n│ --quick, --no-quick │"
    assert offered(tyro).splitlines() == [
        "--help",
        "--vary None both",
        "--out",
        "--anchors fair none",
        "--quick",
        "--no-quick",
    ]
    assert offered("│ as --cc │\n│ --seeds. │") == "--seeds"
    assert offered("  --axis {step,share}\n       of --curves, see --no-such") == "--axis step share"


def test_flags_of_a_sweep_come_from_its_help(place: Path) -> None:
    found = tool(place, "--flags", "ablate_three_stage").stdout.splitlines()
    assert {"--vary None training labelled both crossed", "--rows", "--method.lambda1", "--ray.trials"} <= set(found)


# ---- one version


def test_the_version_stands_in_one_place() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = next(line for line in changes.splitlines() if line.startswith("## "))
    assert newest == f"## {semiseg.__version__}"
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "title", "message", "authors", "license"} <= set(citation)
    assert "version" not in citation
