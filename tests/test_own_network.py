"""A network from the user's own file trains, shares its blocks with a branch, is keyed by content, and errs in one line."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
import torch.nn.functional as F
from data_trees import build_cifar10
from test_nets import MEAN, STD, images, touched
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from semiseg.config import Data, Net, SettingError, Train
from semiseg.methods import Supervised
from semiseg.nets import BlockNet, MultiTask, OwnNet, build, check_network, located
from semiseg.runner import Place, StageRun, run_stage, split_of
from semiseg.train import StageError

CLASSES = len(tiny.CLASSES)
BLOCKS = """
from collections import OrderedDict
from torch import nn

def build(classes):
    act = nn.ReLU(inplace=True)
    return nn.Sequential(OrderedDict(
        stem=nn.Conv2d(3, 6, 3, 2, 1), norm=nn.BatchNorm2d(6), act1=act, mid=nn.Conv2d(6, 6, 3, padding=1), act2=act,
        head=nn.Conv2d(6, classes, 1),
    ))
"""
TORCHVISION = """
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

def build(classes):
    return lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
"""
IMAGE_LEVEL = """
from torch import nn

def build(classes):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
    net.image_level = True
    return net
"""


def written(folder: Path, text: str) -> Net:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.py").write_text(text)
    return located(OwnNet(name=f"{folder / 'mine.py'}:build"))


def made(net: Net, own: int = 0) -> BlockNet | MultiTask:
    return build(net, CLASSES, mean=MEAN, std=STD, seed=0, own=own)


@pytest.mark.parametrize("text", [BLOCKS, TORCHVISION], ids=["sequential", "torchvision"])
def test_it_trains_and_is_published_like_any_other(text: str, tmp_path: Path) -> None:
    train = replace(tiny.TRAIN, steps=2, evaluations=1)
    (stage,) = tiny.chain(Supervised(), net=written(tmp_path, text), train=train)
    before = made(stage.net).state_dict()
    finished = tiny.run(stage)
    after = finished.state.student.state_dict()
    assert before.keys() == after.keys()
    assert any(not after[name].equal(before[name]) for name in after)
    run_stage(stage, tiny.place(tmp_path))
    assert (tmp_path / stage.key / "weights.safetensors").is_file()


def test_the_children_of_a_sequential_are_the_blocks_even_when_one_is_there_twice(tmp_path: Path) -> None:
    net = made(written(tmp_path, BLOCKS)).eval()
    assert isinstance(net, BlockNet)
    assert list(net.blocks) == ["stem", "norm", "act1", "mid", "act2", "head"]
    weights = net.state_dict()
    x = (images() - weights["mean"]) / weights["std"]

    def conv(x: torch.Tensor, name: str, **options: int) -> torch.Tensor:
        return F.conv2d(x, weights[f"blocks.{name}.module.weight"], weights[f"blocks.{name}.module.bias"], **options)

    x = (conv(x, "stem", stride=2, padding=1) / (1 + 1e-5) ** 0.5).relu()  # BatchNorm before any training
    x = conv(conv(x, "mid", padding=1).relu(), "head")
    torch.testing.assert_close(net(images()), F.interpolate(x, (33, 47), mode="bilinear"))


@pytest.mark.parametrize("own", [1, 2, 4])
def test_a_branch_has_the_last_blocks_and_trains_with_the_rest(own: int, tmp_path: Path) -> None:
    """With 2 and 4 the branch begins with a ReLU in place: it must not overwrite what f reads."""
    net = made(written(tmp_path, BLOCKS), own)
    assert isinstance(net, MultiTask)
    assert list(net.auxiliary) == ["stem", "norm", "act1", "mid", "act2", "head"][-own:]
    segmentation, auxiliary = net.both(images())
    assert not segmentation.equal(auxiliary)
    (segmentation.square().sum() + auxiliary.square().sum()).backward()
    assert touched(net) == {name for name, _ in net.named_parameters()}


def test_three_stage_trains_its_branch_on_it(tmp_path: Path) -> None:
    stage = tiny.chain(net=written(tmp_path, BLOCKS), train=replace(tiny.TRAIN, steps=2, evaluations=1))[1]
    assert stage.rule.own_blocks == 2
    own = {name.split("auxiliary.")[1] for name in tiny.run(stage).best if "student.auxiliary." in name}
    assert own == {"head.module.weight", "head.module.bias"}  # act2 has no weights


def test_a_network_of_torchvision_is_itself_on_standardised_images(tmp_path: Path) -> None:
    net = made(written(tmp_path, TORCHVISION)).eval()
    torch.manual_seed(0)
    plain = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES).eval()
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    torch.testing.assert_close(net(images()), plain((images() - mean) / std)["out"])


def test_an_image_level_one_trains_on_images_of_one_class_each(tmp_path: Path) -> None:
    data = Data(name="cifar10", root=build_cifar10(tmp_path / "data"), labelled=20, selection=10)
    place = Place(data=data, cache=tmp_path / "cache", store=str(tmp_path))
    train = replace(tiny.TRAIN, steps=2, evaluations=1, score="accuracy")
    net = written(tmp_path, IMAGE_LEVEL)
    (stage,) = Supervised().stages(split_of(*place.open()), net, train, 0)
    check_network(net, 10, train, image_level=True)
    run_stage(stage, place)
    assert (tmp_path / stage.key / "metrics.parquet").is_file()
    with pytest.raises(SettingError, match=r"^net.name: got '.*mine.py:build'; allowed: .*unet.* a class for each pixel$"):
        check_network(net, 10, train)


# ---- keys


def test_the_key_is_of_the_files_content_and_not_of_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = written(tmp_path / "here", BLOCKS), written(tmp_path / "there", BLOCKS)
    other = written(tmp_path / "other", BLOCKS.replace("6, 6, 3", "6, 6, 5"))
    assert here.name != there.name
    assert here.digest == there.digest != other.digest
    one, same, different = (tiny.chain(Supervised(), net=net)[0].key for net in (here, there, other))
    assert one == same != different
    monkeypatch.chdir(tmp_path)
    assert located(OwnNet(name="here/mine.py:build")) == here


def test_a_file_that_changed_since_the_plan_is_refused(tmp_path: Path) -> None:
    (stage,) = tiny.chain(Supervised(), net=written(tmp_path, BLOCKS))
    StageRun(stage, tiny.place(tmp_path / "store"))
    written(tmp_path, BLOCKS.replace("6, 6, 3", "6, 6, 5"))
    with pytest.raises(StageError, match=r": the files of net.name and net.weights are not those of the plan$"):
        StageRun(stage, tiny.place(tmp_path / "store"))


def test_a_file_rewritten_at_once_with_as_many_characters_is_run_anew(tmp_path: Path) -> None:
    """What Python keeps in __pycache__ is known by a time in seconds and a size."""
    sizes = []
    for size in (3, 5, 7):
        net = made(written(tmp_path, BLOCKS.replace("6, 6, 3, padding=1", f"6, 6, {size}, padding={size // 2}")))
        sizes.append(net.get_parameter("blocks.mid.module.weight").shape[-1])
    assert sizes == [3, 5, 7]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_a_dataclass_in_the_file_may_have_annotations_that_are_text(tmp_path: Path) -> None:
    lines = "from dataclasses import dataclass\n\n@dataclass\nclass Width:\n    value: int = 6\n"
    made(written(tmp_path, f"from __future__ import annotations\n{lines}{BLOCKS}"))


# ---- errors

BODY = "from torch import nn\ndef build(classes):\n    "
RGB = "nn.Sequential(nn.Conv2d(3, 4, 1), "
UNUSABLE = {
    "import nothing_of_that_name": r"mine.py cannot be run \(line 1: ModuleNotFoundError: No module named .*; allowed: a Python file",
    "def build(classes)": r"mine.py cannot be run \(SyntaxError: expected ':' .*; allowed: a Python file",
    "raise ValueError('two\\nlines')": r"mine.py cannot be run \(line 1: ValueError: two lines\); allowed: a Python file",
    "x = 1": r"mine.py has no function 'build'; allowed: FILE.py:FUNCTION",
    "build = 3": r"mine.py has no function 'build'; allowed: FILE.py:FUNCTION",
    "def build(): pass": r"build failed for 5 classes \(TypeError: build\(\) takes 0 .*; allowed: a function of the number of classes",
    f"{BODY}return nn.Conv2d(3, '4', 1)": r"build failed for 5 classes \(line 3: TypeError: .*; allowed: a function of the number",
    f"{BODY}return classes": r"build returned int; allowed: a function that returns a torch.nn.Module",
    f"{BODY}return nn.Sequential()": r"build returned an empty nn.Sequential; allowed: at least one block",
    f"{BODY}return nn.Conv2d(3, 4, 1)": r"build gave \(2, 4, 32, 32\); allowed: logits \(N,5,height,width\)",
    f"{BODY}return nn.Flatten()": r"build gave \(2, 3072\); allowed: logits \(N,5,height,width\)",
    f"{BODY}return nn.LSTM(32, 5)": r"build cannot train on 4 crops of \(32, 32\) \(.*; allowed: a network that can, or other crops",
    f"{BODY}return {RGB}nn.Conv2d(3, classes, 1))": r"build cannot train on 4 crops of \(32, 32\) \(RuntimeError: .*to have 3 channels",
    f"{BODY}return {RGB}nn.Embedding(4, 5))": r"build cannot train on 4 crops of \(32, 32\) \(RuntimeError: ",
}


@pytest.mark.parametrize("text", UNUSABLE)
def test_what_cannot_be_used_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError) as refused:
        check_network(written(tmp_path, text), CLASSES, Train(batch_labelled=2, batch_unlabelled=2, crop=(32, 32)))
    message = str(refused.value)
    assert re.match(rf"net\.name: .*{UNUSABLE[text]}", message)
    assert "\n" not in message


def test_a_file_that_is_not_there_and_a_branch_of_a_single_block_are_refused(tmp_path: Path) -> None:
    net = written(tmp_path, TORCHVISION)
    with pytest.raises(SettingError, match=r"own blocks of the auxiliary branch: got 1; allowed: 0..0 for .*mine.py:build$"):
        made(net, own=1)
    shutil.move(tmp_path / "mine.py", tmp_path / "gone.py")
    with pytest.raises(
        SettingError, match=r"^net.name: .*mine.py cannot be read \(No such file or directory\); allowed: a file that"
    ):
        located(net)
    with pytest.raises(SettingError, match=r"^net.name: .*mine.py cannot be run \(FileNotFoundError: .*; allowed: a Python file$"):
        made(net)
