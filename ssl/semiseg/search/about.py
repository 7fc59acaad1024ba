"""What a search says of itself: its identity, and what its page tells of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from semiseg.config import Train
from semiseg.methods import name_of
from semiseg.outside import command_line
from semiseg.provenance import versions
from semiseg.search.arguments import SearchArguments
from semiseg.search.configuration import Configuration
from semiseg.search.declaration import Search
from semiseg.search.feed import evaluations
from semiseg.search.judging import Judges
from semiseg.search.space import Space, extent
from semiseg.stage import Stage, by_content, for_key, of_training, plain
from semiseg.sweep.bench import Bench


def identity_of(
    arguments: SearchArguments[Any], space: Space, base: Configuration, judges: Judges, compared: Stage, train: Train
) -> dict[str, Any]:
    """Everything that the trials of a search have in common; `compared` is a stage of the default with the first judge."""
    a = arguments
    return {
        "data": plain(compared.split),
        "net": by_content(compared.net),
        "train": of_training(train),
        "method": {"name": name_of(base.method), **for_key(base.method)},
        "space": extent(space, base),
        "sampler": [a.sampler, a.sampler_seed],
        "search_seeds": list(judges.seeds),
        "objectives": "+".join(a.objectives),
        "pruner": [a.pruner, a.eta],
    } | ({"search_subsets": list(judges.subsets)} if judges.subsets else {})


def about_of(
    search: Search,
    arguments: SearchArguments[Any],
    base: Configuration,
    judges: Judges,
    bench: Bench,
    compared: Sequence[Stage],
    words: Sequence[str],
) -> dict[str, Any]:
    """What the page tells; `compared` are the stages whose selection scores are compared."""
    a, one = arguments, compared[0]
    return {
        "title": search.title,
        "question": search.question,
        "method": name_of(base.method),
        "data": {
            "name": bench.preset.data.name,
            "labelled": one.split.labelled,
            "train": len(bench.splits.training),
            "selection": len(bench.splits.selection),
            "test": len(bench.splits.test),
            "size": f"{bench.pack.heights.max()} x {bench.pack.widths.max()}",
            "fingerprint": bench.pack.fingerprint,
        },
        "metric": bench.train.score,
        "objectives": [bench.train.score, *a.objectives[1:]],
        "resource": {
            "stages": [stage.name for stage in compared],
            "evaluations": evaluations(one),
            "total": sum(map(evaluations, compared)),
        },
        "trials": a.trials,
        "sampler": a.sampler,
        "sampler_seed": a.sampler_seed,
        "pruner": a.pruner,
        "eta": a.eta,
        "seeds": list(judges.seeds),
        "subsets": list(judges.subsets),
        "pick": a.pick,
        "command": command_line(words),
        "git": bench.place.git,
        "versions": versions(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {"net": by_content(one.net), "train": plain(bench.train), "method": plain(base.method)},
    }
