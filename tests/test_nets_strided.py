"""No backward pass corrupts the heap of a CPU for which oneDNN takes its kernels for AVX2 or AVX-512, and gradients are what they should be."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from semiseg.nets.strided import guard_backward

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1", "MALLOC_CHECK_": "3"}
"""Makes torch and oneDNN do what they do on a CPU without AVX-512, and glibc look for damage at every call."""
BARE = """
import sys, torch
from torch import nn
def last(image):
    return image.contiguous(memory_format=torch.channels_last)
def passes(network, channels, times=60):
    network = network.to(memory_format=torch.channels_last)
    for _ in range(times):
        network(last(torch.rand(4, channels, 32, 32))).square().sum().backward()
def conv(channels):
    return nn.Conv2d(channels, 8, 1, stride=2)
"""
GUARDED = f"""{BARE}
from semiseg.nets import OwnNet, UNet, WideResNet, build
def made(net):
    return build(net, 5, mean=(0.5,) * 3, std=(0.2,) * 3, seed=0)
"""
OWN = """
import torch
import torch.nn.functional as F
from torch import nn

class Functional(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, classes, 1)
    def forward(self, x):
        return F.conv2d(self.first(x), self.second.weight, self.second.bias, stride=2)

def layers(classes):
    return nn.Sequential(nn.Conv2d(3, 4, 1, stride=(2, 1)), nn.Conv2d(4, classes, 1, stride=2))

def functional(classes):
    return Functional(classes)

def scripted(classes):
    return torch.jit.script(functional(classes))
"""
RUNS = {
    "a bare convolution of any width": "made(WideResNet(width=4, depth=1))\nfor channels in range(1, 10): passes(conv(channels), channels)",
    "a wide residual network": "passes(made(WideResNet(width=4, depth=1)), 3)",
    "layers of one's own": "passes(made(OwnNet(name=sys.argv[1] + ':layers')), 3)",
    "a function in a network of one's own": "passes(made(OwnNet(name=sys.argv[1] + ':functional')), 3)",
    "scripted code": "passes(made(OwnNet(name=sys.argv[1] + ':scripted')), 3)",
}


def ran(code: str, *words: str, isa: Mapping[str, str] = AVX2) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"{code}\nprint('fine')", *words],
        env=os.environ | isa,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_training_survives_where_onednn_takes_its_avx2_kernels(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    code = "\n".join(f"{run}\nprint({name!r}, flush=True)" for name, run in RUNS.items())
    found = ran(f"{GUARDED}\n{code}", str(tmp_path / "own.py"))
    assert (found.returncode, found.stdout.splitlines()) == (0, [*RUNS, "fine"]), found.stderr


def test_the_bare_pass_is_what_corrupts_the_heap() -> None:
    """So the tests above can fail. Where this torch does not crash any more, the guard may leave."""
    assert ran(f"{BARE}\npasses(conv(8), 8)").stdout == "fine\n"
    found = ran(f"{BARE}\nfor channels in (4, 2, 3, 5, 6, 7): passes(conv(channels), channels)")
    if found.returncode == 0:
        pytest.skip(f"torch {torch.__version__} does not corrupt the heap on this machine")
    assert found.returncode < 0, found.stderr  # a signal, not an exception


def test_training_survives_on_larger_images_whatever_kernels_this_machine_has() -> None:
    """With AVX-512 the fault has up to 15 channels, and shows from 64 x 64 pixels on."""
    larger = "def passes(network, channels):\n    images = last(torch.rand(8, channels, 128, 128))\n"
    larger += "    for _ in range(5): network.to(memory_format=torch.channels_last)(images).square().sum().backward()\n"
    code = "passes(made(WideResNet(depth=1)), 3)\nfor channels in (7, 8, 9, 12, 15): passes(conv(channels), channels)"
    found = ran(f"{GUARDED}\n{larger}{code}", isa={"OMP_NUM_THREADS": "1", "MALLOC_CHECK_": "3"})
    assert (found.returncode, found.stdout) == (0, "fine\n"), found.stderr


@pytest.mark.parametrize("stride", [2, 3, (2, 1), (1, 2)])
@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (3, 1), (4, 1), (7, 1), (8, 1), (15, 1), (16, 1), (8, 2)])
@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_gradients_are_those_of_a_matrix_product_on_every_sth_pixel(
    stride: int | tuple[int, int], channels: int, groups: int, memory: torch.memory_format
) -> None:
    guard_backward()
    down, right = (stride, stride) if isinstance(stride, int) else stride
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, channels, 12, 17, generator=generator).contiguous(memory_format=memory).requires_grad_()
    conv = nn.Conv2d(channels, 8, 1, stride=stride, groups=groups).to(memory_format=memory)  # pyright: ignore[reportCallIssue]
    found = conv(image)
    expected = product(image[:, :, ::down, ::right], conv, groups)
    torch.testing.assert_close(found, expected)
    values = [image, *conv.parameters()]
    factor = torch.rand(found.shape, generator=generator)
    ours = torch.autograd.grad((found * factor).sum(), values)
    for one, other in zip(ours, torch.autograd.grad((expected * factor).sum(), values), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert ours[0].is_contiguous(memory_format=memory)


def product(image: Tensor, conv: nn.Conv2d, groups: int) -> Tensor:
    """The 1x1 convolution of stride 1 by einsum, group by group."""
    weights = conv.weight.flatten(1).chunk(groups)
    parts = [torch.einsum("nchw,kc->nkhw", part, weight) for part, weight in zip(image.chunk(groups, 1), weights, strict=True)]
    assert conv.bias is not None
    return torch.cat(parts, 1) + conv.bias[:, None, None]


@pytest.mark.parametrize("frozen", ["image", "weights"])
def test_what_needs_no_gradient_gets_none(frozen: str) -> None:
    guard_backward()
    conv, image = nn.Conv2d(4, 8, 1, stride=2, bias=False), torch.rand(2, 4, 8, 8)
    image.requires_grad_(frozen != "image")
    conv.requires_grad_(frozen != "weights")
    conv(image).sum().backward()
    assert (image.grad is None) == (frozen == "image")
    assert (conv.weight.grad is None) == (frozen == "weights")


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv3d, nn.ConvTranspose2d])
def test_other_convolutions_have_the_gradients_that_finite_differences_say(kind: type[nn.Module]) -> None:
    guard_backward()
    axes = {nn.Conv1d: 1, nn.Conv3d: 3}.get(kind, 2)
    conv = kind(2, 3, 1, stride=2).double()
    image = torch.rand(1, 2, *[5] * axes, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(conv, (image,))
    weight = conv.get_parameter("weight")
    assert torch.autograd.gradcheck(lambda w: torch.func.functional_call(conv, {"weight": w}, (image,)), (weight,))
