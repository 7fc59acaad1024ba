"""The masks of a folder: every way to write classes, and every way to get them wrong."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_data_folder import COLOURS, RNG, TRUTH, fails, folder, opened, put


def palette_mask() -> Image.Image:
    mask = Image.fromarray(TRUTH.astype(np.uint8), "P")
    mask.putpalette([9, 9, 9, 200, 100, 0, 0, 100, 200])
    return mask


DECLARED = "0 0 0 class 0\n0 128 255 class 1\n250 10 20 class 2\n"  # COLOURS
MASKS = {
    "palette": palette_mask(),
    "grey": TRUTH.astype(np.uint8),
    "16-bit": TRUTH.astype(np.uint16),
    "rgb": COLOURS[TRUTH],
    "rgba": np.concatenate([COLOURS[TRUTH], np.full((8, 8, 1), 77, np.uint8)], axis=2),
    "grey with alpha": Image.merge("LA", [Image.fromarray(TRUTH.astype(np.uint8)), Image.new("L", (8, 8), 9)]),
}


@pytest.mark.parametrize("kind", MASKS)
def test_classes_are_found_in_masks_of_every_kind(kind: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "root", MASKS[kind])
    if kind in ("rgb", "rgba"):
        (root / "classes.txt").write_text(DECLARED)
    pack = opened(root)
    assert pack.classes == ("class 0", "class 1", "class 2")
    np.testing.assert_array_equal(pack.mask(0), TRUTH)
    expected = {"palette": ((9, 9, 9), (200, 100, 0), (0, 100, 200)), "rgb": tuple(map(tuple, COLOURS.tolist()))}
    assert pack.palette == expected.get(kind.removesuffix("a"), pack.palette)
    assert len(set(pack.palette)) == 3


def test_one_bit_masks_have_the_values_0_and_1(tmp_path: Path) -> None:
    pack = opened(folder(tmp_path / "root", Image.fromarray(TRUTH == 1)))
    np.testing.assert_array_equal(pack.mask(0), TRUTH == 1)


@pytest.mark.parametrize(
    ("mask", "lines", "ids"),
    [
        (np.array([200, 7, 255], np.uint8), "7 background; 200 class 1; 255 ignore", [1, 0, 255]),
        (np.array([0, 1000, 65535], np.uint16), "0 background; 1000 class 1; 65535 class 2", [0, 1, 2]),
        (np.array([1, 2, 3], np.uint8), "1 background; 2 class 1; 3 class 2", [0, 1, 2]),
        (np.array([0, 255, 3], np.uint8), "0 background; 3 class 1; 255 ignore", [0, 255, 1]),
        (COLOURS, "0 0 0 background; 0 128 255 class 1; 250 10 20 class 2", [0, 1, 2]),
        (np.array([(255,) * 3, (1, 2, 3), (9, 9, 9)], np.uint8), "1 2 3 background; 9 9 9 class 1; 255 255 255 ignore", [255, 0, 1]),
    ],
)  # fmt: skip
def test_other_values_than_0_to_k_are_classes_once_the_lines_of_the_error_declare_them(
    mask: np.ndarray, lines: str, ids: list[int], tmp_path: Path
) -> None:
    root = folder(tmp_path / "root", mask[TRUTH])
    fails(root, rf"masks: got mask values other than 0..K-1 .* such as classes.txt: {lines}$")
    (root / "classes.txt").write_text(lines.replace("; ", "\n"))
    np.testing.assert_array_equal(opened(root).mask(0), np.array(ids)[TRUTH])


@pytest.mark.parametrize(
    ("text", "values", "names", "ids"),
    [
        ("ground\n# a comment\n\nroof tile\nwall  # and another\n", [0, 1, 2], ("ground", "roof tile", "wall"), [0, 1, 2]),
        ("ground\nignore\nwall\n", [0, 1, 2], ("ground", "wall"), [0, 255, 1]),
        ("255 tissue\n0 ground\n7 ignore\n", [0, 255, 7], ("tissue", "ground"), [1, 0, 255]),
    ],
)
def test_classes_txt_names_values(text: str, values: list[int], names: tuple[str, ...], ids: list[int], tmp_path: Path) -> None:
    root = folder(tmp_path / "root", np.array(values, np.uint8)[TRUTH])
    (root / "classes.txt").write_text(text)
    pack = opened(root)
    assert pack.classes == names
    np.testing.assert_array_equal(pack.mask(0), np.array(ids)[TRUTH])


@pytest.mark.parametrize("palette", [False, True])
def test_classes_txt_names_colours_of_rgb_and_palette_masks(palette: bool, tmp_path: Path) -> None:
    mask = Image.fromarray(COLOURS[TRUTH])
    root = folder(tmp_path / "root", mask.convert("P", palette=Image.Palette.ADAPTIVE, colors=3) if palette else mask)
    (root / "classes.txt").write_text("250 10 20 flag\n0 0 0 ignore\n0 128 255 sky\n")
    pack = opened(root)
    assert pack.classes == ("flag", "sky")
    assert pack.palette == ((250, 10, 20), (0, 128, 255))
    np.testing.assert_array_equal(pack.mask(0), np.array([255, 1, 0])[TRUTH])


def test_names_given_as_settings_are_the_ids_in_order(tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    assert opened(root, classes=("a", "b", "c", "unused")).classes == ("a", "b", "c", "unused")
    fails(root, r"masks/a.png: got mask value 2; allowed: 0, 1, 255 \(ignore\)$", classes=("a", "b"))
    (root / "classes.txt").write_text("2 x\n1 y\n0 z\n")
    pack = opened(root, classes=("p", "q", "r"))
    assert pack.classes == ("p", "q", "r")
    np.testing.assert_array_equal(pack.mask(0), 2 - TRUTH)
    fails(root, r"data.classes: got 1 names; allowed: 3, as .*classes.txt has 3 classes", classes=("p",))


def test_a_grey_mask_saved_as_rgb_is_read_by_value_where_values_are_declared(tmp_path: Path) -> None:
    root = folder(tmp_path / "root", np.repeat(TRUTH.astype(np.uint8)[..., None], 3, axis=2))
    np.testing.assert_array_equal(opened(root, classes=("a", "b", "c")).mask(0), TRUTH)


def test_a_colour_mask_where_indexes_are_declared_is_refused(tmp_path: Path) -> None:
    fails(
        folder(tmp_path / "root", COLOURS[TRUTH]),
        r"masks/a.png: got the colour 0 128 255; allowed: an index mask .* lines 'r g b name' in classes.txt",
        classes=("a", "b", "c"),
    )


def test_masks_that_are_photographs_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in "abcdefgh":
        put(root, name, RNG.integers(0, 256, (8, 8, 3), np.uint8))
    fails(root, r"masks/\w.png: got more than 254 mask values .* look like photographs")


def test_masks_of_two_kinds_need_classes_txt(tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    put(root, "z", COLOURS[TRUTH])
    fails(root, r"masks/z.png: got a colour-coded mask after index masks; allowed: one kind")


def test_masks_of_0_and_255_are_two_classes_unless_names_say_that_255_is_ignored(tmp_path: Path) -> None:
    root = folder(tmp_path / "root", ((TRUTH == 1) * 255).astype(np.uint8))
    np.testing.assert_array_equal(opened(root).mask(0), TRUTH == 1)
    fails(root, r"got only a and 255 \(ignore\) in all masks; allowed: two classes .* '255 name'", classes=("a", "b"))
    (root / "classes.txt").write_text("0 background\n255 tissue\n")
    np.testing.assert_array_equal(opened(root).mask(0), TRUTH == 1)


@pytest.mark.parametrize("text", ["1 a\nb\n", "1 a\n1 b\n", "a\na\n", "1 2 300 a\n", "70000 a\n", "1 a\n1 2 3 b\n"])
def test_classes_txt_that_cannot_be_meant_is_refused(text: str, tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    (root / "classes.txt").write_text(text)
    fails(root, r"classes.txt, line \d: got '.*'; allowed: a line 'name', 'value name' or 'r g b name'")


def test_classes_txt_without_a_class_is_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    (root / "classes.txt").write_text("# none\nignore\n")
    fails(root, r"classes.txt: got 0 classes; allowed: 2..254")
