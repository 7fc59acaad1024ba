"""A network as an ONNX file: torch's probabilities on odd sizes, and a model card whose example gives the masks of `predict`."""

import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import taken_tools as tools
import torch
from PIL import Image

from semiseg.config import SettingError
from semiseg.model import Model
from semiseg.nets import NETS, build
from semiseg.nets.around import Probabilities
from semiseg.onnx_file import TOLERANCE, check, write_onnx
from semiseg.tool import export, predict

ODD = [(67, 93), (101, 64)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("exported")
    tools.study(place, tools.write_deep(place / "data"))
    return place


@pytest.fixture(scope="module")
def file(place: Path) -> Path:
    """The exported network of seed 0; its card is beside it."""
    file = place / "taken away" / "model.onnx"
    assert export.main([f"{place / 'results' / 'taken'}/teacher", "--onnx", str(file), "--seed", "0", *tools.stored(place)]) == 0
    return file


@pytest.mark.parametrize("name", NETS)
def test_every_network_is_the_same_in_onnxruntime_on_odd_sizes(name: str, tmp_path: Path) -> None:
    net, (mean, std) = NETS[name](), ((0.5,) * 3, (0.25,) * 3)
    network = build(net, 3, mean=mean, std=std, seed=0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # statistics of the images below, as after training
    with torch.no_grad():
        network.train()(torch.rand((4, 3, 96, 96), generator=torch.Generator().manual_seed(1)))
    model = Model(network.eval(), net, tools.TRAIN, ("a", "b", "c"), "student")  # type: ignore[arg-type]
    write_onnx(model, tmp_path / "x.onnx", {"what": "a test"})
    session = onnxruntime.InferenceSession(str(tmp_path / "x.onnx"))
    assert session.get_modelmeta().custom_metadata_map == {"what": "a test"}
    for height, width in ODD:
        image = torch.rand((2, 3, height, width), generator=torch.Generator().manual_seed(2))
        with torch.inference_mode():
            wanted = Probabilities(network)(image).numpy()
        found = np.asarray(session.run(None, {"image": image.numpy()})[0])
        assert found.shape == wanted.shape
        if np.abs(found - wanted).max() > TOLERANCE:  # of a deep network with random weights torch's own rounding is more
            with torch.inference_mode():
                exact = Probabilities(network.double())(image.double()).numpy()
            network.float()
            assert np.abs(found - exact).max() <= 2 * np.abs(wanted - exact).max()


def test_a_graph_that_differs_is_refused(file: Path) -> None:
    class Constant(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.full((1, 3, *image.shape[2:]), 1 / 3)

    with pytest.raises(SettingError, match="onnx: the graph differs from torch by .* allowed: 1e-04"):
        check(Constant(), file, ODD)


def test_the_example_of_the_card_gives_the_masks_of_predict(place: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", file.with_suffix(".md").read_text(), re.DOTALL)
    monkeypatch.chdir(file.parent)
    names: dict = {}
    exec(code, names)  # noqa: S102  what the card tells people to run
    row, images = f"{place / 'results' / 'taken'}/teacher", place / "data" / "images"
    assert (
        predict.main([row, str(images), "--out", str(place / "masks"), "--seed", "0", *tools.stored(place), "--device", "cpu"]) == 0
    )
    for path in sorted(images.iterdir()):
        with Image.open(path) as image, Image.open(place / "masks" / path.name) as mask:
            assert np.mean(names["segment"](np.array(image)[..., None]) == np.array(mask)) > 0.999


def test_the_card_says_what_the_network_is_made_of(place: Path, file: Path) -> None:
    text = file.with_suffix(".md").read_text()
    for said in ("7 | 10 120 10", "random weights", "uint16, 1 channel", "row over 2 seeds", "95 % interval", "4 of them labelled"):
        assert said in text
    assert onnxruntime.InferenceSession(str(file)).get_modelmeta().custom_metadata_map["values"] == "[[3], [7], [200]]"
    assert not list(file.parent.glob(".*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["taken/teacher"], "allowed: --onnx FILE or --archive FILE"),
        (["{study}/nobody", "--onnx", "x.onnx"], "row: got 'nobody'; allowed: labels, teacher"),
        (["{study}", "--onnx", "x.onnx"], "a study without a row; allowed: {study}/labels, {study}/teacher"),
        (["nothing/there", "--onnx", "x.onnx"], "row: got 'nothing/there'; allowed: STUDY/ROW"),
        (["{study}/teacher", "--onnx", "x.pt"], "onnx: got 'x.pt'; allowed: a file NAME.onnx"),
        (["{study}/teacher", "--onnx", "x.onnx", "--seed", "7"], "seed: got 7; allowed: 0, 1"),
        (["{study}/teacher", "--onnx", "x.onnx", "--net", "a.py:b"], "net: got 'a.py:b'; allowed: none, as the network is unet"),
        (["{study}/teacher", "--onnx", "x.onnx", "--store", "elsewhere"], "a folder with finished stages"),
        (["{study}/teacher", "--onnx", "x.onnx", "--store", "."], "which has no stage"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    words: list[str], said: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    study = str(place / "results" / "taken")
    stored = [] if "--store" in words else tools.stored(place)
    assert export.main([word.format(study=study) for word in [*words, *stored]]) == 2
    error = capsys.readouterr().err
    assert said.format(study=study) in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.rglob("*.onnx"))
