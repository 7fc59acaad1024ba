"""DeepLabv2 computes what its paper and torchvision's ResNet-101 compute, with the published codes' departures as settings."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from test_nets import MEAN, STD, count, images, touched
from torch import Tensor, nn
from torchvision.models import ResNet, ResNet101_Weights, WeightsEnum
from torchvision.models.resnet import Bottleneck, resnet101

from semiseg.config import Train
from semiseg.nets import BlockNet, DeepLabV2, MultiTask, build
from semiseg.nets.blocks import Frozen
from semiseg.nets.deeplabv2_layers import Aspp
from semiseg.nets.optimiser import optimiser
from semiseg.nets.resnet import ENCODER, torchvision_names
from semiseg.nets.weights import load_weights

CLASSES = 3
PLAIN = DeepLabV2()
PUBLISHED = DeepLabV2(aux_width="half", aux_init="normal", aux_dummy=True, frozen_norm=True, caffe_stride=True)


def made(net: DeepLabV2, own: int = 0, classes: int = CLASSES) -> BlockNet | MultiTask:
    return build(net, classes, mean=MEAN, std=STD, seed=0, own=own)


def shapes(net: DeepLabV2, classes: int = CLASSES) -> nn.ModuleDict:
    """The blocks without values, which costs no time."""
    with torch.device("meta"):
        return nn.ModuleDict(net.blocks(classes))


def untouched(_: dict[str, nn.Module]) -> None:
    """No weights from a file."""


def spread(module: nn.Module) -> None:
    """BatchNorm statistics and factors as after some training, so that leaving one out shows."""
    generator = torch.Generator().manual_seed(2)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for values, low in ((norm.running_mean, -0.1), (norm.running_var, 0.9), (norm.weight, 0.5), (norm.bias, -0.1)):
                assert values is not None
                values.data.uniform_(low, low + 0.2, generator=generator)


@pytest.fixture(scope="module")
def plain() -> BlockNet:
    net = made(PLAIN)
    assert isinstance(net, BlockNet)
    spread(net)
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def published() -> MultiTask:
    net = made(PUBLISHED, own=2)
    assert isinstance(net, MultiTask)
    return net


@pytest.mark.parametrize(("own", "millions"), [(0, 44.05), (2, 49.26), (1, 45.67)])
def test_the_published_variant_has_the_published_number_of_parameters(own: int, millions: float) -> None:
    """methods.md 1.4: f alone, with the branch of stage 2, with that of stage 3, at 21 classes."""
    with torch.device("meta"):
        parts = {
            **PUBLISHED.blocks(21),
            **{f"own {name}": block for name, block in PUBLISHED.branch(21, own, untouched).items() if own},
        }
    assert round(count(nn.ModuleDict(parts)) / 1e6, 2) == millions


def test_the_encoder_is_resnet_101_without_its_linear_layer() -> None:
    linear = 2048 * 1000 + 1000
    encoder = nn.ModuleDict({name: block for name, block in shapes(PLAIN).items() if name in ENCODER})
    assert count(encoder) + linear == ResNet101_Weights.IMAGENET1K_V1.meta["num_params"]


@pytest.mark.parametrize("caffe", [False, True])
def test_every_convolution_has_the_stride_and_dilation_of_its_place(caffe: bool) -> None:
    blocks = shapes(DeepLabV2(caffe_stride=caffe))
    dilations = {"conv4x": 2, "conv5x": 4}
    halving = {"conv1.conv1", "conv3x.layer.0.downsample.0", "conv3x.layer.0.conv1" if caffe else "conv3x.layer.0.conv2"}
    checked = 0
    for name, conv in blocks.named_modules():
        block = name.partition(".")[0]
        if isinstance(conv, nn.Conv2d) and block != "aspp":
            size = conv.kernel_size[0]
            dilation = dilations.get(block, 1) if size == 3 else 1
            assert conv.stride == ((2, 2) if name in halving else (1, 1)), name
            assert conv.dilation == (dilation, dilation), name
            assert conv.padding == (dilation * (size // 2),) * 2, name
            checked += 1
    assert checked == 1 + 33 * 3 + 4
    aspp = [conv for conv in blocks["aspp"].modules() if isinstance(conv, nn.Conv2d)]
    assert [(conv.dilation, conv.padding, conv.stride) for conv in aspp] == [((d, d), (d, d), (1, 1)) for d in (6, 12, 18, 24)]


def torchvisions(net: BlockNet) -> ResNet:
    """torchvision's own dilated ResNet-101 with the weights of `net`; it leaves the first block of a layer the previous
    dilation."""
    reference = resnet101(replace_stride_with_dilation=[False, True, True]).eval()
    for layer, dilation in ((reference.layer3, 2), (reference.layer4, 4)):
        first = layer[0]
        assert isinstance(first, Bottleneck)
        assert first.conv2.dilation == (dilation // 2, dilation // 2)
        first.conv2.dilation = first.conv2.padding = (dilation, dilation)
    own, names = net.blocks.state_dict(), torchvision_names(dict(net.blocks))
    missing, unexpected = reference.load_state_dict({names[name]: own[name] for name in names}, strict=False)
    assert (missing, unexpected) == (["fc.weight", "fc.bias"], [])
    return reference


def test_the_features_are_torchvisions_bit_for_bit(plain: BlockNet) -> None:
    reference = torchvisions(plain)
    x = (images(65, 97) - plain.mean) / plain.std
    x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(x))))
    for blocks, layer in enumerate(
        [nn.Identity(), reference.layer1, reference.layer2, reference.layer3, reference.layer4], start=1
    ):
        x = layer(x)
        (features,) = plain.first(images(65, 97), blocks)
        assert features.equal(x)
    assert x.shape == (2, 2048, 9, 13)


@pytest.mark.parametrize("branches", [4, 2])
def test_the_logits_are_the_resized_sum_of_the_dilated_convolutions(plain: BlockNet, branches: int) -> None:
    """With 2 branches only dilations 6 and 12 are summed."""
    net = BlockNet({**plain.blocks, "aspp": aspp_of(branches)}, MEAN, STD).eval()
    state = net.blocks["aspp"].state_dict()
    (features,) = net.first(images(65, 97), 5)
    terms = [
        F.conv2d(features, state[f"convs.{i}.weight"], state[f"convs.{i}.bias"], padding=d, dilation=d)
        for i, d in enumerate((6, 12, 18, 24)[:branches])
    ]
    assert len(state) == 2 * branches
    logits = net(images(65, 97))
    torch.testing.assert_close(logits, F.interpolate(sum_of(terms), size=(65, 97), mode="bilinear", align_corners=True))
    torch.testing.assert_close(logits[:, :, ::64, ::96], sum_of(terms)[:, :, ::8, ::12])  # corners meet corners


def aspp_of(branches: int) -> nn.Module:
    torch.manual_seed(5)
    aspp = Aspp(2048, CLASSES, branches)
    for name, bias in aspp.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(bias)
    return aspp


def sum_of(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).sum(0)


@pytest.mark.parametrize(("size", "torch_size", "caffe_size"), [((65, 97), (9, 13), (9, 13)), ((64, 96), (8, 12), (9, 13))])
def test_both_stride_placements_have_output_stride_8(
    plain: BlockNet, published: MultiTask, size: tuple[int, int], torch_size: tuple[int, int], caffe_size: tuple[int, int]
) -> None:
    """Caffe's max-pooling rounds up: 64 -> 32 -> 17 -> 9."""
    for net, expected in ((plain, torch_size), (published.segmentation, caffe_size)):
        with torch.no_grad():
            (logits,) = net.first(images(*size, count=1), 6)
            assert logits.shape == (1, CLASSES, *expected)
            assert net(images(*size, count=1)).shape == (1, CLASSES, *size)


@pytest.mark.parametrize("size", [(9, 8), (33, 47), (50, 31)])
def test_odd_sizes_give_logits_of_the_images_size(plain: BlockNet, size: tuple[int, int]) -> None:
    (features,) = plain.first(images(*size), 5)
    assert features.shape[-2:] == tuple(-(-side // 8) for side in size)
    logits = plain(images(*size))
    assert logits.shape == (2, CLASSES, *size)
    assert logits.isfinite().all()


def test_caffe_strides_in_the_first_convolution_of_a_bottleneck() -> None:
    torch.manual_seed(0)
    blocks = DeepLabV2(caffe_stride=True).blocks(CLASSES)
    spread(nn.ModuleDict(blocks).eval())
    (x,) = blocks["conv2x"](blocks["conv1"]((images(65, 97),)))
    w = {name.removeprefix("layer.0."): value for name, value in blocks["conv3x"].state_dict().items() if ".0." in name}

    def norm(y: Tensor, name: str) -> Tensor:
        return F.batch_norm(y, w[f"{name}.running_mean"], w[f"{name}.running_var"], w[f"{name}.weight"], w[f"{name}.bias"])

    y = norm(F.conv2d(x, w["conv1.weight"], stride=2), "bn1").relu()
    y = norm(F.conv2d(y, w["conv2.weight"], padding=1), "bn2").relu()
    y = norm(F.conv2d(y, w["conv3.weight"]), "bn3")
    expected = (y + norm(F.conv2d(x, w["downsample.0.weight"], stride=2), "downsample.1")).relu()
    first = blocks["conv3x"].get_submodule("layer.0")
    torch.testing.assert_close(first(x), expected)


def test_an_aspp_starts_from_small_normal_weights_and_no_bias(plain: BlockNet) -> None:
    for name, value in plain.blocks["aspp"].named_parameters():
        if name.endswith("bias"):
            assert value.count_nonzero() == 0
        else:
            assert 0.0095 < value.std() < 0.0105
            assert value.mean().abs() < 0.001


def test_the_published_branch_owns_half_a_conv5x_of_small_weights_behind_identities(published: MultiTask) -> None:
    assert list(published.auxiliary) == ["conv5x", "aspp"]
    assert published.shared == 4
    for name, module in published.auxiliary.named_modules():
        if isinstance(module, nn.Conv2d):
            assert 0.009 < module.weight.std() < 0.011, name
        if isinstance(module, nn.BatchNorm2d):
            assert isinstance(module, Frozen)
            x = torch.randn(2, module.num_features, 3, 3)
            torch.testing.assert_close(module(x), x, rtol=1e-5, atol=1e-5)  # the square root of 1 + eps is left
    f, g = published.both(images(33, 41))
    assert f.shape == (2, CLASSES, 33, 41)
    assert g.shape == (2, CLASSES + 1, 33, 41)  # a dummy class
    state = published.segmentation.first(images(33, 41), 4)
    assert published.segmentation.blocks["conv5x"](state)[0].shape[1] == 2048
    assert published.auxiliary["conv5x"](state)[0].shape[1] == 1024


def test_gradients_reach_every_trained_parameter_of_the_published_network(published: MultiTask) -> None:
    published.train().both(images(33, 33))[0].square().sum().backward()
    g_alone = {name for name, _ in published.auxiliary.named_parameters(prefix="auxiliary")}
    trained = {name for name, value in published.named_parameters() if value.requires_grad}
    assert touched(published) == trained - g_alone
    published.zero_grad()
    published.both(images(33, 33))[1].square().sum().backward()
    f_alone = tuple(f"segmentation.blocks.{name}." for name in ("conv5x", "aspp"))
    assert touched(published) == {name for name in trained if not name.startswith(f_alone)}
    published.zero_grad()


def test_head_and_branch_learn_at_the_rate_and_the_backbone_at_a_share_of_it(published: MultiTask) -> None:
    groups = optimiser(published, Train(learning_rate=3e-5, backbone_rate=0.1, weight_decay=1e-4, backbone_decay=0.5)).param_groups
    factor = {id(value): (group["factor"], group["weight_decay"]) for group in groups for value in group["params"]}
    for name, value in published.named_parameters():
        backbone = name.startswith(tuple(f"segmentation.blocks.{block}." for block in ENCODER))
        frozen = ".bn" in name or ".downsample.1." in name
        assert factor.get(id(value)) == (None if frozen else (0.1, 5e-5) if backbone else (1.0, 1e-4)), name
    assert len(groups) == 2


@pytest.mark.parametrize(("own", "width", "channels"), [(1, "half", 2048), (2, "half", 1024), (2, "full", 2048), (3, "half", 2048)])
def test_half_width_is_for_a_conv5x_that_comes_first(own: int, width: str, channels: int) -> None:
    with torch.device("meta"):
        blocks = DeepLabV2(aux_width=width).branch(CLASSES, own, untouched)  # pyright: ignore[reportArgumentType]
    assert list(blocks) == [*ENCODER, "aspp"][-own:]
    weight = blocks["aspp"].state_dict()["convs.0.weight"]
    assert weight.shape == (CLASSES, channels, 3, 3)
    for block, dilation in (("conv4x", 2), ("conv5x", 4)):
        layers = blocks[block].modules() if block in blocks else []
        sizes = {(conv.kernel_size[0], conv.stride[0], conv.dilation[0]) for conv in layers if isinstance(conv, nn.Conv2d)}
        assert sizes in (set(), {(1, 1, 1), (3, 1, dilation)})


def test_a_branch_starts_like_f_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half conv5x has no pretrained weights; "normal" does without them; an ASPP is never part of them."""
    resnet = resnet101()
    spread(resnet)
    pretrained = resnet.state_dict()
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: pretrained)
    f = PLAIN.blocks(CLASSES)
    theirs = pretrained["layer4.1.conv2.weight"]
    for settings, std in (({}, None), ({"aux_width": "half"}, (2 / (256 * 9)) ** 0.5), ({"aux_init": "normal"}, 0.01)):
        net = DeepLabV2(weights="imagenet", **settings)  # pyright: ignore[reportArgumentType]
        own = net.branch(CLASSES, 2, partial(load_weights, net=net))
        weight = own["conv5x"].state_dict()["layer.1.conv2.weight"]
        assert (std is None) == (weight.shape == theirs.shape and weight.equal(theirs))
        assert std is None or weight.std().item() == pytest.approx(std, rel=0.01)
        mean = own["conv5x"].state_dict()["layer.1.bn2.running_mean"]
        assert mean.count_nonzero() == 0 if std else mean.equal(pretrained["layer4.1.bn2.running_mean"])
        assert not own["aspp"].state_dict()["convs.0.weight"].equal(f["aspp"].state_dict()["convs.0.weight"])
