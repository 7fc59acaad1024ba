"""Packs in the cache: made once however many load them, and made again when they are damaged."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from data_trees import build_folder

from semiseg.config import Data, SettingError
from semiseg.data import Pack, load


def test_racing_loads_leave_one_complete_pack_and_nothing_else(tmp_path: Path) -> None:
    data = Data(name="folder", root=build_folder(tmp_path / "one"))
    with ThreadPoolExecutor(4) as pool:
        packs = list(pool.map(lambda _: load(data, tmp_path / "cache"), range(4)))
    assert len({pack.fingerprint for pack in packs}) == 1
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["pack.arrow"]
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("damage", ["cut short", "empty", "text", "zeros at the end"])
def test_a_damaged_pack_is_set_aside_named_and_made_again(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, cache = Data(name="folder", root=build_folder(tmp_path / "tree")), tmp_path / "cache"
    first = load(data, cache)
    path, content = first.path, first.path.read_bytes()
    broken = {"cut short": content[:1000], "empty": b"", "text": b"no pack"}
    path.unlink()  # not written to: other processes have mapped it
    path.write_bytes(broken.get(damage, content[:-300] + bytes(300)))
    with pytest.raises(SettingError, match=r"pack.arrow: not a readable pack .*delete it"):
        Pack(path)
    again = load(data, cache)
    assert (again.path, again.fingerprint) == (path, first.fingerprint)
    (line,) = capsys.readouterr().err.splitlines()
    aside = [file.name for file in path.parent.iterdir() if file != path]
    assert line.startswith(f"{path}: not a readable pack (")
    assert line.endswith(f"; set aside as {aside[0]}, it is made again")
    assert len(aside) == 1
