"""Published lists and groups of a folder: labelled.txt, lines as other tools write them, groups.csv and names."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_data_folder import TRUTH, fails, folder, opened, put

import compare_dmt
from semiseg.config import Data
from semiseg.data import split
from semiseg.data.groups import draw_test
from semiseg.data.source import share_of, shuffled
from semiseg.sweep.arguments import parse


def labelled_of(root: Path, **settings: Any) -> set[str]:
    pack = opened(root)
    return {pack.ids[row] for row in split(pack, Data(name="folder", **settings)).labelled}


def test_the_images_of_labelled_txt_are_the_labelled_ones_whatever_the_seed(tmp_path: Path) -> None:
    root = folder(tmp_path / "root", images=10)
    (root / "test.txt").write_text("i\nj\n")
    (root / "labelled.txt").write_text("b.png\n# a comment\n./images/f\n")
    assert opened(root).listed == {"b", "f"}
    for seed in range(3):
        assert labelled_of(root, split_seed=seed) == {"b", "f"}
        assert labelled_of(root, labelled=4, split_seed=seed) > {"b", "f"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b\nx\n", r"labelled.txt, line 2: got 'x'; allowed: a training image with a mask, the nearest is '[a-h]'"),
        ("b\nj\n", r"labelled.txt, line 2: got 'j'; allowed: a training image with a mask, such as '[a-h]'"),
        ("b\nb.png\n", r"labelled.txt, line 2: got 'b.png', of which 'b' is listed before; allowed: each id once"),
        ("\n", r"labelled.txt: got no name; allowed: labelled training images, an id a line"),
    ],
)
def test_labelled_txt_that_cannot_be_meant_is_refused(text: str, message: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "root", images=10)
    (root / "test.txt").write_text("i\nj\n")
    (root / "labelled.txt").write_text(text)
    fails(root, message)


def test_a_volume_in_labelled_txt_is_all_of_its_slices_and_an_id_is_one(tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / "root" / part).mkdir(parents=True)
        for name in "abcd":
            values = np.arange(4 * 9 * 10).reshape(4, 9, 10)
            np.save(tmp_path / "root" / part / f"{name}.npy", values.astype(np.uint16) if part == "images" else values % 3)
    root = tmp_path / "root"
    (root / "test.txt").write_text("d\n")
    (root / "labelled.txt").write_text("b\nc_p002\n")
    assert opened(root).listed == {*(f"b_p{page:03d}" for page in range(4)), "c_p002"}


def test_a_patient_in_labelled_txt_is_all_of_his_training_images(tmp_path: Path) -> None:
    root = grouped(tmp_path / "root", "a1 a2 a3 b1 c1 c2 e1 e2")
    (root / "groups.csv").write_text(
        "".join(f"{name},patient {name[0]}\n" for name in ("a1", "a2", "a3", "b1", "c1", "c2", "e1", "e2"))
    )
    (root / "test.txt").write_text("e1\ne2\n")
    (root / "labelled.txt").write_text("patient a\nJPEGImages/c1.jpg SegmentationClass/c1.png\n")
    assert opened(root).listed == {"a1", "a2", "a3", "c1"}
    (root / "labelled.txt").write_text("patient e\n")
    fails(root, r"labelled.txt, line 1: got 'patient e'; allowed: a training image with a mask")


def test_a_published_list_in_the_folder_takes_the_place_of_a_presets_number(tmp_path: Path) -> None:
    root = folder(tmp_path / "root", images=10)
    words = ["--data.name", "folder", "--data.root", str(root)]
    number = parse(compare_dmt.TABLE, words)[1].data.labelled
    assert number is not None
    (root / "labelled.txt").write_text("b\nf\n")
    assert parse(compare_dmt.TABLE, words)[1].data.labelled is None
    assert parse(compare_dmt.TABLE, ["--data.name=folder", f"--data.root={root}"])[1].data.labelled is None
    assert parse(compare_dmt.TABLE, [*words, "--data.labelled", "1"])[1].data.labelled == 1
    assert parse(compare_dmt.TABLE, ["--data.root", str(root)])[1].data.labelled == number  # of another data set


def test_lists_of_other_tools_are_read_as_they_are(tmp_path: Path) -> None:
    root = folder(tmp_path / "root", images=6)
    put(root, "east/a", TRUTH.astype(np.uint8))
    (root / "train.txt").write_text(
        "JPEGImages/a.jpg SegmentationClass/a.png\n/data/VOC/JPEGImages/b.jpg /data/VOC/SegmentationClassAug/b.png\n"
        "images/c.jpg masks/c.png\neast/a.tif\n"
    )
    (root / "test.txt").write_text("d\ne.nii.gz\n")
    pack = opened(root)
    assert dict(zip(pack.ids, pack.split, strict=True)) == {
        "a": "train", "b": "train", "c": "train", "east/a": "train", "d": "test", "e": "test",
    }  # fmt: skip
    (root / "test.txt").write_text("d.png e.png\n")
    fails(root, r"test.txt, line 1: got 'd.png e.png'; allowed: the name of a file in")


# ---- groups


def grouped(root: Path, names: str = "a1 a2 a3 b1 b2 c1 c2 d1 e1 e2") -> Path:
    for name in names.split():
        put(root, name, TRUTH.astype(np.uint8))
    return root


@pytest.mark.parametrize("told", ["groups.csv", "expression"])
def test_images_of_a_group_stay_together(told: str, tmp_path: Path) -> None:
    root = grouped(tmp_path / "root")
    settings = {"groups": "^([a-z])"}
    if told == "groups.csv":
        lines = [f"{file.stem},{file.stem[0]}" for file in sorted((root / "images").iterdir())]
        (root / "groups.csv").write_text("Name,Group\n" + "\n".join(lines) + "\n\n")
        settings = {}
    tests = set()
    for seed in range(8):
        pack = opened(root, split_seed=seed, **settings)
        assert pack.groups == [name[0] for name in pack.ids]
        sides = {}
        for name, part in zip(pack.ids, pack.split, strict=True):
            assert sides.setdefault(name[0], part) == part
        tests.add("".join(sorted(name for name, part in sides.items() if part == "test")))
        parts = split(pack, Data(name="folder", labelled=1, selection=1))
        assert len({pack.groups[row] for row in parts.labelled}) == 1
        assert pack.split.count("test") >= 2
    assert len(tests) > 2


def test_groups_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    root = grouped(tmp_path / "root")
    (root / "test.txt").write_text("a1\n")
    fails(root, r"root: got a1 of group 'a' in test and a2 in train; allowed: a group on one side", groups="(.)")
    (root / "test.txt").unlink()
    fails(root, r"data.groups: got 'a\(.\)'; allowed: an expression that finds a group in every name, such as 'b1'", groups="a(.)")
    (root / "groups.csv").write_text("a1,x\n")
    fails(root, r"data.groups: got '\(.\)' beside .*groups.csv; allowed: one of the two", groups="(.)")
    fails(root, r"groups.csv: got no line for 'a2'; allowed: a group for every image that is used")
    for lines in ("a1,x\nz,y\n", "a1,x\na1,y\n", "a1,x\na2\n", "a1,x\na2,\n", "a1,x\na2,y,z\n"):
        (root / "groups.csv").write_text(lines)
        fails(root, r"groups.csv, line 2: got '.*'; allowed: NAME,GROUP of a file in .*images, each name once")
    (root / "groups.csv").write_bytes(b"a1,\xff\n")
    fails(root, r"groups.csv: cannot be read \(.*\); allowed: lines NAME,GROUP in UTF-8")


def test_a_group_with_unlabelled_images_is_not_drawn_for_test(tmp_path: Path) -> None:
    root = grouped(tmp_path / "root")
    (root / "unlabelled").mkdir()
    for name in ("a9", "b9", "c9", "d9"):
        (root / "unlabelled" / f"{name}.png").write_bytes((root / "images" / "a1.png").read_bytes())
    for seed in range(4):
        pack = opened(root, groups="(.)", split_seed=seed)
        assert {name[0] for name, part in zip(pack.ids, pack.split, strict=True) if part == "test"} == {"e"}
    (root / "test.txt").write_text("a1\na2\na3\n")
    fails(root, r"root: got a1 of group 'a' in test and unlabelled/a9 in train; allowed: a group on one side", groups="(.)")


@pytest.mark.parametrize("count", [1, 2, 7, 30])
def test_without_groups_the_test_images_are_those_drawn_before_there_were_any(count: int) -> None:
    names = [f"{i:02d}" for i in range(count)]
    test = set(shuffled(names, 3)[: share_of(0.2, count)])
    assert draw_test({name: name for name in names}, 3, 0.2) == {name: "test" if name in test else "train" for name in names}
