"""Training on a folder with an image of SIDE x SIDE pixels in a process of its own, and the private memory that took. Not a test module.

    python tests/large_stage.py FOLDER SIDE

writes a tiled, compressed TIFF and its mask, packs the folder, trains a supervised stage, scores it in windows, takes a step of another stage
that learns its sure pseudo-masks, and prints a line of JSON: private memory in bytes before and at most, and the scores on the test image.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import tifffile
import tiny
from large import SMALL, Watch, row_values

from semiseg.config import Data, Train
from semiseg.methods import PseudoLabel
from semiseg.nets import UNet
from semiseg.runner import Place, StageRun, run_stage, split_of

TILE = 256


def class_of(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Uint8 (rows,columns) of blocks of 100 pixels."""
    return ((rows[:, None] // 100 + columns // 100) % 2).astype(np.uint8)


def write_folder(root: Path, side: int) -> None:
    """One image for training, the same for test, and a small one for selection."""

    def tiles(mask: bool) -> Iterator[np.ndarray]:
        for top in range(0, side, TILE):
            rows = np.arange(top, top + TILE)
            band, classes = row_values(rows, side + TILE), class_of(rows, np.arange(side + TILE))
            band = band // 2 + 120 * classes[..., None]  # what a class looks like
            for left in range(0, side, TILE):
                place = np.s_[:, left : left + TILE]
                yield np.ascontiguousarray(classes[place] if mask else band[place])

    for name, mask in (("images", False), ("masks", True)):
        (root / name).mkdir(parents=True)
        shape = (side, side) if mask else (side, side, 3)
        options = {"shape": shape, "dtype": np.uint8, "tile": (TILE, TILE), "compression": "zlib"}
        kind = "minisblack" if mask else "rgb"
        tifffile.imwrite(root / name / "large.tif", tiles(mask), photometric=kind, compressionargs={"level": 1}, **options)
        (root / name / "again.tif").symlink_to(root / name / "large.tif")
        rows = np.arange(4 * SMALL)
        classes = class_of(rows, rows)
        picture = row_values(rows, len(rows)) // 2 + 120 * classes[..., None]
        tifffile.imwrite(root / name / "small.tif", classes if mask else picture)
    for split, image in (("train", "large"), ("selection", "small"), ("test", "again")):
        (root / f"{split}.txt").write_text(f"{image}\n")
    (root / "classes.txt").write_text("0 even\n1 odd\n")


def main() -> None:
    root, side = Path(sys.argv[1]), int(sys.argv[2])
    write_folder(root / "data", side)
    with Watch() as watch:
        place = Place(
            data=Data(name="folder", root=root / "data", size="native", labelled="all"),
            cache=root / "cache",
            store=str(root / "store"),
        )
        pack, splits = place.open()
        train = Train(
            steps=60, batch_labelled=2, batch_unlabelled=2, crop=(64, 64), learning_rate=1e-2, precision="fp32", evaluations=1,
            sliding_window=(1024, 1024), window_overlap=32,
        )  # fmt: skip
        first, second = PseudoLabel(threshold=0.6).stages(split_of(pack, splits), UNet(width=2, depth=2), train, 0)
        run_stage(first, place)
        run = StageRun(second, place)
        run.trainer.train_step()
    table = pq.read_table(root / "store" / first.key / "metrics.parquet").to_pylist()
    scores = {line["metric"]: line["value"] for line in table if line["split"] == "test" and line["class"] == ""}
    said = {"before": watch.before, "most": watch.most, "sides": pack.heights.tolist(), "step": run.trainer.progress.step}
    print(json.dumps(said | {name: scores[name] for name in ("miou", "accuracy")}))


if __name__ == "__main__":
    tiny.torch.set_num_threads(1)
    main()
