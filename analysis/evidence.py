"""What do the papers' claims come to, by the tool itself? The studies that decide them: the plan, their runs, and what is kept of them.

Without a flag it prints the declared studies (semiseg.sweep.evidence) with their CPU hours and what has been done. With `--run` they are
run one after another, each on one core; with `--keep` their numbers, without pictures and weights, are copied into docs/evidence/NAME.

    python analysis/evidence.py
    nohup python analysis/evidence.py --run --data PATH > evidence.log &
    python analysis/evidence.py --keep three_stage_acdc

A run goes on where it was cut short, as every study does: the store is shared. What a study says goes to OUT/NAME.log. A closed terminal
ends nothing; Ctrl-C and SIGTERM end the study that runs, in good order. Two runs with the same OUT are refused. The plan alone takes
about two seconds.
"""

import argparse
import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple

from semiseg.config import SettingError, require
from semiseg.outside import local_folder, local_path, store_location
from semiseg.provenance import git_revision
from semiseg.results import SCHEMAS, read, read_study, write_bytes, write_study
from semiseg.store import Store
from semiseg.sweep.command import guarded
from semiseg.sweep.evidence import EVIDENCE, FINAL, KEPT, PATH, Evidence
from semiseg.sweep.stop import Stopped

ROOT = Path(__file__).parents[1]
MOST_MIB = 5
"""Of all that is kept."""


class Places(NamedTuple):
    """Where studies read and write; all absolute."""

    data: Path | None
    """With a folder for every data set."""
    out: Path
    store: str
    cache: Path
    kept: Path

    def results(self, name: str, study: Evidence) -> Path:
        """The folder with the study's tables."""
        return self.out / name / FINAL if study.search else self.out / name


def plan(studies: Mapping[str, Evidence], places: Places) -> str:
    """The studies with their hours and what has been done, and the sum."""
    lines = []
    for name, study in studies.items():
        lines += [f"{name}: {study.claim}", f"  {study.command}", f"  paper: {study.printed}"]
        lines += [f"  planned: {study.hours:g} CPU hours; {state(name, study, places)}", ""]
    return "\n".join([*lines, f"{len(studies)} studies, {sum(one.hours for one in studies.values()):g} CPU hours"])


def state(name: str, study: Evidence, places: Places) -> str:
    """Whether a study is kept, and what its results in OUT say."""
    kept = ", kept" if (places.kept / name / KEPT).is_file() else ""
    try:
        record = read_study(places.results(name, study))
    except ValueError:
        return f"no results{kept}"
    done = f"{record.plan.get('stages', 0)} stages planned" if record.until is None else f"until decided: {record.until.reason}"
    return f"results of revision {record.provenance.git or 'unknown'}, {done}{kept}"


def words_of(name: str, study: Evidence, places: Places) -> list[str]:
    """The words behind `python` that run the study on one core."""
    words = study.words
    if study.data:
        require(places.data is not None, "data", None, f"a folder that holds {study.data}, for {name}")
        root = Path(places.data or "") / study.data
        require(root.is_dir(), "data", str(root), f"a folder that is there, for {name}")
        words = [str(root) if word == PATH else word for word in words]
    ours = {"--out": places.out / name, "--store": places.store, "--cache": places.cache, "--ray.trials": 1}
    return [*words, *(str(word) for pair in ours.items() for word in pair)]


class Runner:
    """Runs studies one after another. `lock` is held by the study that runs too, so that it is not joined by another run of it when this
    process is killed."""

    def __init__(self, places: Places, lock: IO[str]) -> None:
        self.places, self.lock = places, lock

    def run(self, studies: Mapping[str, Evidence], more: Sequence[str]) -> dict[str, int]:
        """Exit status by study; `more` are further words for each."""
        todo = {name: [*words_of(name, study, self.places), *more] for name, study in studies.items()}  # refused before any is run
        self.say(f"{len(todo)} studies at revision {git_revision() or 'unknown'}")
        found = {}
        for name, words in todo.items():
            began = time.monotonic()
            self.say(f"{name}: {shlex.join(['python', *words])}")
            found[name] = self._one(name, words)
            self.say(f"{name}: exit status {found[name]} after {time.monotonic() - began:.0f} s; {self.log(name)}")
        return found

    def log(self, name: str) -> Path:
        """What the study has said, in all its runs."""
        return self.places.out / f"{name}.log"

    def say(self, line: str) -> None:
        """To the terminal, where there still is one, and to OUT/evidence.log."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}"
        with (self.places.out / "evidence.log").open("a", encoding="utf-8") as file:
            print(line, file=file)
        try:
            print(line, flush=True)
        except OSError:  # the terminal was closed
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115

    def _one(self, name: str, words: Sequence[str]) -> int:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with self.log(name).open("ab") as log:
            child = subprocess.Popen(  # of a session of its own: a closed terminal and Ctrl-C reach this process alone
                [sys.executable, *words],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[self.lock.fileno()],
            )
        try:
            return child.wait()
        except Stopped as stopped:
            self.say(f"{name}: stopped by {stopped}; the same command goes on from here")
            child.send_signal(stopped.number)
            child.wait()
            raise


def locked(out: Path) -> IO[str]:
    """A file that this process and the study it starts hold. SettingError where others do."""
    file = (out / ".evidence.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SettingError(f"out: got {str(out)!r}, where a run goes on; allowed: its end awaited, or another folder") from None
    return file


def keep(name: str, study: Evidence, places: Places) -> Path:
    """Copy what a study found, without pictures, weights and what is only of this machine. SettingError where there is nothing whole.

    What it took are CPU seconds, or the wall time of its stages where the store has them not.
    """
    source, folder = places.results(name, study), places.kept / name
    try:
        results = read(source)
    except ValueError as error:
        raise SettingError(f"keep: {error}") from None
    waiting = [stage["name"] for stage in results.stages.to_pylist() if stage["state"] not in ("done", "failed", "skipped")]
    require(
        not waiting or results.study.until is not None,
        "keep",
        f"{name}, where {len(waiting)} stages wait",
        "studies that have ended",
    )
    places.kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=places.kept, prefix=".keeping-") as made:
        aside = Path(made) / name
        write_study(aside, replace(results.study, provenance=replace(results.study.provenance, command=study.command)))
        for table in SCHEMAS:
            if (source / f"{table}.parquet").is_file():
                shutil.copyfile(source / f"{table}.parquet", aside / f"{table}.parquet")
        store = Store(places.store, places.cache / "mirror")
        done = [stage for stage in results.stages.to_pylist() if stage["state"] == "done"]
        if all(store.has(stage["key"]) for stage in done):
            took = {"stages": len(done), "cpu_seconds": round(sum(store.info(stage["key"])["cpu_seconds"] for stage in done), 1)}
        else:  # trained on another machine, from which tables came back and no store
            took = {"stages": len(done), "wall_seconds": round(sum(stage["seconds"] for stage in done), 1)}
        if study.search:
            search = json.loads((places.out / name / "search.json").read_text(encoding="utf-8"))
            took["search_seconds"] = round(search["seconds"]["spent"], 1)
        write_bytes(aside / KEPT, f"{json.dumps(took, indent=1)}\n".encode())
        files = [file for file in places.kept.rglob("*") if file.is_file() and not file.is_relative_to(folder)]
        size = sum(file.stat().st_size for file in files) / 2**20
        require(size <= MOST_MIB, "keep", f"{size:.1f} MiB in {places.kept} with {name}", f"at most {MOST_MIB} MiB in all")
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    return folder


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 all that was asked is done, 1 some study was not, 2 unusable arguments, 128 + the signal's number when stopped."""

    def run(words: list[str]) -> int:
        parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
        parser.add_argument("names", nargs="*", metavar="NAME", help="studies, in this order (all, as declared)")
        parser.add_argument("--run", action="store_true", help="run them, one after another, each on one core")
        parser.add_argument("--dry-run", action="store_true", help="print what each would train and take on this machine")
        parser.add_argument("--keep", action="store_true", help="copy the numbers of those that have ended into docs/evidence")
        parser.add_argument("--data", type=Path, help="folder that holds a folder for every data set")
        parser.add_argument("--out", type=Path, default=Path("results/evidence"), help="results and logs")
        parser.add_argument("--store", default="results/store", help="finished stages, shared by all")
        parser.add_argument("--cache", type=Path, default=Path("results/cache"), help="decoded images")
        parser.add_argument("--kept", type=Path, default=ROOT / "docs" / "evidence", help="where --keep copies to")
        asked = parser.parse_args(words)
        for name in asked.names:
            require(name in EVIDENCE, "NAME", name, ", ".join(EVIDENCE))
        studies = {name: EVIDENCE[name] for name in asked.names or EVIDENCE}
        data, kept = asked.data and local_path(asked.data, "data"), local_path(asked.kept, "kept")
        out, cache = local_path(asked.out, "out"), local_path(asked.cache, "cache")
        places = Places(data, out, store_location(asked.store), cache, kept)
        status = dict.fromkeys(studies, 0)
        if asked.run or asked.dry_run:
            local_folder(out, "out")
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            with locked(out) as lock:
                status = Runner(places, lock).run(studies, ["--dry-run"] if asked.dry_run else [])
        if asked.keep:
            for name, study in studies.items():
                print(f"{name}: not kept" if status[name] else keep(name, study, places))
        if not (asked.run or asked.dry_run or asked.keep):
            print(plan(studies, places))
        return int(any(status.values()))

    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
