"""The store: a key is there whole or not at all, on a folder as on a URI, whoever writes at the same time."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from semiseg.config import SettingError
from semiseg.outside import writable_folder
from semiseg.remote import WHOLE
from semiseg.store import STAGE_FILE, Store

INFO = {"seconds": 2.5}


def local(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"), tmp_path / "mirror")


def remote(tmp_path: Path, machine: str = "one") -> Store:
    (tmp_path / "shared").mkdir(exist_ok=True)
    return Store((tmp_path / "shared" / "store").as_uri(), tmp_path / machine)


BOTH = pytest.mark.parametrize("make", [local, remote])
Make = Callable[[Path], Store]


def write(folder: Path, text: str = "weights") -> None:
    (folder / "weights").write_text(text)
    (folder / "samples").mkdir()
    (folder / "samples" / "0").write_text("picture")


def saying(text: str) -> Callable[[Path], None]:
    """Writes a file that holds the text."""

    def write(path: Path) -> None:
        path.write_text(text)

    return write


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@BOTH
def test_what_is_published_is_there(make: Make, tmp_path: Path) -> None:
    store = make(tmp_path)
    assert not store.has("a")
    store.publish("a", write, INFO)
    assert store.has("a")
    assert not store.has("b")
    assert (store.info("a")).items() >= INFO.items()
    assert files(store.folder("a")) == ["samples/0", "stage.json", "weights"]
    assert make(tmp_path).has("a")


@BOTH
def test_a_key_that_is_not_there_is_a_key_error(make: Make, tmp_path: Path) -> None:
    for ask in (make(tmp_path).folder, make(tmp_path).info):
        with pytest.raises(KeyError, match="missing"):
            ask("missing")


@BOTH
def test_a_crash_while_writing_leaves_nothing_that_can_be_seen(make: Make, tmp_path: Path) -> None:
    store = make(tmp_path)

    def crash(folder: Path) -> None:
        (folder / "weights").write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        store.publish("a", crash, INFO)
    assert not store.has("a")
    assert files(tmp_path) == []
    store.publish("a", write, INFO)
    assert store.has("a")


@BOTH
def test_publishing_a_key_twice_keeps_the_first_folder(make: Make, tmp_path: Path) -> None:
    store = make(tmp_path)
    store.publish("a", write, INFO)
    store.publish("a", lambda folder: write(folder, "again"), {"seconds": 9})
    assert (store.folder("a") / "weights").read_text() == "weights"
    assert (store.info("a")).items() >= INFO.items()


@BOTH
def test_of_many_who_publish_at_once_one_wins_whole(make: Make, tmp_path: Path) -> None:
    store, together, errors = make(tmp_path), threading.Barrier(6), []

    def publish(number: int) -> None:
        def slowly(folder: Path) -> None:
            write(folder, str(number))
            together.wait(10)

        try:
            store.publish("a", slowly, {"number": number})
        except (OSError, KeyError) as error:  # would be lost in a thread
            errors.append(error)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (store.folder("a") / "weights").read_text() == str(store.info("a")["number"])
    assert [path.name for path in store.local.iterdir()] == ["a"]


@BOTH
def test_a_checkpoint_is_replaced_and_dropped_when_the_stage_is_published(make: Make, tmp_path: Path) -> None:
    store = make(tmp_path)
    assert store.read_checkpoint("a") is None
    for text in ("one", "two"):
        store.write_checkpoint("a", saying(text))
        found = store.read_checkpoint("a")
        assert found is not None
        assert found.read_text() == text
    assert not store.has("a")
    store.publish("a", write, INFO)
    assert store.read_checkpoint("a") is None
    assert [name for name in files(tmp_path) if "unfinished" in name] == []


@BOTH
def test_a_crash_in_a_checkpoint_leaves_the_one_before(make: Make, tmp_path: Path) -> None:
    store = make(tmp_path)
    store.write_checkpoint("a", saying("good"))

    def crash(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        store.write_checkpoint("a", crash)
    found = store.read_checkpoint("a")
    assert found is not None
    assert found.read_text() == "good"
    assert {Path(name).name for name in files(tmp_path)} == {"a.pt"}


@BOTH
def test_a_file_is_added_once(make: Make, tmp_path: Path) -> None:
    store, calls = make(tmp_path), []

    def masks(path: Path) -> None:
        calls.append(path)
        path.write_text("masks")

    store.publish("a", write, INFO)
    for _ in range(2):
        assert store.add("a", "masks.arrow", masks).read_text() == "masks"
    assert len(calls) == 1
    with pytest.raises(KeyError, match="b"):
        store.add("b", "masks.arrow", masks)


def test_a_crash_while_adding_a_file_leaves_nothing(tmp_path: Path) -> None:
    store = local(tmp_path)
    store.publish("a", write, INFO)

    def crash(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        store.add("a", "masks.arrow", crash)
    assert files(store.folder("a")) == ["samples/0", "stage.json", "weights"]


def test_another_machine_reads_what_the_first_one_published_at_a_uri(tmp_path: Path) -> None:
    remote(tmp_path).publish("a", write, INFO)
    shutil.rmtree(tmp_path / "one")
    second = remote(tmp_path, "two")
    assert second.has("a")
    assert (second.info("a")).items() >= INFO.items()
    assert files(second.folder("a")) == ["samples/0", "stage.json", "weights"]
    shutil.rmtree(tmp_path / "shared")
    assert (second.folder("a") / "weights").read_text() == "weights"  # fetched once


def test_an_upload_that_broke_off_is_not_there(tmp_path: Path) -> None:
    remote(tmp_path).publish("a", write, INFO)
    (tmp_path / "shared" / "store" / "a" / STAGE_FILE).unlink()
    assert not remote(tmp_path, "two").has("a")


def test_another_machine_goes_on_from_the_checkpoint_of_the_first(tmp_path: Path) -> None:
    remote(tmp_path).write_checkpoint("a", saying("step 5"))
    found = remote(tmp_path, "two").read_checkpoint("a")
    assert found is not None
    assert found.read_text() == "step 5"


def test_the_newest_checkpoint_counts_when_a_stage_comes_back_to_a_machine(tmp_path: Path) -> None:
    one, two = remote(tmp_path), remote(tmp_path, "two")
    one.write_checkpoint("a", saying("step 5"))
    two.write_checkpoint("a", saying("step 9"))
    found = one.read_checkpoint("a")
    assert found is not None
    assert found.read_text() == "step 9"


def test_a_place_that_cannot_be_written_to_is_refused_before_anything_trains(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        SettingError, match=r"store: cannot write to '.*/file/store' \(Not a directory\); allowed: a folder you may"
    ):
        Store(str(tmp_path / "file" / "store"), tmp_path)
    with pytest.raises(SettingError, match="out: cannot write to"):
        writable_folder(tmp_path / "file", "out")
    with pytest.raises(SettingError, match=r"store: cannot open 'oops://x' \(.*\); allowed: a folder or a URI of pyarrow.fs"):
        Store("oops://x", tmp_path)


def test_a_uri_that_cannot_be_written_to_is_refused_before_anything_trains(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="store: cannot"):
        Store((tmp_path / "file" / "store").as_uri(), tmp_path / "mirror")


def test_probing_leaves_no_file(tmp_path: Path) -> None:
    writable_folder(tmp_path / "a" / "b", "out")
    assert files(tmp_path) == []


def test_info_is_readable_json(tmp_path: Path) -> None:
    store = local(tmp_path)
    store.publish("a", write, INFO)
    assert (json.loads((store.folder("a") / STAGE_FILE).read_text())).items() >= INFO.items()


class Asked:
    """A file system that counts what it is asked for."""

    def __init__(self, inner: fs.FileSystem) -> None:
        self.inner, self.calls = inner, 0

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        return getattr(self.inner, name)


def asked(store: Store) -> Asked:
    assert store.remote is not None
    store.remote.filesystem = Asked(store.remote.filesystem)  # type: ignore[assignment]
    return store.remote.filesystem  # type: ignore[return-value]


def test_what_a_uri_holds_is_told_by_one_listing(tmp_path: Path) -> None:
    one = remote(tmp_path)
    keys = [f"{number:03d}" for number in range(40)]
    for key in keys[:30]:
        one.publish(key, write, INFO)
    one.write_checkpoint("035", saying("step 5"))
    two = remote(tmp_path, "two")
    calls = asked(two)
    has = two.listed()
    assert [key for key in keys if has(key)] == keys[:30]
    assert calls.calls == 1
    assert all(map(two.has, keys[:30]))
    assert calls.calls == 1, "what was found to be there is not asked for again"
    three = remote(tmp_path, "three")
    calls = asked(three)
    assert [key for key in keys if three.has(key)] == keys[:30]
    assert calls.calls >= len(keys), "without a listing"


def test_a_listing_does_not_take_a_damaged_or_half_uploaded_stage_for_whole(tmp_path: Path) -> None:
    one, place = remote(tmp_path), tmp_path / "shared" / "store"
    for key in ("sound", "cut", "half", "old"):
        one.publish(key, write, INFO)
    (place / "cut" / "weights").write_text("w")
    (place / "half" / STAGE_FILE).unlink()
    (mark,) = (place / WHOLE).glob("old-*")
    mark.unlink()  # uploaded by an earlier version
    said: list[str] = []
    two = Store(place.as_uri(), tmp_path / "two", say=said.append)
    has = two.listed()
    assert {key: has(key) for key in ("sound", "cut", "half", "old", "none")} == {
        "sound": True, "cut": False, "half": False, "old": True, "none": False,
    }  # fmt: skip
    assert len(said) == 1
    assert "store/cut is damaged (weights is" in said[0]
    two.publish("cut", lambda folder: write(folder, "longer weights"), INFO)
    assert remote(tmp_path, "three").listed()("cut")


def test_a_local_store_needs_no_listing(tmp_path: Path) -> None:
    store = local(tmp_path)
    store.publish("a", write, INFO)
    assert [local(tmp_path).listed()(key) for key in ("a", "b")] == [True, False]
