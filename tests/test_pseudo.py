"""Files of pseudo-masks: what is written is what is read, from the mapped file; what is cut or foreign is refused and made again."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from semiseg.batch import IGNORE
from semiseg.methods.kept import Kept
from semiseg.pseudo import PseudoTile, read_masks, write_masks

SIZES = {7: (3, 5), 2: (8, 2), 5: (1, 1)}
PACK: Any = SimpleNamespace(
    ids=[f"image {row}" for row in range(9)],
    heights=np.array([SIZES.get(row, (9, 9))[0] for row in range(9)]),
    widths=np.array([SIZES.get(row, (9, 9))[1] for row in range(9)]),
)


def drawn() -> dict[int, tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    return {
        row: (generator.integers(0, 256, size, np.uint8), generator.integers(0, 65536, size, np.uint16))
        for row, size in SIZES.items()
    }


def tiles(maps: dict[int, tuple[np.ndarray, np.ndarray]]) -> Iterator[PseudoTile]:
    """Every image in up to four tiles, not in reading order."""
    for row, (mask, confidence) in maps.items():
        height, width = mask.shape
        for rows in (slice(height // 2, height), slice(0, height // 2)):
            for columns in (slice(0, width // 2), slice(width // 2, width)):
                yield PseudoTile(row, (rows, columns), mask[rows, columns], confidence[rows, columns])


@pytest.mark.parametrize("sure", [True, False])
def test_masks_of_several_sizes_survive_the_file(tmp_path: Path, sure: bool) -> None:
    maps = drawn()
    write_masks(tmp_path / "masks", PACK, list(maps), tiles(maps), confidences=sure)
    masks, confidences = read_masks(tmp_path / "masks")
    assert list(masks) == ["image 7", "image 2", "image 5"]
    assert (confidences is not None) == sure
    for row, pair in maps.items():
        for found, expected in zip((masks, confidences), pair, strict=True):
            if found is not None:
                one = found[PACK.ids[row]]
                assert one.dtype == expected.dtype
                assert np.array_equal(one, expected)
                with pytest.raises(ValueError, match="read-only"):
                    one[0, 0] = 1


def test_a_file_of_masks_is_mapped_and_takes_a_byte_a_pixel(tmp_path: Path) -> None:
    maps = drawn()
    write_masks(tmp_path / "masks", PACK, list(maps), tiles(maps), confidences=False)
    masks, _ = read_masks(tmp_path / "masks")
    base: Any = next(iter(masks.values()))
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    head = (tmp_path / "masks").read_bytes().partition(b"\n")[0]
    assert json.loads(head)["ids"] == list(masks)
    pixels = sum(height * width for height, width in SIZES.values())
    assert len(head) + 1 + pixels <= (tmp_path / "masks").stat().st_size < len(head) + 1 + pixels + 64


def test_what_is_cut_or_another_file_is_refused(tmp_path: Path) -> None:
    maps = drawn()
    path = tmp_path / "masks"
    write_masks(path, PACK, list(maps), tiles(maps), confidences=True)
    whole = path.read_bytes()
    for length in (0, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises((ValueError, KeyError)):
            read_masks(path)
    for text in ("{}\n", '{"kind": "other"}\n', "[]\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match="no file of pseudo-masks"):
            read_masks(path)


def test_a_disk_that_is_full_raises_before_anything_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        write_masks(tmp_path / "masks", PACK, [7], iter(()), confidences=False)


@pytest.mark.parametrize("lowest", [[30000], [30000, 50000, 10000]])
def test_a_kept_mask_is_filtered_where_it_is_read(lowest: list[int]) -> None:
    generator = np.random.default_rng(0)
    mask = generator.integers(0, 3, (9, 11), np.uint8)
    confidence = generator.integers(0, 65536, mask.shape).astype(np.uint16)
    kept = Kept(mask, confidence, np.array(lowest))
    expected = mask.copy()
    for place in np.ndindex(*mask.shape):
        if confidence[place] < (lowest[mask[place]] if len(lowest) > 1 else lowest[0]):
            expected[place] = IGNORE
    assert (kept.shape, kept.dtype) == (mask.shape, np.uint8)
    assert np.array_equal(kept, expected)
    assert np.array_equal(kept[2:7, 3:], expected[2:7, 3:])
    assert kept[2:7, 3:].dtype == np.uint8
    assert kept[4, 5] == expected[4, 5]
