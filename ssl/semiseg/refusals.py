"""How a value that cannot be used is refused: one line that names the field, the value and what is allowed."""

from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints


class SettingError(Exception):
    """Unusable arguments or data, found before anything trains; the command line exits with status 2.

    No ValueError, which tyro would turn into a box of several lines that hides the field.
    """


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """Raise `SettingError` naming the field, its value and what is allowed, unless `condition` holds."""
    if not condition:
        raise SettingError(f"{name}: got {value!r}; allowed: {allowed}")


def require_choices(settings: Any, prefix: str) -> None:
    """Raise SettingError for a field annotated as a Literal, or as a class of settings, that holds another value.

    Scripts have no parser to guard them.
    """
    for name, hint in get_type_hints(type(settings)).items():
        if get_origin(hint) is Literal:
            value = getattr(settings, name)
            require(value in get_args(hint), f"{prefix}.{name}", value, ", ".join(map(str, get_args(hint))))
        elif isinstance(hint, type) and is_dataclass(hint):
            value = getattr(settings, name)
            require(isinstance(value, hint), f"{prefix}.{name}", value, f"a {hint.__name__}")
