"""What the trials of a search have in common: read from a journal, and compared with what another search says."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from semiseg.stage import AS_BEFORE, Split, plain

IDENTITY = "identity"


def identity_in(journal: Path) -> dict[str, Any]:
    """The identity that a journal holds; {} where there is no journal or none in it. Damaged lines are passed over."""
    try:
        lines = journal.read_bytes().splitlines()
    except OSError:
        return {}
    for line in lines:
        try:
            return json.loads(json.loads(line)["user_attr"][IDENTITY])
        except (ValueError, LookupError, TypeError, RecursionError):
            continue
    return {}


def unsaid(method: Any) -> dict[str, dict[str, Any]]:
    """What is meant where the identity of an older search does not name a field of the method or of the images: the value that was in
    force before there was such a field."""
    return {"method": _before(type(method)), "data": _before(Split)}


def differing(ours: Mapping[str, Any], theirs: Mapping[str, Any], meant: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the parts that two identities say differently; `meant` holds, by part, the values of fields that one does not name."""

    def full(part: Any, name: str) -> Any:
        return {**meant.get(name, {}), **part} if isinstance(part, dict) else part

    return [name for name in sorted(ours.keys() | theirs.keys()) if full(ours.get(name), name) != full(theirs.get(name), name)]


def _before(kind: type) -> dict[str, Any]:
    found = {}
    for field in fields(kind):
        if AS_BEFORE in field.metadata:
            found[field.name] = plain(field.metadata[AS_BEFORE])
        elif field.default is not MISSING or field.default_factory is not MISSING:
            value = field.default if field.default_factory is MISSING else field.default_factory()
            found[field.name] = plain(value, keyed=True)
    return found
