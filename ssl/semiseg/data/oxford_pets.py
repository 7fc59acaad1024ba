"""Oxford-IIIT Pet (Parkhi et al. 2012) with its trimaps as two classes, split like pets_mean_teacher, like feng2020_dmt or
officially.

    root/images/NAME.jpg                    opened by content: some files of the real set are GIF or PNG
    root/annotations/trimaps/NAME.png       1 pet, 2 background, 3 border
    root/annotations/list.txt, trainval.txt, test.txt       a name first on each line; those that are there are joined

This is the folder oxford-iiit-pet that torchvision makes; --data.root may also be the folder it lies in. Images in no list or
without a trimap file are left out.

What the border is says `Data.trimap`: pet (pets_mean_teacher), ignored (also the variant `border_ignored`), or a class of its own.

Splits are drawn with --data.split-seed from the sorted names: the lists are sorted by breed, so that their beginning holds a few
breeds only. The variants:

    (none)              pets_mean_teacher: a tenth of all images is "test", a fifth "selection" and the rest "train"
    split_feng2020_dmt  1480/7393 of all images are "test" and 5 % of the others "selection". The paper's 7393 are the files in the
                        folder images, three .mat files among them, which cannot be trained on, and images that are in no list: of
                        the 7349 that are listed 1471 are for test, 293 for selection and 5585 for training, where the paper has
                        1480, 295 and 5618
    split_official      test.txt is "test" and trainval.txt "train", out of which selection is carved (--data.selection)
"""

from pathlib import Path

import numpy as np

from semiseg.config import Data, SettingError
from semiseg.data.dataset import DataSet, Published
from semiseg.data.download import above, torchvision
from semiseg.data.images import Photos
from semiseg.data.masks import Value, to_ids, values_of
from semiseg.data.source import IGNORE, Item, Source, folder_of, read_lines, share_of, shuffled, stamp_of

TORCHVISIONS = "oxford-iiit-pet"
LISTS = ("list.txt", "trainval.txt", "test.txt")
CLASSES = {"background": (0, 0, 0), "pet": (240, 150, 60), "border": (90, 140, 230)}
BORDER = 3
BORDERS = {"border_is_pet": 1, "border_ignored": IGNORE, "three_classes": 2}
IDS: dict[Value, int] = {1: 1, 2: 0}
TEST_SHARE, SELECTION_SHARE = 0.1, 0.2  # of all images; pets_mean_teacher: 70/20/10 train/validation/test
TEST_SHARE_002, SELECTION_SHARE_002 = 1480 / 7393, 0.05  # of all images, and of those not for test
SIZE = (64, 64)


def oxford_pets(data: Data) -> Source:
    """Pet against background; a tenth of the training images is labelled by default (feng2020_dmt)."""
    root = folder_of(data.root, "oxford_pets")
    root = root / TORCHVISIONS if (root / TORCHVISIONS).is_dir() else root
    lists = {name: first_words(root / "annotations" / name) for name in LISTS if (root / "annotations" / name).is_file()}
    if not lists:
        raise SettingError(
            f"data.root: got {str(root)!r} without annotations/list.txt; allowed: a folder with images/ and annotations/, "
            "such as torchvision's oxford-iiit-pet"
        )
    trimaps = {
        name: root / "annotations" / "trimaps" / f"{name}.png"
        for name in sorted({name for names in lists.values() for name in names})
    }
    names = [name for name, trimap in trimaps.items() if trimap.is_file()]
    splits = official(root, lists, names) if "split_official" in data.variant else draw_splits(names, data)
    files = {Item(name, split): (root / "images" / f"{name}.jpg", trimaps[name]) for name, split in sorted(splits.items())}
    photos = Photos(animated=True)  # the real set has GIF files
    border = data.trimap or ("border_ignored" if "border_ignored" in data.variant else "border_is_pet")
    ids = {**IDS, BORDER: BORDERS[border]}
    classes = {name: CLASSES[name] for name in ("background", "pet", *(["border"] if border == "three_classes" else []))}
    options = {*data.variant, border} - {"border_ignored", "border_is_pet"} | {border} - {"border_is_pet"}

    def read(item: Item) -> tuple[np.ndarray, np.ndarray]:
        image, trimap = files[item]
        pixels, raw = photos.pair(image, trimap, colour=False)
        return pixels, to_ids(raw, ids, trimap)

    return Source(
        items=tuple(files),
        classes=tuple(classes),
        palette=tuple(classes.values()),
        read=read,
        values=lambda: values_of({2: 0, 1: 1, BORDER: 2} if "border" in classes else {2: 0, 1: 1}),
        stamp=stamp_of(root, [file for pair in files.values() for file in pair], [*files], *sorted(options)),
        default_size=SIZE,
        default_labelled=max(1, [*splits.values()].count("train") // 10),
        where=lambda item: str(files[item][1]),
        finish=photos.finish,
        attributes={"breed": breed, "species": species},
    )


def breed(item: Item) -> str:
    """One of 37, from the name, such as Abyssinian_100."""
    return item.id.rpartition("_")[0] or item.id


def species(item: Item) -> str:
    """Names of cats begin with a capital (the note in list.txt)."""
    return "cat" if item.id[:1].isupper() else "dog"


def first_words(file: Path) -> list[str]:
    return [line.split()[0] for _, line in read_lines(file)]


def draw_splits(names: list[str], data: Data) -> dict[str, str]:
    """Split by name, in the shares of pets_mean_teacher or feng2020_dmt."""
    if "split_feng2020_dmt" in data.variant:
        test = share_of(TEST_SHARE_002, len(names))
        selection = share_of(SELECTION_SHARE_002, len(names) - test)
    else:
        test, selection = share_of(TEST_SHARE, len(names)), share_of(SELECTION_SHARE, len(names))
    order = shuffled(names, data.split_seed)
    return {name: "test" if i < test else "selection" if i < test + selection else "train" for i, name in enumerate(order)}


def official(root: Path, lists: dict[str, list[str]], names: list[str]) -> dict[str, str]:
    """Split by name, of the authors' two lists."""
    for name in ("trainval.txt", "test.txt"):
        if name not in lists:
            raise SettingError(f"{root / 'annotations' / name}: cannot be read (no such file); allowed: a list, for split_official")
    both = set(lists["trainval.txt"]) & set(lists["test.txt"])
    if both:
        raise SettingError(f"{root / 'annotations'}: got {min(both)} in trainval.txt and test.txt; allowed: one of them")
    there = set(names)
    splits = {"trainval.txt": "train", "test.txt": "test"}
    return {name: split for file, split in splits.items() for name in lists[file] if name in there}


def fetch_pets(root: Path) -> None:
    if not any((root / place / "annotations").is_dir() for place in (".", TORCHVISIONS)):
        torchvision("OxfordIIITPet")(root=above(root, TORCHVISIONS), target_types="segmentation", download=True)


OXFORD_PETS = DataSet(
    name="oxford_pets",
    source=oxford_pets,
    variants=("border_ignored", "split_feng2020_dmt", "split_official"),
    # Parkhi et al. 2012: 3680 and 3669 trimaps, split 70/20/10 like pets_mean_teacher
    published=Published(train=5146, selection=1469, test=734, classes=2, size=(375, 500), default=SIZE, labelled=514),
    reads=("trimap",),
    changes={
        "three_classes": {"classes": 3},
        "split_feng2020_dmt": {"train": 5585, "selection": 293, "test": 1471, "labelled": 558},
        "split_official": {"train": 3680, "selection": 0, "test": 3669, "labelled": 368},
    },
    fetch=fetch_pets,
)
