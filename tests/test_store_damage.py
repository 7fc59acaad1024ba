"""What is damaged in a store, or a store that does not answer: named, set aside, made again, given up."""

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_store import INFO, local, remote, write

from semiseg.config import SettingError
from semiseg.store import STAGE_FILE, Store


def spoil(folder: Path, what: str) -> None:
    """Damage a published stage as crashes, full disks and hands do."""
    if what == "empty stage.json":
        (folder / STAGE_FILE).write_text("")
    elif what == "half a stage.json":
        (folder / STAGE_FILE).write_bytes((folder / STAGE_FILE).read_bytes()[:30])
    elif what == "a list as stage.json":
        (folder / STAGE_FILE).write_text("[]")
    elif what == "no stage.json":
        (folder / STAGE_FILE).unlink()
    elif what == "a cut file":
        (folder / "weights").write_bytes(b"w")
    elif what == "zeros after a power cut":
        (folder / "weights").write_bytes(bytes((folder / "weights").stat().st_size))
    elif what == "a missing file":
        (folder / "weights").unlink()


DAMAGE = (
    "empty stage.json",
    "half a stage.json",
    "a list as stage.json",
    "no stage.json",
    "a cut file",
    "a missing file",
    "zeros after a power cut",
)


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_stage_is_set_aside_named_and_can_be_made_again(tmp_path: Path, what: str) -> None:
    local(tmp_path).publish("a", write, INFO)
    spoil(tmp_path / "store" / "a", what)
    said: list[str] = []
    store = Store(str(tmp_path / "store"), tmp_path / "mirror", say=said.append)
    assert not store.has("a")
    with pytest.raises(KeyError):
        store.folder("a")
    assert len(said) == 1
    assert str(tmp_path / "store" / "a") in said[0]
    assert "made again" in said[0]
    assert len(list((tmp_path / "store" / "damaged").iterdir())) == 1
    store.publish("a", write, INFO)
    assert store.has("a")
    assert Store(str(tmp_path / "store"), tmp_path / "mirror").info("a").items() >= INFO.items()


def test_a_stage_that_is_damaged_at_a_uri_is_made_again_there(tmp_path: Path) -> None:
    remote(tmp_path, "one").publish("a", write, INFO)
    second = remote(tmp_path, "two")
    assert second.has("a")
    spoil(second.folder("a"), "a cut file")
    third = remote(tmp_path, "two")
    assert not third.has("a")
    third.publish("a", write, INFO)
    assert remote(tmp_path, "three").info("a").items() >= INFO.items()


@pytest.mark.parametrize("what", DAMAGE[:3] + DAMAGE[4:6])
def test_what_is_damaged_at_the_uri_alone_is_named_and_made_again(tmp_path: Path, what: str) -> None:
    remote(tmp_path, "one").publish("a", write, INFO)
    spoil(tmp_path / "shared" / "store" / "a", what)
    said: list[str] = []
    second = Store((tmp_path / "shared" / "store").as_uri(), tmp_path / "two", say=said.append)
    assert not second.has("a")
    assert len(said) == 1
    assert "/store/a is damaged (" in said[0]
    with pytest.raises(KeyError):
        second.folder("a")
    second.publish("a", write, INFO)
    assert remote(tmp_path, "three").info("a").items() >= INFO.items()


def test_a_remote_store_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr("semiseg.remote.fs", SimpleNamespace(FileSystem=SimpleNamespace(from_uri=lambda uri: never.wait())))
    try:
        with pytest.raises(
            SettingError, match=r"^store s3://bucket/x: no answer within 0 s; allowed: a folder or a URI that answers$"
        ):
            Store("s3://bucket/x", tmp_path, limit=0.3)
    finally:
        never.set()
