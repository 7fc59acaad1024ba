"""What is said about data before anything trains: the line, the findings, and the page, which stands alone."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from data_trees import build_acdc
from PIL import Image
from strange import IMAGES, SHAPE, TRUTH, Change, base, every, image, opened

import look_at_data
from semiseg.augment import PERTURBATIONS
from semiseg.config import Data
from semiseg.data import findings, load, split, understood
from semiseg.data.known import StandIn
from semiseg.data.understood import as_percent

Capture = pytest.CaptureFixture[str]


def of_folder(root: Path, labelled: int = 2) -> tuple[str, list[str]]:
    """The line and the findings of the small folder."""
    pack = opened(root, {})
    splits = split(pack, Data(labelled=labelled))
    return understood(pack, splits), findings(pack, splits)


def test_the_line_counts_images_sizes_kinds_classes_and_ignored_pixels(tmp_path: Path) -> None:
    root = base(tmp_path / "root")
    every(image(np.where(TRUTH == 2, 255, TRUTH).astype(np.uint8), "masks/a.png"), image(IMAGES["b"], "images/b.jpg"))(root)
    zero, one, two = (5 * 32, 5 * 32, 4 * 32)
    shares = [f"class {i} {100 * count / (zero + one + two):.3g} %" for i, count in enumerate((zero, one, two))]
    assert of_folder(root)[0] == (
        "folder: 3 training (2 labelled), 1 selection, 1 test images; 8x12 pixels; 1 8-bit colour JPEG, 4 8-bit colour PNG; "
        f"3 classes: {', '.join(shares)}; {100 * 32 / (5 * 96):.3g} % of the pixels ignored"
    )


def test_the_line_tells_several_sizes_and_groups(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    data = Data(name="acdc", root=build_acdc(tmp_path / "tree"), size="native", labelled=5)
    pack = load(data, tmp_path / "cache")
    splits = split(pack, data)
    groups = len({pack.groups[row] for row in splits.labelled})
    line = understood(pack, splits)
    assert "\n" not in line
    assert f"({len(splits.labelled)} labelled of {groups} group" in line
    assert "; 18x16 to 16x20 (2 sizes) pixels; " in line
    (patient,) = {pack.groups[row] for row in splits.selection}
    assert f"selection is of one group: {patient}" in findings(pack, splits)


def test_a_stand_in_has_a_line_too() -> None:
    data = Data(name="scgm", size=(8, 8))
    pack = StandIn(data)
    assert understood(pack, split(pack, data)).startswith(
        "scgm: 699 training (86 labelled), 90 selection, 137 test images; 8x8 pixels;"
    )


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (1, "100 %"), (1e-5, "< 0.1 %"), (0.99999, "> 99.9 %"), (0.12345, "12.3 %"), (0.001, "0.1 %")]
)
def test_a_share_never_reads_as_0_or_100_where_it_is_neither(share: float, text: str) -> None:
    assert as_percent(share) == text


TWO = np.minimum(TRUTH, 1)
IGNORED = np.full(SHAPE, 255, np.uint8)
FLAT = np.full((*SHAPE, 3), 7, np.uint8)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda root: None, []),
        (image(TWO, "masks/e.png"), ["not in test: class 2"]),
        (image(TWO * 0, "masks/d.png"), ["not in selection: class 1, class 2"]),
        (every(*(image(TWO, f"masks/{name}.png") for name in "abc")), ["not in the labelled images: class 2"]),
        (image(FLAT, "images/b.png"), ["of one colour: b"]),
        (image(IGNORED, "masks/a.png"), ["all pixels ignored: a"]),
        (image(IMAGES["a"], "images/e.png"), ["the same pixels in training and in test: a, e"]),
        (image(IMAGES["d"], "images/e.bmp"), ["the same pixels in selection and in test: d, e"]),
        (image(IMAGES["b"], "images/c.png"), ["the same pixels twice in training: b, c"]),
    ],
)
def test_what_may_be_a_mistake_is_found(change: Change, found: list[str], tmp_path: Path) -> None:
    root = base(tmp_path / "root")
    change(root)
    assert of_folder(root)[1] == found


class Sources(HTMLParser):
    """Tags that are open at the end, and every address."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.pictures: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [str(values[name]) for name in ("src", "href") if name in values]
        if tag == "img":
            self.pictures.append(str(values["alt"]))


def test_the_page_shows_images_masks_and_every_augmentation_and_loads_nothing(tmp_path: Path, capsys: Capture) -> None:
    root = base(tmp_path / "root")
    (root / "unlabelled").mkdir()
    Image.fromarray(FLAT).save(root / "unlabelled" / "<u>.png")
    page = tmp_path / "page.html"
    words = [
        "--data.name",
        "folder",
        "--data.root",
        str(root),
        "--cache",
        str(tmp_path / "cache"),
        "--out",
        str(page),
        "--images",
        "2",
    ]
    assert look_at_data.main([*words, "--data.labelled", "2"]) == 0
    line, *found, last = capsys.readouterr().out.splitlines()
    assert (found, last) == (["of one colour: unlabelled/<u>"], f"page: {page}")
    text = page.read_text()
    for said in (line, *found):
        assert re.sub("<", "&lt;", said).replace(">", "&gt;") in text
    sources = Sources()
    sources.feed(text)
    assert all(address.startswith("data:image/png;base64,") for address in sources.addresses)
    each = ["image", "mask", *(name for kind in ("weak", *PERTURBATIONS) for name in (kind, f"mask after {kind}"))]
    assert sources.pictures == each * 6  # two labelled ones, two others, one of selection, one of test


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data.name", "folder"], "data.root: got None"),
        (["--data.labelled", "999"], "data.labelled: got 999"),
        (["--out", "page.txt"], "out: got 'page.txt'; allowed: a file NAME.html"),
        (["--images", "0"], "images: got 0"),
    ],
)
def test_unusable_words_are_one_line(words: list[str], said: str, cache: Path, capsys: Capture) -> None:
    assert look_at_data.main(["--cache", str(cache), *words]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"error: {said}")
    assert len(err.splitlines()) == 1
    assert "page:" not in out
