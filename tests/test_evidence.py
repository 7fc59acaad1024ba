"""Declared studies are planned, run one after another and kept without what is large; two made-up ones stand for them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from declared import SEARCHES, TABLES
from evidence_studies import STUDIES, seconds_in, world

import evidence
from semiseg.config import SettingError
from semiseg.results import read
from semiseg.search.arguments import parse_search
from semiseg.sweep.arguments import parse
from semiseg.sweep.budget import seconds_of
from semiseg.sweep.evidence import EVIDENCE, Evidence, folders


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(evidence, "ROOT", world(tmp_path))
    monkeypatch.setattr(evidence, "EVIDENCE", STUDIES)
    return tmp_path


def ran(root: Path, *words: str) -> int:
    places = {"--out": "out", "--store": "store", "--cache": "cache", "--kept": "kept", "--data": "data"}
    return evidence.main([*words, *(part for flag, name in places.items() for part in (flag, str(root / name)))])


@pytest.mark.parametrize("name", EVIDENCE)
def test_a_declared_study_is_one_that_its_script_takes(name: str) -> None:
    study = EVIDENCE[name]
    script, words = Path(study.words[0]).stem, study.words[1:]
    if study.search:
        arguments = parse_search(SEARCHES[script], words)[0]
    else:
        arguments = parse(TABLES[script], words)[0]
    assert arguments.data.root == (Path("PATH") if study.data else None)
    if arguments.budget is not None:
        assert seconds_of(arguments.budget) <= 3600 * study.hours
    assert study.claim.endswith(".")
    assert study.printed


def test_all_of_them_take_about_a_day_at_most() -> None:
    assert sum(study.hours for study in EVIDENCE.values()) <= 24


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"command": "make ablate"}, "command: got 'make ablate'; allowed: python sweeps/SCRIPT"),
        ({"command": "python sweeps/a.py --out x"}, "command: got '--out'; allowed: none of"),
        ({"command": "python sweeps/a.py --data.root PATH"}, "data: got ''; allowed: a folder's name"),
        ({"data": "pets"}, "data: got 'pets'; allowed: a folder's name where the command has PATH"),
        ({"hours": 0}, "hours: got 0; allowed: CPU hours > 0"),
    ],
)
def test_a_declaration_that_cannot_be_run_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(SettingError, match=re.escape(said)):
        Evidence(**({"claim": "c.", "command": "python sweeps/a.py", "hours": 1, "printed": "nothing"} | changes))


def test_a_name_is_one_of_a_folder() -> None:
    with pytest.raises(SettingError, match="name: got 'a/b'; allowed: lower-case letters"):
        folders({"a/b": STUDIES["unclear"]})


def test_the_plan_says_hours_and_what_is_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(root) == 0
    said = capsys.readouterr().out
    assert "planned: 0.5 CPU hours; no results\n" in said
    assert said.endswith("2 studies, 1.75 CPU hours\n")
    assert ran(root, "--run", "--keep", "helps") == 0
    capsys.readouterr()
    assert ran(root) == 0
    assert "planned: 0.5 CPU hours; results of revision abc1234, 54 stages planned, kept\n" in capsys.readouterr().out


def test_studies_run_one_after_another_on_one_core_from_one_store(root: Path) -> None:
    assert ran(root, "--run") == 0
    for name, data in (("helps", f"--data.root {root}/data/pets "), ("unclear", "")):
        said = f"said 1 --from {name} {data}--out {root}/out/{name} --store {root}/store --cache {root}/cache --ray.trials 1\n"
        assert (root / "out" / f"{name}.log").read_text() == said
    lines = (root / "out" / "evidence.log").read_text().splitlines()
    assert [re.sub(r"^[-\d]+ [\d:]+ (\w+: \w+).*", r"\1", line) for line in lines[1:]] == [
        "helps: python",
        "helps: exit",
        "unclear: python",
        "unclear: exit",
    ]


def test_one_that_fails_does_not_keep_the_others_from_running_nor_is_it_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Evidence(claim="c.", command=STUDIES["unclear"].command + " --status 1", hours=1, printed="nothing")
    monkeypatch.setattr(evidence, "EVIDENCE", {"fails": failing} | STUDIES)
    assert ran(root, "--run", "--keep") == 1
    assert sorted(path.name for path in (root / "kept").iterdir()) == ["helps", "unclear"]


def test_what_is_kept_is_small_and_reads_like_the_results(root: Path) -> None:
    assert ran(root, "--run", "--keep") == 0
    kept = root / "kept" / "helps"
    assert {path.name for path in kept.iterdir()} == {"study.json", "kept.json"} | {
        f"{table}.parquet" for table in ("stages", "metrics", "curves", "rows")
    }
    found, source = read(kept), read(root / "out" / "helps")
    assert found.metrics.equals(source.metrics)
    assert found.rows.equals(source.rows)
    assert found.study.provenance.command == STUDIES["helps"].command
    assert str(root) not in (kept / "study.json").read_text()
    assert seconds_in(kept) == 2.0 * source.stages.num_rows


def test_of_a_search_the_comparison_at_its_end_is_kept_with_what_its_trials_took(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Evidence(claim="c.", command="python sweeps/search_tiny.py", hours=1, printed="nothing")
    monkeypatch.setattr(evidence, "EVIDENCE", {"search": search})
    shutil.copytree(root / "sweeps" / "helps", root / "out" / "search" / "final")
    (root / "out" / "search" / "search.json").write_text('{"seconds": {"spent": 40.25}}')
    assert ran(root, "--keep") == 0
    assert json.loads((root / "kept" / "search" / "kept.json").read_text()) == {
        "stages": 12,
        "cpu_seconds": 24.0,
        "search_seconds": 40.2,
    }
    assert read(root / "kept" / "search").study.reference == "full"


def test_of_a_study_whose_store_is_elsewhere_the_wall_time_of_its_stages_is_kept(root: Path) -> None:
    assert ran(root, "--run", "helps") == 0
    shutil.rmtree(root / "store")
    assert ran(root, "--keep", "helps") == 0
    stages = read(root / "out" / "helps").stages.to_pylist()
    took = json.loads((root / "kept" / "helps" / "kept.json").read_text())
    assert took == {"stages": len(stages), "wall_seconds": pytest.approx(sum(stage["seconds"] for stage in stages), abs=0.05)}


def test_nothing_is_kept_of_a_study_that_has_not_ended(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(root, "--keep", "helps") == 2
    assert "keep: " in capsys.readouterr().err
    assert not (root / "kept").exists()


def test_what_is_kept_has_a_limit(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(evidence, "MOST_MIB", 0.001)
    assert ran(root, "--run", "--keep", "helps") == 2
    assert "allowed: at most 0.001 MiB in all" in capsys.readouterr().err
    assert list((root / "kept").iterdir()) == []  # refused before anything is there


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--run", "nobody"], "NAME: got 'nobody'; allowed: helps, unclear"),
        (["--run", "helps", "--data", "nowhere"], "a folder that is there, for helps"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(
    root: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = evidence.main([*words, "--out", str(root / "out")])
    assert (status, said in capsys.readouterr().err) == (2, True)
    assert not list((root / "out").glob("*.log"))


WAITING = "import sys, time\nprint('waiting', flush=True)\ntime.sleep(60)\n"


def started(root: Path) -> subprocess.Popen:
    """A run of the study "unclear", which waits for a minute, as a process of its own."""
    (root / "sweeps" / "tiny.py").write_text(WAITING)
    code = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(evidence.__file__).parent)]!r}\n"
        "from pathlib import Path\nimport evidence\nfrom evidence_studies import STUDIES\n"
        f"evidence.ROOT, evidence.EVIDENCE = Path({str(root)!r}), STUDIES\n"
        f"sys.exit(evidence.main(['--run', 'unclear', '--out', {str(root / 'out')!r}, '--store', {str(root / 'store')!r}]))"
    )
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "132"})
    log = root / "out" / "unclear.log"
    for _ in range(600):
        if log.is_file() and "waiting" in log.read_text():
            return run
        time.sleep(0.1)
    raise AssertionError("the study has not begun")


def test_a_closed_terminal_ends_nothing_and_sigterm_ends_the_study_too(root: Path) -> None:
    run = started(root)
    run.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert run.poll() is None
    with pytest.raises(SettingError, match="where a run goes on"):
        evidence.locked(root / "out")
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=30) == 128 + signal.SIGTERM
    evidence.locked(root / "out").close()


def test_a_run_that_was_killed_leaves_the_lock_to_the_study_it_started(root: Path) -> None:
    run = started(root)
    (child,) = [int(word) for word in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()]
    run.kill()
    run.wait(timeout=30)
    with pytest.raises(SettingError, match="where a run goes on"):
        evidence.locked(root / "out")
    os.kill(child, signal.SIGKILL)
