"""SwiftNet has the published number of parameters and computes what its description says."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from test_nets import CLASSES, MEAN, STD, count, images, made
from torch import Tensor, nn

from semiseg.config import Train
from semiseg.nets import BlockNet, SwiftNet, build
from semiseg.nets.optimiser import optimiser
from semiseg.nets.swiftnet_layers import PyramidPooling

LAYERS = {"conv2x": "layer1", "conv3x": "layer2", "conv4x": "layer3", "conv5x": "layer4"}


def test_it_has_the_published_number_of_parameters() -> None:
    net = build(SwiftNet(), 19, mean=MEAN, std=STD, seed=0)
    encoder = count(torchvision.models.resnet18()) - (512 * 1000 + 1000)
    spp = 2 * 512 + 512 * 128 + 3 * (2 * 128 + 128 * 42) + 2 * 254 + 254 * 128
    decoder = sum(2 * channels + channels * 128 + 2 * 128 + 9 * 128 * 128 for channels in (256, 128, 64))
    head = 2 * 128 + 128 * 19 + 19
    assert count(net) == encoder + spp + decoder + head == 11_797_071
    assert isinstance(net, BlockNet)
    assert list(net.blocks) == ["conv1", *LAYERS, "spp", "up4x", "up3x", "up2x", "head"]
    assert net.backbone == ("conv1", *LAYERS)


class Slow:
    """The network from its weights alone, with torchvision's own ResNet as the encoder."""

    def __init__(self, net: BlockNet) -> None:
        self.training, self.weights = net.training, {name: value.clone() for name, value in net.state_dict().items()}
        self.resnet = torchvision.models.resnet18().to(net.mean.dtype)
        names = {f"blocks.{name}.layer": origin for name, origin in LAYERS.items()} | {"blocks.conv1": ""}
        found: dict[str, Tensor] = {}
        for name, value in self.weights.items():
            for prefix, origin in names.items():
                if name.startswith(f"{prefix}."):
                    found[f"{origin}.{name.removeprefix(f'{prefix}.')}".lstrip(".")] = value
        missing = self.resnet.load_state_dict(found, strict=False)
        assert missing.missing_keys == ["fc.weight", "fc.bias"]
        assert missing.unexpected_keys == []
        self.resnet.train(net.training)

    def norm(self, x: Tensor, name: str) -> Tensor:
        """BatchNorm by hand, then ReLU."""
        weights = {key: self.weights[f"blocks.{name}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")}
        mean, var = weights["running_mean"], weights["running_var"]
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        mean, var, scale, shift = (value.reshape(-1, 1, 1) for value in (mean, var, weights["weight"], weights["bias"]))
        return ((x - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0)

    def conv(self, x: Tensor, name: str, size: int) -> Tensor:
        return F.conv2d(self.norm(x, f"{name}.0"), self.weights[f"blocks.{name}.2.weight"], padding=size // 2)

    def up(self, x: Tensor, like: Tensor | tuple[int, ...]) -> Tensor:
        size = like.shape[2:] if isinstance(like, Tensor) else like
        return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)

    def __call__(self, image: Tensor) -> Tensor:
        r: Any = self.resnet
        x = r.maxpool(r.relu(r.bn1(r.conv1((image - self.weights["mean"]) / self.weights["std"]))))
        features = []
        for layer in (r.layer1, r.layer2, r.layer3, r.layer4):
            x = layer(x)
            features.append(x)
        assert all((one >= 0).all() for one in features)  # skips after the ReLU

        x = self.conv(x, "spp.first", 1)
        levels = [x]
        for i, rows in enumerate((8, 4, 2)):
            columns = max(1, round(rows * x.shape[3] / x.shape[2]))
            levels.append(self.up(self.conv(cells(x, rows, columns), f"spp.levels.{i}", 1), x))
        x = self.conv(torch.cat(levels, 1), "spp.last", 1)
        for i, name in ((2, "up4x"), (1, "up3x"), (0, "up2x")):
            x = self.conv(self.up(x, features[i]) + self.conv(features[i], f"{name}.lateral", 1), f"{name}.blend", 3)
        x = self.norm(x, "head.norm")
        weight, bias = (self.weights[f"blocks.head.head.conv.{name}"] for name in ("weight", "bias"))
        return self.up(torch.einsum("nchw,kc->nkhw", x, weight[:, :, 0, 0]) + bias[:, None, None], image)


def cells(x: Tensor, rows: int, columns: int) -> Tensor:
    """Means over a grid of cells, from floor(i size / cells) to ceil((i + 1) size / cells) along each axis."""
    height, width = x.shape[2:]
    made = [
        x[:, :, i * height // rows : -(-(i + 1) * height // rows), j * width // columns : -(-(j + 1) * width // columns)].mean(
            (2, 3)
        )
        for i in range(rows)
        for j in range(columns)
    ]
    return torch.stack(made, 2).reshape(*x.shape[:2], rows, columns)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(64, 64), (65, 97), (128, 72)])
def test_it_computes_what_its_description_says(size: tuple[int, int], training: bool) -> None:
    net = made("swiftnet").double()
    assert isinstance(net, BlockNet)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in net.parameters():  # no factor of 1 or shift of 0 that hides a mistake
            value.add_(0.05 * torch.randn(value.shape, generator=generator, dtype=torch.float64))
        net(images(*size).double())
        net.train(training)
        slow = Slow(net)
        torch.testing.assert_close(net(images(*size).double()), slow(images(*size).double()))


def test_statistics_of_the_pyramid_move_slowly_and_convolutions_start_from_fan_out() -> None:
    net = made("swiftnet")
    assert isinstance(net, BlockNet)
    momentum = {
        name: {module.momentum for module in block.modules() if isinstance(module, nn.BatchNorm2d)}
        for name, block in net.blocks.items()
    }
    assert momentum == {name: {0.005 if name == "spp" else 0.1} for name in net.blocks}
    blend = net.get_submodule("blocks.up4x.blend.2")
    assert isinstance(blend, nn.Conv2d)
    assert blend.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
    classes = net.get_submodule("blocks.head.head.conv")
    assert isinstance(classes, nn.Conv2d)
    assert classes.bias is not None
    assert classes.weight.std().item() == pytest.approx((2 / CLASSES) ** 0.5, rel=0.1)
    assert not classes.bias.any()


def test_a_pyramid_of_a_wide_image_has_more_columns_than_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    grids = []

    def pool(x: Tensor, grid: tuple[int, int]) -> Tensor:
        grids.append(grid)
        return cells(x, *grid)

    monkeypatch.setattr(F, "adaptive_avg_pool2d", pool)
    PyramidPooling(8)((torch.rand(2, 8, 8, 16),))
    PyramidPooling(8)((torch.rand(2, 8, 24, 2),))
    assert grids == [(8, 16), (4, 8), (2, 4), (8, 1), (4, 1), (2, 1)]


def test_the_encoder_has_a_learning_rate_of_its_own_and_the_decoder_the_full_one() -> None:
    net = made("swiftnet", own=1)
    groups = optimiser(net, Train(learning_rate=4e-4, weight_decay=1e-4, backbone_rate=0.25, backbone_decay=0.25)).param_groups
    encoder = count(torchvision.models.resnet18()) - (512 * 1000 + 1000)
    found = [(sum(p.numel() for p in group["params"]), group["factor"], group["weight_decay"]) for group in groups]
    assert found == [(encoder, 0.25, 2.5e-5), (count(net) - encoder, 1.0, 1e-4)]


def test_the_encoder_starts_from_a_file_with_torchvisions_names(tmp_path: Path) -> None:
    pretrained = torchvision.models.resnet18().state_dict()
    torch.save(pretrained, tmp_path / "resnet18.pth")
    net = build(SwiftNet(weights=str(tmp_path / "resnet18.pth")), CLASSES, mean=MEAN, std=STD, seed=0)
    assert isinstance(net, BlockNet)
    found = Slow(net).resnet.state_dict()
    assert all(value.equal(pretrained[name]) for name, value in found.items() if not name.startswith("fc."))
    fresh = made("swiftnet").state_dict()
    assert all(value.equal(fresh[name]) for name, value in net.state_dict().items() if "up" in name or "head" in name)
