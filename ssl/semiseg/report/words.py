"""The words of a table's rows: which are switches, which settings, which the method."""

from typing import NamedTuple

from semiseg.results import StudyRecord


class Words(NamedTuple):
    """The words of all rows, sorted into tick columns and columns of text."""

    switches: dict[str, tuple[str, ...]]
    columns: tuple[str, ...]
    facts: dict[str, tuple[str, ...]]


def row_words(study: StudyRecord) -> Words:
    """Sort each row's words: `field=value` is a setting, a name in `methods` the method, everything else a switch.

    Anchors that the table does not declare are named by what they are, and their words left out. The columns are "method", when a row names one (the study's `method` is that of the others), then the settings in order of
    appearance.
    """
    methods = study.methods
    rows = {name: [] if name in study.added else words.split() for name, words in study.rows.items()}
    settings = {name: dict(word.split("=", 1) for word in words if "=" in word) for name, words in rows.items()}
    named = {name: next((word for word in words if word in methods), None) for name, words in rows.items()}
    switches = {name: tuple(word for word in words if "=" not in word and word not in methods) for name, words in rows.items()}
    fields = tuple(dict.fromkeys(field for given in settings.values() for field in given))
    facts = {name: tuple(given.get(field, "") for field in fields) for name, given in settings.items()}
    if not any(named.values()):
        return Words(switches, fields, facts)
    method = {name: named[name] or ("supervised" if name in study.added else study.method) for name in rows}
    return Words(switches, ("method", *fields), {name: (method[name], *facts[name]) for name in rows})
