"""The check of the splits passes on sound data, and names what is wrong with splits that were tampered with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
from data_trees import shared

import check_splits
from semiseg.config import Data
from semiseg.data import Pack, Splits, split

Capture = pytest.CaptureFixture[str]


def check(data: Data, cache: Path, *words: str) -> int:
    place = ["--data.name", data.name, "--cache", str(cache)]
    place += ["--data.root", str(data.root)] if data.root else []
    return check_splits.main([*place, *words])


def test_the_built_in_scenes_are_sound(cache: Path, capsys: Capture) -> None:
    assert check(Data(), cache) == 0
    *counts, verdict = capsys.readouterr().out.splitlines()
    assert verdict == "nested, and no selection or test image is trained on"
    assert [line.split(", labelled hash")[0] for line in counts] == [
        f"labelled {share}: {count} labelled, 256 training, 48 selection, 128 test"
        for share, count in ((0.05, 12), (0.1, 25), (0.25, 64))
    ]


def test_the_shared_pets_are_sound(tmp_path: Path, capsys: Capture) -> None:
    data = Data(name="oxford_pets", root=shared("oxford-iiit-pet"))
    assert check(data, tmp_path, "--data.size", "32", "32") == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("labelled 0.05: 15 labelled, 315 training, 90 selection, 45 test,")


Tampering = Callable[[Pack, Splits, float], Splits]


def other_subset(pack: Pack, one: Splits, labelled: float) -> Splits:
    """The larger subset lacks the smaller one's images."""
    return one if labelled == 0.25 else one._replace(labelled=np.setdiff1d(one.training, one.labelled)[-len(one.labelled) :])


def label_of_selection(pack: Pack, one: Splits, labelled: float) -> Splits:
    return one._replace(labelled=np.append(one.labelled, one.selection[0]))


def train_on_test(pack: Pack, one: Splits, labelled: float) -> Splits:
    return one._replace(training=np.append(one.training, one.test[0]))


def train_on_selection(pack: Pack, one: Splits, labelled: float) -> Splits:
    return one._replace(training=np.append(one.training, one.selection[1]))


def select_on_test(pack: Pack, one: Splits, labelled: float) -> Splits:
    return one._replace(selection=np.append(one.selection, one.test[2]))


def move_selection(pack: Pack, one: Splits, labelled: float) -> Splits:
    return one if labelled == 0.25 else one._replace(selection=one.selection[1:])


def move_test(pack: Pack, one: Splits, labelled: float) -> Splits:
    return one if labelled == 0.25 else one._replace(test=one.test[1:])


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (other_subset, ["labelled 0.25 is not inside labelled 0.5"]),
        (label_of_selection, ["labelled 0.25: an image that is not for training", "labelled 0.5: an image that is not for training"]),
        (train_on_test, ["labelled 0.25: trained on and in test: 28", "labelled 0.5: trained on and in test: 28"]),
        (train_on_selection, ["labelled 0.25: trained on and in selection: 25", "labelled 0.5: trained on and in selection: 25"]),
        (select_on_test, ["in selection and in test: 30"]),
        (move_selection, ["labelled 0.5: selection differs from that of other shares"]),
        (move_test, ["labelled 0.5: test differs from that of other shares"]),
    ],
)  # fmt: skip
def test_every_violation_is_named(tamper: Tampering, said: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    data, cache = tiny.data()

    def tampered(pack: Pack, asked: Data) -> Splits:
        assert isinstance(asked.labelled, float)
        return tamper(pack, split(pack, asked), asked.labelled)

    words = ("--data.size", "32", "32", "--labelled", "0.25", "0.5", "--data.classes", *tiny.CLASSES)
    assert check(data, cache, *words) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    monkeypatch.setattr(check_splits, "split", tampered)
    assert check(data, cache, *words) == 1
    assert capsys.readouterr().out.splitlines()[2:] == said


def test_shares_and_counts_are_compared_by_the_size_of_their_subsets(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Of 24 training images 0.25 is 6, 0.5 is 12: the share 0.5 is the larger number of images though the smaller number beside
    8."""
    data, cache = tiny.data()
    words = ("--data.size", "32", "32", "--data.classes", *tiny.CLASSES, "--labelled", "8", "0.5", "3", "0.25", "1")
    assert check(data, cache, *words) == 0
    counted = [int(line.split(": ")[1].split()[0]) for line in capsys.readouterr().out.splitlines()[:-1]]
    assert counted == [8, 12, 3, 6, 1]

    def tampered(pack: Pack, asked: Data) -> Splits:
        one = split(pack, asked)
        return one._replace(labelled=np.setdiff1d(one.training, one.labelled)[:8]) if asked.labelled == 8 else one

    monkeypatch.setattr(check_splits, "split", tampered)
    assert check(data, cache, *words) == 1
    assert capsys.readouterr().out.splitlines()[5:] == [
        "labelled 0.25 is not inside labelled 8",
        "labelled 8 is not inside labelled 0.5",
    ]


def test_the_same_pixels_under_another_name_are_found(tmp_path: Path, capsys: Capture) -> None:
    data = tiny.write_images(tmp_path / "images")
    for kind in ("images", "masks"):
        (tmp_path / "images" / kind / "31.png").write_bytes((tmp_path / "images" / kind / "05.png").read_bytes())
    assert check(data, tmp_path / "cache", "--data.classes", *tiny.CLASSES, "--labelled", "0.5") == 1
    assert capsys.readouterr().out.splitlines()[1:] == ["labelled 0.5: trained on and in test: 31, the same pixels as 05"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data.name", "oxford_pets", "--data.root", "/no/such/place"], "data.root: got '/no/such/place'"),
        (["--data.name", "imagenet"], "data.name: got 'imagenet'"),
        (["--labelled", "8", "999"], "data.labelled: got 999"),
        (["--labelled", "0"], "data.labelled: got 0"),
        (["--labelled"], "labelled: got (); allowed: at least one share or count"),
    ],
)
def test_data_that_cannot_be_used_are_refused_in_one_line(words: list[str], said: str, cache: Path, capsys: Capture) -> None:
    assert check_splits.main(["--cache", str(cache), *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {said}")
    assert len(err.splitlines()) == 1
