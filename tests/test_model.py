"""The network that a stage reports, out of what it has left: settings read back, branches left out, own networks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file

from semiseg.config import SettingError, Train, Weak
from semiseg.methods import ThreeStage
from semiseg.model import load_model, net_class, of_keys, of_role, placed
from semiseg.nets import NETS, OwnNet, build, located
from semiseg.pseudo import network
from semiseg.runner import run_stage
from semiseg.stage import by_content, of_training
from semiseg.store import Store

NET_FILE = "import torch\n\ndef build(classes, channels=3):\n    return torch.nn.Conv2d(channels, classes, 3, padding=1)\n"


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("name", NETS)
def test_settings_of_every_network_are_read_back_from_keys(name: str) -> None:
    for net in (NETS[name](), NETS[name](bn_momentum=0.2, weights="")):
        written = as_json(by_content(net))
        assert of_keys(net_class(written), written) == net


def test_training_settings_are_read_back_from_keys_but_for_the_weak_augmentation() -> None:
    train = Train(steps=9, threshold=0.9, sliding_window=(192, 256), metrics=("ece",), weak=Weak(flip=0.25, rot90=0.5))
    assert of_keys(Train, as_json(of_training(train))) == replace(train, weak=Weak())


def test_a_stage_with_an_auxiliary_branch_gives_f_alone(tmp_path: Path) -> None:
    *_, last = chain = tiny.chain(ThreeStage())
    place = tiny.place(tmp_path)
    for stage in chain:
        run_stage(stage, place)
    store = Store(str(tmp_path), tmp_path)
    info = store.info(last.key)
    model = load_model(info, store.folder(last.key) / "weights.safetensors")
    own = network(last, tiny.opened()[0], tiny.CPU)
    saved = store.folder(last.key) / "weights.safetensors"
    prefix = f"{last.train.weights}.{last.rule.evaluated}."
    own.load_state_dict({name.removeprefix(prefix): one for name, one in load_file(saved).items() if name.startswith(prefix)})
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model.network(image), own.eval()(image), atol=1e-6, rtol=0)
    assert model.classes == tiny.CLASSES


def test_tensors_of_other_roles_weights_and_branches_are_left_out() -> None:
    names = ["best.student.segmentation.mean", "best.student.auxiliary.x", "best.teacher.mean", "last.student.mean"]
    found = of_role({name: torch.tensor(float(i)) for i, name in enumerate(names)}, "best.student.")
    assert {name: float(one) for name, one in found.items()} == {"mean": 0.0}


def test_a_network_of_ones_own_is_found_where_it_is_said_to_be(tmp_path: Path) -> None:
    for name, text in (("net.py", NET_FILE), ("other.py", NET_FILE + "\n")):
        (tmp_path / name).write_text(text)
    net = located(OwnNet(name=f"{tmp_path}/net.py:build"))
    written = as_json(by_content(net))
    kept = of_keys(net_class(written), written)
    assert kept.name == "net.py:build"
    assert build(placed(kept, f"{tmp_path}/net.py:build"), 3, mean=(0.0,), std=(1.0,), seed=0).blocks
    for own, said in (
        (None, "net: got None; allowed: FILE.py:FUNCTION, the place of net.py:build"),
        (f"{tmp_path}/other.py:build", "whose file has changed since"),
    ):
        with pytest.raises(SettingError, match=said):
            placed(kept, own)
