"""Why a stage is in a store or not: what it is made of, and in which fields the nearest stages of the store differ."""

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from semiseg.care.held import Aside, Held, record_in, spoken_size
from semiseg.store import Store
from semiseg.sweep.dry_run import by_dotted_name

TEACHERS = "teachers"
NOTHING = "nothing"


class Near(NamedTuple):
    """A stage of the store that is much like one that it lacks."""

    key: str
    name: str
    fields: Mapping[str, tuple[str, str]]
    """What differs: the value in the store and the one that is asked for, as JSON; "nothing" where there is no such field."""

    def __str__(self) -> str:
        said = ", ".join(f"{name} {theirs} -> {ours}" for name, (theirs, ours) in self.fields.items())
        return f"{said or 'its teachers alone'} (in the store: {self.name} {self.key[:12]})"


class Known:
    """The stages of a store by their settings, to be asked for the nearest."""

    def __init__(self, store: Store, stages: Mapping[str, Held]) -> None:
        self.records = {key: record_in(store, held) for key, held in stages.items()}
        self.fields = {
            key: by_field(found["settings"]) for key, found in self.records.items() if isinstance(found.get("settings"), dict)
        }
        self.items = {key: frozenset(fields.items()) for key, fields in self.fields.items()}

    def nearest(self, settings: Mapping[str, Any], count: int = 2) -> list[Near]:
        """The stages that differ in the fewest fields, of several with the same fields the first, at most `count`; teachers do not count,
        as they follow from their own settings."""
        ours = by_field(settings)
        asked = frozenset(ours.items())
        ranked = sorted((len(asked ^ theirs), key) for key, theirs in self.items.items())
        found: list[Near] = []
        for apart, key in ranked:
            if apart != ranked[0][0] or len(found) == count:
                break
            near = Near(key, str(self.records[key].get("name", "")), differing_fields(self.fields[key], ours))
            if near.fields.keys() not in [one.fields.keys() for one in found]:
                found.append(near)
        return found


def by_field(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings of a stage by dotted name as JSON, without its teachers."""
    values = by_dotted_name({name: value for name, value in settings.items() if name != TEACHERS})
    return {name: json.dumps(value, sort_keys=True) for name, value in values.items()}


def differing_fields(theirs: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Fields that do not say the same, with what both say. Hashes are cut to twelve letters."""

    def said(values: Mapping[str, str], name: str) -> str:
        text = values.get(name, NOTHING)
        return f"{text[:13]}…" if len(text) > 60 else text

    names = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
    return {name: (said(theirs, name), said(ours, name)) for name in names}


def why_there(store: Store, held: Held, record: Mapping[str, Any]) -> Iterator[str]:
    """Lines about a stage that the store holds."""
    ended = record.get("ended")
    when = f", ended {datetime.fromtimestamp(ended):%Y-%m-%d %H:%M}" if isinstance(ended, int | float) else ""
    where: Mapping[str, Any] = record.get("provenance") or {}
    by = ", ".join(str(where[name]) for name in ("device", "git") if where.get(name))
    kind = "without its weights: nothing can learn from it" if held.light else "with all its files"
    yield f"hit: in the store {kind}, {spoken_size(held.bytes)}{when}{f', {by}' if by else ''}"
    for name, value in by_field(record.get("settings") or {}).items():
        yield f"  {name} = {value}"


def why_missing(
    settings: Mapping[str, Any] | None, key: str, known: Known, asides: Collection[Aside], names: Mapping[str, str]
) -> Iterator[str]:
    """Lines about a stage that the store lacks; `names` are those of stages by key."""
    own = [one for one in asides if one.key == key]
    if any(one.kind == "damaged" for one in own):
        yield "miss: it was damaged and set aside; the study's command makes it again"
    elif any(one.kind == "checkpoint" for one in own):
        yield "miss: begun and not finished; the study's command goes on from its checkpoint"
    else:
        yield "miss: not in the store"
    if settings is None:
        yield "  its settings are not known: it was planned by an earlier version; the study's command with --dry-run says what it would train"
        return
    for near in known.nearest(settings):
        yield f"  nearest: {near}"
    for teacher in settings.get(TEACHERS) or ():
        if teacher not in known.records:
            yield f"  it learns from {names.get(teacher, 'a stage')} {teacher[:12]}, which is missing too"
