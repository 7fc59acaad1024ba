"""Stratified labelled subsets: within one image of exact shares at every size, nested, drawn; whole groups; any attribute."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_trees import build_folder, build_pets, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit

from semiseg.config import Data, SettingError
from semiseg.data import Pack, load, split
from semiseg.data.strata import by_occurrence, by_quota


def shares_held(values: np.ndarray, order: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Of each size 1..N of a subset how many of each value it holds, and how many exactly its share would be."""
    one_hot = values[:, None] == np.unique(values)
    sizes = np.arange(1, len(values) + 1)[:, None]
    return one_hot[order].cumsum(0), sizes * one_hot.mean(0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=60))
def test_every_beginning_holds_each_value_within_one_image_of_exact(drawn: list[int]) -> None:
    order = list(by_quota([str(one) for one in drawn]))
    assert sorted(order) == list(range(len(drawn)))
    held, exact = shares_held(np.array(drawn), order)
    assert (abs(held - exact) < 1).all()


def test_of_as_many_labels_as_breeds_every_breed_has_about_one() -> None:
    """Pets: 37 breeds of 190 to 200 images; 74 labels are 1 to 3 of each, drawn at random some breeds would have none."""
    rng = np.random.default_rng(0)
    values = rng.permutation(np.repeat([f"breed {i}" for i in range(37)], rng.integers(190, 201, 37)))
    order = list(islice(by_quota(values.tolist()), 74))
    counts = [np.sum(values[order] == one) for one in np.unique(values)]
    assert (min(counts), max(counts)) in ((1, 3), (1, 2), (2, 2))
    assert len(np.unique(values[:74])) < 37


def test_one_large_and_many_rare_values_do_not_starve_each_other() -> None:
    values = np.array(["common"] * 50 + [f"rare {i}" for i in range(50)])
    held, exact = shares_held(values, list(by_quota(values.tolist())))
    assert (abs(held - exact) < 1).all()


@pytest.mark.parametrize("size", [10, 37, 74, 111, 250])
def test_the_numbers_are_those_of_sklearn_within_rounding(size: int) -> None:
    """Both round exact shares; where these are whole numbers there is nothing to round."""
    values = np.random.default_rng(0).permutation(np.repeat([f"v{i}" for i in range(5)], [20, 40, 60, 100, 150]))
    kinds = np.unique(values)
    ours = list(islice(by_quota(values.tolist()), size))
    theirs, _ = next(iter(StratifiedShuffleSplit(1, train_size=size, random_state=0).split(values, values)))
    mine, other = (np.array([(values[rows] == kind).sum() for kind in kinds]) for rows in (ours, theirs))
    exact = np.array([20, 40, 60, 100, 150]) * size / 370
    assert (abs(mine - exact) < 1).all()
    assert abs(mine - other).max() <= 1
    if size in (37, 74, 111):
        np.testing.assert_array_equal(mine, other)
        np.testing.assert_array_equal(mine, exact)


def sechidis(shown: np.ndarray, share: float, rng: np.random.Generator) -> list[int]:
    """Algorithm 1 of Sechidis et al. 2011 for two subsets, as it is written; the numbers in the first one."""
    shares = np.array([share, 1 - share])
    desired, of_label = len(shown) * shares, shown.sum(0)[None] * shares[:, None]
    left, first = set(range(len(shown))), []
    while left:
        rows = np.array(sorted(left))
        counts = shown[rows].sum(0)
        if not counts.any():
            return first + rows[: max(0, round(desired[0]))].tolist()
        label = min(np.flatnonzero(counts), key=lambda one: counts[one])
        for row in rows[shown[rows, label]]:
            best = np.flatnonzero(of_label[:, label] == of_label[:, label].max())
            best = best[desired[best] == desired[best].max()]
            chosen = int(rng.choice(best))
            first += [int(row)] * (chosen == 0)
            of_label[chosen] -= shown[row]
            desired[chosen] -= 1
            left.discard(int(row))
    return first


@pytest.mark.parametrize("seed", range(3))
def test_classes_of_masks_are_as_balanced_as_by_iterative_stratification_and_nested(seed: int) -> None:
    """Mean distance of the share of images that show a class from exact; VOC has 1464 images of 20 classes and the background."""
    rng = np.random.default_rng(seed)
    shown = rng.random((600, 21)) < np.r_[1, rng.uniform(0.03, 0.12, 19), 0.4]
    order = list(by_occurrence(shown.astype(int), np.ones(len(shown), int)))
    assert sorted(order) == list(range(len(shown)))

    def distance(rows: Any) -> float:
        return float(abs(shown[rows].mean(0) - shown.mean(0)).mean())

    for size in (30, 60, 150):
        drawn = [distance(rng.permutation(len(shown))[:size]) for _ in range(40)]
        theirs = sechidis(shown, size / len(shown), rng)
        assert abs(len(theirs) - size) <= 2
        assert distance(order[:size]) <= distance(theirs) * 1.1
        assert distance(order[:size]) < min(drawn)
    exact = np.arange(1, len(shown) + 1)[:, None] * shown.mean(0)
    distances = abs(shown[order].cumsum(0) - exact).max(1)
    assert distances[:300].max() < 1.25  # images, over all classes and sizes; the last images are what the others have left
    assert distances.max() < 2.5


def test_of_groups_their_images_count() -> None:
    """Slices of patients: 2 classes, one of them in the slices of half of the patients."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(4, 9, 30)
    shown = np.column_stack([sizes, np.where(rng.random(30) < 0.5, sizes - 2, 0)])
    order = list(by_occurrence(shown, sizes))
    share = shown.sum(0) / sizes.sum()
    assert abs(shown[order].cumsum(0) - sizes[order].cumsum()[:, None] * share).max() <= sizes.max()


# ---- settings


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Data:
    root = build_pets(tmp_path_factory.mktemp("pets") / "tree", images=60)
    for place in ("images", "annotations/trimaps", "annotations"):
        for file in (root / place).iterdir():
            if file.suffix == ".txt":
                file.write_text("\n".join(renamed(line) for line in file.read_text().splitlines()))
            elif file.is_file():
                file.rename(file.with_stem(renamed(file.stem)))
    return Data(name="oxford_pets", root=root, size=(16, 16))


def renamed(line: str) -> str:
    """pet_12 becomes one of five breeds, of which two are cats."""
    name, _, rest = line.partition(" ")
    number = name.rpartition("_")[2]
    breeds = ("Abyssinian", "Bengal", "beagle", "great_pyrenees", "pug")
    return f"{breeds[int(number) % 5]}_{number} {rest}".strip() if number.isdecimal() else line


def values_of(pack: Pack, rows: np.ndarray, name: str) -> dict[str, int]:
    found = [pack.attributes[name][pack.ids[row]] for row in rows]
    return {value: found.count(value) for value in sorted(set(found))}


def chosen(data: Data, cache: Path, **changes: Any) -> tuple[Pack, Any]:
    asked = replace(data, **changes)
    pack = load(asked, cache)
    return pack, split(pack, asked)


@pytest.mark.parametrize("name", ["breed", "species"])
def test_pets_are_stratified_by_what_their_names_say(name: str, pets: Data, tmp_path: Path) -> None:
    before: set[int] = set()
    for size in (1, 4, 10, 19, 40):
        pack, parts = chosen(pets, tmp_path, labelled=size, stratify=name)
        every = values_of(pack, parts.training, name)
        held = values_of(pack, parts.labelled, name)
        total = len(parts.training)
        assert sum(held.values()) == size
        assert all(abs(held.get(value, 0) - size * count / total) < 1 for value, count in every.items())
        assert before <= set(parts.labelled.tolist())
        before = set(parts.labelled.tolist())
    draws = {chosen(pets, tmp_path, labelled=4, stratify=name, labelled_seed=seed)[1].labelled_hash for seed in range(6)}
    assert len(draws) > 3


def test_a_regular_expression_is_an_attribute_and_only_labels_move(pets: Data, tmp_path: Path) -> None:
    _, by_name = chosen(pets, tmp_path, labelled=9, stratify="breed")
    _, by_text = chosen(pets, tmp_path, labelled=9, stratify=r"^(.*)_[0-9]+$")
    _, plain = chosen(pets, tmp_path, labelled=9, labelled_seed=5)
    np.testing.assert_array_equal(by_name.labelled, by_text.labelled)
    assert set(by_name.labelled.tolist()) != set(plain.labelled.tolist())
    for name in ("training", "selection", "test"):
        np.testing.assert_array_equal(getattr(by_name, name), getattr(plain, name))


@pytest.mark.parametrize(
    ("stratify", "said"),
    [
        (
            "breeds",
            r"data.stratify: got 'breeds'; allowed: none, class, breed, species, or a regular expression with a group \( \)",
        ),
        ("(x)", r"data.stratify: got '\(x\)'; allowed: an expression that finds a group in every id, such as '.*_[0-9]+'"),
        ("a(b", "data.stratify: got 'a\\(b'; allowed: none, class"),
    ],
)
def test_what_nothing_is_known_of_is_refused(stratify: str, said: str, pets: Data, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=f"^{said}"):
        chosen(pets, tmp_path, labelled=9, stratify=stratify)
    with pytest.raises(SettingError, match="^data.stratify: got ''; allowed: none, class, an attribute or a regular expression$"):
        Data(stratify="")


def test_few_labels_of_the_built_in_scenes_show_every_class(tmp_path: Path) -> None:
    pack, parts = chosen(Data(), tmp_path, stratify="class", labelled=16)
    shown = pack.counts[:, :-1] > 0
    held, share = shown[parts.labelled].sum(0), shown[parts.training].mean(0)
    assert abs(held - 16 * share).max() < 1
    assert (held > 0).all()


def test_a_list_comes_first_and_the_rest_is_balanced(pets: Data, tmp_path: Path) -> None:
    pack, parts = chosen(pets, tmp_path / "cache", stratify="breed")
    pugs = [pack.ids[row] for row in parts.training if pack.ids[row].startswith("pug")][:3]
    (tmp_path / "list.txt").write_text("\n".join(pugs))
    _, found = chosen(pets, tmp_path / "cache", labelled_list=tmp_path / "list.txt", stratify="breed", labelled=13)
    others = [row for row in found.labelled if pack.ids[row] not in pugs]
    assert len(others) == 10
    assert max(values_of(pack, np.array(others), "breed").values()) <= 3


@pytest.mark.parametrize("told", ["groups.csv", "data.groups"])
def test_a_folders_attributes_are_columns_or_named_groups(told: str, tmp_path: Path) -> None:
    """Twelve images of six patients, two of each, of two sites; patients are taken whole."""
    root = build_folder(tmp_path / "root")
    sites = {f"{i:02d}": "ab"[i // 4 % 2] for i in range(12)}
    for place in ("images", "masks"):
        for file in (root / place).iterdir():
            file.rename(file.with_stem(f"p{int(file.stem) // 2}{sites[file.stem]}_{file.stem}"))
    for name, patient in (("test", "p5a_10\np5a_11\n"), ("selection", "p4a_08\np4a_09\n")):
        (root / f"{name}.txt").write_text(patient)
    data = Data(name="folder", root=root, size=(16, 16), stratify="site")
    for file in (root / "unlabelled").iterdir():
        file.rename(file.with_stem(f"p9c_{file.stem}"))
    if told == "groups.csv":
        names = [file.stem for place in ("images", "unlabelled") for file in (root / place).iterdir()]
        (root / told).write_text("Name,Group,site\n" + "".join(f"{name},{name[:2]},{name[2]}\n" for name in names))
    else:
        data = replace(data, groups="^(p[0-9])(?P<site>[a-c])_")
    pack, parts = chosen(data, tmp_path / "cache", labelled=4)
    assert values_of(pack, parts.labelled, "site") == {"a": 2, "b": 2}
    assert len({pack.groups[row] for row in parts.labelled}) == 2
    with pytest.raises(SettingError, match="data.stratify: got 'clinic'; allowed: none, class, site, or a regular expression"):
        chosen(data, tmp_path / "cache", stratify="clinic")
    if told == "groups.csv":
        (root / told).write_text("name,group,class\n")
        with pytest.raises(SettingError, match=r"groups.csv, line 1: got 'class'; allowed: after name,group distinct names"):
            chosen(data, tmp_path / "cache")
        (root / told).write_text("name,group,site\np0a_00,p0\n")
        with pytest.raises(SettingError, match=r"groups.csv, line 2: got 'p0a_00,p0'; allowed: NAME,GROUP,site of a file in"):
            chosen(data, tmp_path / "cache")


def test_breeds_of_the_shared_pets(tmp_path: Path) -> None:
    data = Data(name="oxford_pets", root=shared("oxford-iiit-pet"), size=(16, 16))
    pack, parts = chosen(data, tmp_path, labelled=15, stratify="breed")
    assert len(set(pack.attributes["breed"].values())) == 3  # of the 37 of the whole set
    every, held = (values_of(pack, rows, "breed") for rows in (parts.training, parts.labelled))
    assert all(abs(held.get(one, 0) - 15 * count / len(parts.training)) < 1 for one, count in every.items())
