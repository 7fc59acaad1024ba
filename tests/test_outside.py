"""Paths as people write them: a home, a URI, nobody's home, folders that cannot be written."""

from pathlib import Path

import pytest

from semiseg.config import SettingError
from semiseg.outside import local_folder, local_path, store_location


def test_a_home_is_expanded_and_a_path_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert local_path(Path("~/x"), "out") == tmp_path / "x"
    assert local_path(Path("y/../z"), "out") == tmp_path / "z"
    assert store_location("~/store") == str(tmp_path / "store")
    assert store_location("s3://bucket/store") == "s3://bucket/store"


@pytest.mark.parametrize("text", ["s3://bucket/r", "gs://b", "file:///tmp/x", "https://host/x", "S3://b/c"])
def test_a_uri_is_refused_where_a_folder_is_meant(text: str) -> None:
    with pytest.raises(SettingError, match=r"^out: got .*allowed: a folder on this machine"):
        local_path(Path(text), "out")


def test_nobodys_home_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^cache: got '~nobody-of-that-name/x', where ~ is nobody's home"):
        local_path(Path("~nobody-of-that-name/x"), "cache")


@pytest.mark.parametrize("name", ["a:b", "c:d/e", "results 1"])
def test_odd_names_are_folders(tmp_path: Path, name: str) -> None:
    assert local_folder(tmp_path / name, "out").is_dir()


def test_a_folder_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"^out: cannot write to '.*file/x' \("):
        local_folder(tmp_path / "file" / "x", "out")
