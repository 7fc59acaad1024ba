"""Which settings shall a preset have? Declared candidates, judged by selection scores in development; a small table says which and why.

A choice declares a base preset, steps and seeds, and rounds of candidates. Every candidate is a row that the tool itself trains with
`--development`, `--anchors none` and `--vary training`: other seeds, and another labelled subset, the same for all of them, than any that
is reported, and no test image is scored. In each
round a candidate is the winner so far with one change, and the winner so far is the first of them.

A run that leaves a class below 10 % IoU has lost it, which a mean over seeds hides: only the candidates with the fewest such runs are
chosen among. Of those the choice is made by the mean selection score over the seeds. Candidates within one standard error of the best are
as good (the standard error of their difference, paired by seed: sd / sqrt(n)), and of those the first declared, the simplest, is chosen.
With one seed there is no standard error: the best is chosen, of equal ones the first.

    python analysis/choose_settings.py acdc --data.root PATH
    python analysis/choose_settings.py acdc --data.root PATH --dry-run

Which images a study is made of (`demo-scenes`) is not judged by scores, of which easy images have high ones, nor by whether a method wins: every
candidate trains labels alone and all labels, and is judged by their difference at each seed. Of those where the fewest runs with all labels lose a class and
where the mean difference, what there is to gain, is at least 2 points, the one is chosen whose differences spread least, as that is where few seeds decide
most; within one standard error of that spread, sd / sqrt(2 (n - 1)), the first.

All flags of a sweep are understood (docs/sweeps.md). The choice for pets takes an estimated 10 minutes on 2 CPU cores, others more. The same command from an empty store, on the same kind of CPU, writes the same
table, the cost apart; with finished stages in the store it trains only what is missing. `--table FILE` says where to.
"""

import argparse
import math
import shlex
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import le
from pathlib import Path
from typing import NamedTuple

import torch

from semiseg.change import Change, Row, change
from semiseg.codec import hints_of, value_words, write_row
from semiseg.config import Data, SettingError, require
from semiseg.outside import local_path
from semiseg.provenance import git_revision
from semiseg.report.scores import score_table
from semiseg.report.statistics import paired, spread
from semiseg.report.unlearned import LOST, class_ious
from semiseg.results import read, write_bytes
from semiseg.store import Store
from semiseg.sweep.arguments import parse
from semiseg.sweep.bench import DONE, Bench
from semiseg.sweep.choices import CHOICES, Aim, Choice, Proposal
from semiseg.sweep.command import guarded
from semiseg.sweep.declaration import Ablation
from semiseg.sweep.study import Study

NOT_SAID = ("--data.root", "--store", "--cache", "--out", "--table", "--ray.trials")
"""Flags of a command line, each with a word behind it, that decide nothing."""


class Scored(NamedTuple):
    """A candidate with its selection score by seed, in [0,1]; `words` are what it changes of the base preset."""

    name: str
    words: str
    scores: Mapping[int, float]
    seconds: float  # of CPU, all seeds
    lost: int = 0  # seeds at which a class is lost


LEAST = 0.02
"""What there must be to gain on images that are chosen: with less a sweep says that it cannot tell (--headroom 2)."""
ALL = "all labels"


def chosen(candidates: Sequence[Scored], aim: Aim = "score") -> Scored:
    """Of those that lose a class at the fewest seeds the first declared within one standard error, paired by seed, of their best mean;
    with aim headroom of the least spread, where there is enough to gain. SettingError for a missing score, or where nowhere is."""
    for one in candidates:
        require(all(map(math.isfinite, one.scores.values())), f"candidate {one.name!r}", dict(one.scores), "a score at every seed")
    fewest = min(one.lost for one in candidates)
    steady = [one for one in candidates if one.lost == fewest]
    if aim == "headroom":
        steady = [one for one in steady if spread(one.scores.values()).mean >= LEAST]
        require(bool(steady), "candidates", [one.name for one in candidates], f"one where all labels add {100 * LEAST:.0f} points")
    best = best_of(steady, aim)
    return next(one for one in steady if one is best or le(*behind_best(one, best, aim)))


def best_of(candidates: Sequence[Scored], aim: Aim = "score") -> Scored:
    """With the best mean, or with the least spread; of equal ones the first."""
    if aim == "headroom":
        return min(candidates, key=lambda one: spread(one.scores.values()).sd)
    return max(candidates, key=lambda one: spread(one.scores.values()).mean)


def behind_best(one: Scored, best: Scored, aim: Aim = "score") -> tuple[float, float]:
    """By how much the best is ahead, and the standard error of that: 0 with one seed."""
    if aim == "headroom":
        n, _, sd = spread(best.scores.values())
        return spread(one.scores.values()).sd - sd, sd / math.sqrt(2 * (n - 1))
    delta = paired(best.scores, one.scores)
    return delta.mean, delta.sd / math.sqrt(delta.n) if delta.n > 1 else 0.0


def table_of(name: str, rounds: Sequence[Sequence[Scored]], about: Iterable[str], aim: Aim = "score") -> str:
    """The Markdown page: what was asked, a table a round, the choice."""
    lines = [f"# Settings of `{name}`", "", *about]
    for number, candidates in enumerate(rounds, 1):
        choice, best = chosen(candidates, aim), best_of(candidates, aim)
        head = "| candidate | n | mean | sd | behind the best | standard error | seeds that lose a class | CPU s |"
        lines += ["", f"## Round {number}", "", head, f"|{' --- |' * 8}"]
        for one in candidates:
            n, mean, sd = spread(one.scores.values())
            behind, error = behind_best(one, best, aim)
            marked = f"**{one.name}** (chosen)" if one is choice else one.name
            numbers = (
                _percent(mean),
                _percent(sd),
                _percent(behind),
                _percent(error) if n > 1 else "-",
                str(one.lost),
                f"{one.seconds:.0f}",
            )
            lines.append(f"| {marked} | {n} | {' | '.join(numbers)} |")
    last = chosen(rounds[-1], aim)
    words = textwrap.wrap(
        last.words, 120, initial_indent="    ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join([*lines, "", f"Chosen: {last.name}", "", *words, ""])


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.2f}"


class Chooser:
    """A choice with a command line: trains rounds and reads their scores."""

    def __init__(self, name: str, choice: Choice, words: list[str]) -> None:
        self.name, self.choice, self.words = name, choice, words
        self.used, self.images = choice.base, ""
        """The preset as the command line has made it, and what its images are."""

    def run(self) -> list[list[Scored]]:
        """The candidates of every round with their scores; with --dry-run those of the first one are planned, and none come back."""
        so_far, name, found = Proposal(self.choice.row), self.choice.start, []
        for number, changes in enumerate(self.choice.rounds, 1):
            candidates = {name: so_far} | {f"{name}; {new}" if number > 1 else new: so_far | one for new, one in changes.items()}
            scored = self._scored(number, candidates)
            if not scored:
                return []
            found.append(scored)
            name = chosen(scored, self.choice.aim).name
            so_far = candidates[name]
        return found

    def _scored(self, number: int, candidates: Mapping[str, Proposal]) -> list[Scored]:
        """One study for all candidates that read their images alike."""
        found: dict[str, Scored] = {}
        for part, data in enumerate(_distinct([one.data for one in candidates.values()])):
            rows = {name: one.row for name, one in candidates.items() if one.data == data}
            found |= self._study(f"{number}-{part}", rows, data)
        return [found[name] for name in candidates if name in found]

    def _study(self, part: str, rows: dict[str, Row], data: Change[Data]) -> dict[str, Scored]:
        base = replace(self.choice.base, data=data.of(self.choice.base.data))
        alone, headroom = rows, self.choice.aim == "headroom"
        if headroom:
            every = Row(data=change(Data, labelled="all"))
            rows = rows | {f"{name}, {ALL}": row | every for name, row in rows.items()}
        table = Ablation(
            name=f"settings_{self.name}",
            title=f"Settings of {self.name}, round {part}",
            question="Which settings?",
            rows=rows,
            reference=next(iter(rows)),
            presets={"demo": base},
        )
        arguments, preset = parse(table, [*self.words, "--development", "--anchors", "none", "--vary", "training"])
        arguments = replace(arguments, out=(arguments.out or Path("results") / table.name) / part)
        bench = Bench(preset, arguments, table.name)
        study = Study(table, preset, arguments, self.words, bench)
        if study.run() != DONE:
            raise SettingError(f"{table.name}: some stage failed; allowed: candidates that can be trained")
        if arguments.dry_run:
            return {}
        if data == Change(Data):
            self.used = replace(preset, train=bench.train)
        splits = bench.splits
        self.images = self.images or (
            f"{bench.pack.name}: {len(splits.labelled)} labelled of {len(splits.training)} training images, "
            f"{len(splits.selection)} selection images"
        )
        store, scored = bench.place.open_store(), {}
        found = read(study.out)
        ious = class_ious(found)
        cells = {row.name: row.cells for row in score_table(found).rows}
        for name, row in alone.items():
            mine, best = cells[name], cells[f"{name}, {ALL}" if headroom else name]
            keys = _with_teachers(store, {cell.key for part in (mine, best) for cell in part.values()})
            seconds = sum(store.info(key)["cpu_seconds"] for key in keys)
            words = " ".join([write_row(row, preset.methods()), *_data_words(data)])
            lost = sum(any(iou < LOST for iou in ious[cell.key, cell.role].values()) for cell in best.values())
            scores = {seed: cell.value - (mine[seed].value if headroom else 0.0) for seed, cell in best.items()}
            scored[name] = Scored(name, words, scores, seconds, lost)
        return scored

    def about(self) -> list[str]:
        """Command, revision and machine; no date, so that the same again is the same."""
        train, seeds = self.used.train, len(self.used.seeds)
        bf16 = "with" if torch.cpu.get_capabilities().get("avx512_bf16", False) else "without"
        command, revision = said(self.name, self.words), git_revision() or "unknown"
        how = f"{train.steps} steps of {train.batch_labelled} labelled images, {self.choice.trains}, {seeds} seeds."
        judged = [
            f"Mean and sd of the selection score ({train.score}) in percent, in development: no test image was scored. Of the candidates that",
            f"lose a class (IoU below {100 * LOST:.0f} %) at the fewest seeds, and of them within one standard error of the best (of the",
            "difference, paired by seed), the first one is chosen.",
        ]
        if self.choice.aim == "headroom":
            judged = [
                f"Mean and sd of what all labels add to the selection score ({train.score}) in points, in development: no test image was scored, no",
                f"method was tried. Of the candidates where runs with all labels lose a class (IoU below {100 * LOST:.0f} %) at the fewest seeds and the",
                f"mean is {100 * LEAST:.0f} or more, and of them within one standard error of the least sd, the first one is chosen; behind the best is by sd.",
            ]
        return [
            f"`{command}` at revision {revision}, on a CPU {bf16} AVX512-BF16, in {train.precision}.",
            "",
            f"{self.images}; {how}",
            *judged,
        ]


def _with_teachers(store: Store, keys: Iterable[str]) -> set[str]:
    """The stages and all that they learn from, each once."""
    found, waiting = set[str](), list(keys)
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting += store.info(key)["teachers"]
    return found


def _data_words(data: Change[Data]) -> list[str]:
    return [word for name, value in data.values.items() for word in value_words(f"data.{name}", value, hints_of(Data)[name])]


def _distinct(changes: Iterable[Change[Data]]) -> list[Change[Data]]:
    found: list[Change[Data]] = []
    for one in changes:
        if one not in found:
            found.append(one)
    return found


def said(name: str, words: Sequence[str]) -> str:
    """The command without what decides nothing."""
    kept, left = [], list(words)
    while left:
        word = left.pop(0)
        if word in NOT_SAID:
            del left[:1]
        else:
            kept.append(word)
    place = [] if CHOICES[name].base.data.name == Data().name else ["--data.root", "PATH"]
    return shlex.join(["python", "analysis/choose_settings.py", name, *place, *kept])


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 the table is written, 2 unusable arguments or data, as of a sweep."""

    def run(words: list[str]) -> int:
        parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
        parser.add_argument("name", choices=list(CHOICES), help="what is chosen")
        parser.add_argument("--table", type=Path, default=None, help="the table (docs/evidence/settings_NAME.md)")
        known, rest = parser.parse_known_args(words)
        chooser = Chooser(known.name, CHOICES[known.name], rest)
        rounds = chooser.run()
        if not rounds:
            return DONE
        text = table_of(known.name, rounds, chooser.about(), chooser.choice.aim)
        file = local_path(known.table or Path("docs/evidence") / f"settings_{known.name}.md", "table")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, text.encode())
        print(text)
        print(f"table: {file}")
        return DONE

    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
