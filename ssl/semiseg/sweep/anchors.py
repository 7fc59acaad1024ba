"""Anchors: what a row's labelled images are worth without its unlabelled ones, and all labels; rows that a table adds by itself.

A fair anchor takes as many labelled images a step as the last stage of the row's chain that learns unlabelled images, for as many
steps as the scored stage and all that it learns from, directly or not, took in all (of dmt: both models'). Where a mini-batch is
drawn from all training images alike, it takes the expected number of labelled ones, at least 1. Data, network, loss, augmentation and
perturbation of labelled images are the row's; how many unlabelled ones a row has is of no matter (`Bench.images`). A supervised row of
the same `train` sees more labelled images a step, because its mini-batches hold labelled images in the place of unlabelled ones.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from semiseg.change import Change, Row
from semiseg.codec import difference, write_row
from semiseg.config import Data, SettingError, Train, require
from semiseg.methods import Method, Supervised
from semiseg.results.records import AnchorRecord
from semiseg.stage import Stage, with_teachers
from semiseg.sweep.declaration import Ablation
from semiseg.sweep.rows import ResolvedRow

AnchorKind = Literal["fair", "equal_images", "none"]
ALL = "all labels"
ADDED: Mapping[AnchorKind, str] = {"fair": "labels only", "equal_images": "labels only, equal images in all"}
Chains = Callable[[ResolvedRow], tuple[Stage, ...]]


class Anchored(NamedTuple):
    """A table's rows with its anchors: `lines` are all rows, the declared ones first, `words` those of the added ones."""

    lines: dict[str, ResolvedRow]
    words: dict[str, str]
    anchors: dict[str, AnchorRecord]
    against: dict[str, str | None] | None
    """Row -> row it is compared with, or None; None: an ablation."""


@dataclass(frozen=True)
class _Wanted:
    """An anchor before it has a name that no other row has."""

    base: str
    line: ResolvedRow
    row: str
    labelled: int
    size: str


def check_kinds(kinds: tuple[AnchorKind, ...]) -> None:
    """Raise SettingError for kinds of anchors that do not go together."""
    allowed = "fair, equal_images or both, each once, or none alone"
    require(bool(kinds) and len(set(kinds)) == len(kinds) and ("none" not in kinds or len(kinds) == 1), "anchors", kinds, allowed)


def learns_unlabelled(chain: tuple[Stage, ...]) -> Stage | None:
    """The last stage that learns unlabelled images among the scored one and those it learns from; None: they have labels alone."""
    stages = with_teachers(chain[-1:]).values()
    return next((one for one in reversed(stages) if one.rule.needs.unlabelled and one.train.steps > 0), None)


def labelled_per_step(stage: Stage) -> int:
    """Labelled images in a mini-batch of a stage that learns unlabelled ones; of a joint draw the expected number, rounded."""
    train = stage.train
    if stage.rule.needs.draw == "mixed":
        return train.batch_labelled
    drawn = train.batch_labelled + train.batch_unlabelled
    return max(1, int(drawn * stage.split.labelled / stage.split.training + 0.5))


def anchor(line: ResolvedRow, chain: tuple[Stage, ...], kind: AnchorKind) -> ResolvedRow | None:
    """The labels-only row beside a row with this chain; None where its chain has labels alone."""
    last = learns_unlabelled(chain)
    if last is None:
        return None
    fair = kind == "fair"
    train = dict(line.train) | {
        "steps": sum(stage.train.steps for stage in with_teachers(chain[-1:]).values()),
        "batch_labelled": labelled_per_step(last) if fair else last.train.batch_labelled,
        "batch_unlabelled": 0 if fair else last.train.batch_unlabelled,  # a supervised stage takes labelled images in their place
    }
    data = {name: value for name, value in line.data.items() if name != "unlabelled"}
    return ResolvedRow(Supervised(**line.method.labels_only()), data, train)


def anchored(
    table: Ablation,
    lines: Mapping[str, ResolvedRow],
    kinds: tuple[AnchorKind, ...],
    methods: Mapping[str, Method],
    chain_of: Chains,
) -> Anchored:
    """The rows with anchors of `kinds`: in a comparison of every row that has one, in an ablation of the reference alone, or of the
    first row that has one; the first kind with all labels too. A row that trains the same stage is taken in place of a copy.

    In a comparison the anchor is the opponent of a row that the table compares with none or with one that has labels alone.
    """
    chains = {name: chain_of(line) for name, line in lines.items()}
    alone = {name for name, chain in chains.items() if learns_unlabelled(chain) is None}
    order = [name for name in dict.fromkeys([table.reference, *lines]) if name in lines and name not in alone]
    rows = order[:1] if table.against is None else [name for name in lines if name not in alone]
    known = {chain[-1].key: name for name, chain in reversed(chains.items())}
    wanted: dict[str, _Wanted] = {}
    found: dict[str, list[tuple[AnchorKind | None, str]]] = {row: [] for row in rows if kinds != ("none",)}

    def want(row: str, kind: AnchorKind | None, base: str, line: ResolvedRow) -> None:
        (stage,) = chain_of(line)
        size = f"{stage.train.steps} x {stage.train.batch_labelled + stage.train.batch_unlabelled}"
        if stage.key not in known:
            wanted.setdefault(stage.key, _Wanted(base, line, row, stage.split.labelled, size))
        found[row].append((kind, stage.key))

    for row in found:
        for kind in kinds:
            line = anchor(lines[row], chains[row], kind)
            assert line is not None
            bound = replace(line, data={**line.data, "labelled": "all"})
            has_all = chain_of(bound)[0].key == chain_of(line)[0].key
            want(row, kind, ALL if has_all and kind == "fair" else ADDED[kind], line)
            if kind == kinds[0] and not has_all:
                want(row, None, ALL, bound)
    names = known | _names(wanted.values(), wanted, set(lines))
    added = {names[key]: one.line for key, one in wanted.items()}
    anchors = {row: _record([(kind, names[key]) for kind, key in keys]) for row, keys in found.items()}
    against = None if table.against is None else _against(table, lines, alone, anchors) | dict.fromkeys(added)
    return Anchored({**lines, **added}, {name: _words(line, methods) for name, line in added.items()}, anchors, against)


def _record(found: list[tuple[AnchorKind | None, str]]) -> AnchorRecord:
    named = [name for kind, name in found if kind is not None]
    bound = next((name for kind, name in found if kind is None), None)
    return AnchorRecord(row=named[0], all_labels=bound, beside=tuple(named[1:]))


def _against(table: Ablation, lines: Iterable[str], alone: set[str], anchors: Mapping[str, AnchorRecord]) -> dict[str, str | None]:
    said = {row: (table.against or {}).get(row, table.reference) for row in lines}
    return {row: anchors[row].row if row in anchors and other in {row, *alone} else other for row, other in said.items()}


def _names(wanted: Iterable[_Wanted], keys: Iterable[str], taken: set[str]) -> dict[str, str]:
    """A name for each: with steps and batch size, unless it is the only one with all labels; then with what tells it from others."""
    found, wanted = {}, list(wanted)
    plain = [
        one.base if one.base == ALL and sum(other.base == ALL for other in wanted) == 1 else f"{one.base}: {one.size}"
        for one in wanted
    ]
    for key, one, name in zip(keys, wanted, plain, strict=True):
        labels = [other.labelled for other, same in zip(wanted, plain, strict=True) if same == name]
        if len(labels) > 1 and labels.count(one.labelled) == 1:
            name = f"{name}, {one.labelled} labels"
        elif len(labels) > 1 or name in taken:
            name = f"{name}, like {one.row}"
        if name in taken:
            raise SettingError(
                f"rows: got a row {name!r}, which is the name of an anchor; allowed: another name, or --anchors none"
            )
        found[key] = name
        taken.add(name)
    return found


def _words(line: ResolvedRow, methods: Mapping[str, Method]) -> str:
    base = methods["supervised"]
    change = difference(line.method, base) if type(base) is type(line.method) else Change(type(line.method))
    return write_row(Row(change, Change(Data, line.data), Change(Train, line.train)), methods)
