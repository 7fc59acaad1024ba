"""Oxford-IIIT Pet (Parkhi et al. 2012) with its trimaps as two classes, split like paper 000.

    root/images/NAME.jpg                    opened by content: some files of the real set are GIF or PNG
    root/annotations/trimaps/NAME.png       1 pet, 2 background, 3 border
    root/annotations/list.txt, trainval.txt, test.txt       a name first on each line; those that are there are joined

This is the folder oxford-iiit-pet that torchvision makes. Images in no list or without a trimap file are left out.
"""

import numpy as np

from semiseg.config import Data, SettingError
from semiseg.data.images import Value, read_image, read_mask, to_ids
from semiseg.data.source import Item, Source, folder_of, read_lines, share_of, shuffled, stamp_of

LISTS = ("list.txt", "trainval.txt", "test.txt")
IDS: dict[Value, int] = {1: 1, 2: 0, 3: 1}  # the border belongs to the pet, as in paper 000
SELECTION_SHARE, TEST_SHARE = 0.2, 0.1  # of all images; paper 000: 70/20/10 train/validation/test
SIZE = (64, 64)


def oxford_pets(data: Data) -> Source:
    """A tenth of the images is "test", a fifth "selection" and the rest "train", drawn with --data.split-seed from sorted names.

    The official lists do not decide: paper 000 has a split of its own, and they are sorted by breed, so that their beginning holds
    a few breeds only.
    """
    root = folder_of(data.root, "oxford_pets")
    lists = [file for file in (root / "annotations" / name for name in LISTS) if file.is_file()]
    if not lists:
        raise SettingError(
            f"data.root: got {str(root)!r} without annotations/list.txt; allowed: a folder with images/ and annotations/, "
            "such as torchvision's oxford-iiit-pet"
        )
    trimaps = {
        name: root / "annotations" / "trimaps" / f"{name}.png"
        for name in sorted({line.split()[0] for file in lists for _, line in read_lines(file)})
    }
    names = shuffled([name for name, trimap in trimaps.items() if trimap.is_file()], data.split_seed)
    test = share_of(TEST_SHARE, len(names))
    selection = test + share_of(SELECTION_SHARE, len(names))
    splits = {name: "test" if i < test else "selection" if i < selection else "train" for i, name in enumerate(names)}
    files = {Item(name, splits[name]): (root / "images" / f"{name}.jpg", trimaps[name]) for name in sorted(names)}

    def read(item: Item) -> tuple[np.ndarray, np.ndarray]:
        image, trimap = files[item]
        return read_image(image), to_ids(read_mask(trimap, colour=False), IDS, trimap)

    return Source(
        items=tuple(files),
        classes=("background", "pet"),
        palette=((0, 0, 0), (240, 150, 60)),
        read=read,
        stamp=stamp_of(root, [file for pair in files.values() for file in pair], [*files]),
        default_size=SIZE,
        default_labelled=max(1, (len(names) - selection) // 10),
        where=lambda item: str(files[item][1]),
    )
