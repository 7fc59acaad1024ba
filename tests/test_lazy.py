"""What stands for torch until it is used, while other threads import."""

import sys
from types import ModuleType

import pytest

from semiseg.lazy import Later


class Busy(str):
    """The name of a module during whose visit another module is imported, as by a thread."""

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        sys.modules.setdefault("semiseg_imported_meanwhile", ModuleType("meanwhile"))
        return super().partition(sep)


def test_a_module_that_is_imported_meanwhile_disturbs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "semiseg_imported_meanwhile", raising=False)
    holder, later = ModuleType("semiseg.holder"), Later("string")
    holder.__dict__["string"] = later
    monkeypatch.setitem(sys.modules, Busy("semiseg.holder"), holder)
    try:
        assert later.digits == "0123456789"
        assert holder.__dict__["string"] is sys.modules["string"]
    finally:
        del sys.modules["semiseg_imported_meanwhile"]
