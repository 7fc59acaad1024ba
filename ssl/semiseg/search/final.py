"""The end of a search: the configuration that is picked against the default on seeds of their own, and the files that say so."""

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from semiseg.change import Row
from semiseg.codec import difference
from semiseg.development import reported_data
from semiseg.report.answer import answer
from semiseg.report.metrics import pretty
from semiseg.report.scores import score_table
from semiseg.results import read
from semiseg.search.arguments import SearchArguments
from semiseg.search.choice import leaders
from semiseg.search.closing import closing, finite, spent
from semiseg.search.configuration import NET, Configuration
from semiseg.search.declaration import Search
from semiseg.search.ledger import Ledger
from semiseg.search.report import write_search_report
from semiseg.sweep.bench import Bench
from semiseg.sweep.declaration import Ablation, Preset
from semiseg.sweep.saved import Saved, write_config
from semiseg.sweep.study import Study

DEFAULT, BEST = "default", "best"
FINAL = "final"
"""Folder of the comparison inside the results of the search."""


def final_study(
    search: Search,
    preset: Preset,
    arguments: SearchArguments[Any],
    picked: Configuration,
    *,
    out: Path,
    words: Sequence[str] = (),
    bench: Bench | None = None,
) -> Study:
    """The study of the default method, its anchors and, when it is another one, the picked method, on all seeds and with the picked
    network."""
    default = preset.method
    rows = {DEFAULT: Row()} | ({} if picked.method == default else {BEST: Row(difference(picked.method, default))})
    if bench is not None and picked.net != bench.net:
        preset, bench = replace(preset, net=picked.net), copy.copy(bench)
        bench.net = picked.net
    preset = replace(preset, rows=tuple(rows), adds={})
    table = Ablation(  # a comparison, so that both rows stand beside their anchors and all labels
        name=search.name,
        title=f"{search.title}: the best configuration against the default",
        question=search.question,
        rows=rows,
        reference=DEFAULT,
        against={},
        presets={arguments.preset: preset},
    )
    return Study(table, preset, replace(arguments, out=out / FINAL), words, bench)


def close(out: Path, ledger: Ledger, trial: FrozenTrial, picked: Configuration, compared: Study) -> None:
    """Write best.json, search.json and the report; print the closing table."""
    preset, bench = compared.preset, compared.bench
    assert bench is not None
    table = score_table(read(out / FINAL))
    rows = {row.name: row for row in table.rows}
    finished = ledger.all(TrialState.COMPLETE)
    (judged,) = (one for one in leaders(finished) if one.trial.number == trial.number)
    first = next((one for one in finished if one.user_attrs.get("default")), None)
    chosen, default = rows.get(BEST, rows[DEFAULT]), rows[DEFAULT]
    delta = chosen.delta if chosen is not default else None  # the default's is to its anchor
    room = table.headrooms.get(chosen.name)
    beside = {} if room is None else {"labels only": room.anchor, "all labels": room.all_labels}
    other = first is not None and any(
        trial.params.get(name) != first.params.get(name) for name in trial.params if name.startswith(NET)
    )
    same_net = (f"All are compared on the network of trial {trial.number}, which is not the default's.",) if other else ()
    summary: dict[str, Any] = {
        "split": "selection" if compared.arguments.development else "test",
        "best": {
            "trial": trial.number,
            "selection": judged.mean,
            "selection_error": judged.error,
            "selection_seeds": judged.n,
            "test": chosen.score._asdict(),
            "params": trial.params,
        },
        "default": {"selection": first.values[0] if first else None, "test": default.score._asdict()},
        "anchors": {who: rows[name].score._asdict() for who, name in beside.items() if name},
        "verdict": (*same_net, *(answer(table, pretty(preset.train.score)).sentences if room or table.until else ())),
        "delta_selection": judged.mean - first.values[0] if first else None,
        "delta_test": {name: getattr(delta, name) for name in ("mean", "sd", "n", "low", "high")} if delta else None,
        "counts": {
            name: len(ledger.all(state))
            for name, state in (("finished", TrialState.COMPLETE), ("pruned", TrialState.PRUNED), ("failed", TrialState.FAIL))
        },
        "seconds": spent(ledger),
    }
    (out / "search.json").write_text(json.dumps(finite(summary), indent=1) + "\n", encoding="utf-8")
    saved = Saved(reported_data(preset.data), bench.net, bench.train, picked.method)
    score = {"selection": judged.mean, "test": finite(chosen.score._asdict()), "seeds": list(table.seeds)}
    write_config(out / "best.json", saved, {"score": score, "trial": trial.number})
    page = write_search_report(out)
    print(f"\n{closing(summary, pretty(preset.train.score))}\n\nbest configuration: {out / 'best.json'}\nreport: {page}")
