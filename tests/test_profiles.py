"""What the profiles of analysis/ say: bytes kept for a backward pass, ratios of networks within a block, and who is refused."""

import statistics
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import nn

import profile_networks
from profile_networks import COMPARED, Arguments, Found, table
from profile_steps import kept_bytes, profile
from semiseg.augment import PhTPS
from semiseg.methods import Method, OneWay, Supervised


def test_kept_are_the_bytes_of_what_the_gradient_needs_each_storage_once() -> None:
    layer, image = nn.Linear(5, 7), torch.rand(3, 5)
    with kept_bytes(layer.state_dict().values()) as count:
        made = layer(image)  # needs its input
        assert count() == 3 * 5 * 4
        twice = made.exp() * made.exp()  # needs both results of exp, which exp keeps as well
        assert count() == 3 * 5 * 4 + 2 * 3 * 7 * 4
        twice.sum().backward()
        del made, twice
        assert count() == 0
        with torch.no_grad():
            layer(image).exp()
        assert count() == 0


def kept(method: Method, tmp_path: Path) -> float:
    (stage,) = tiny.chain(method)
    found = profile(stage, tiny.place(tmp_path), 1)
    assert found.images == 4
    assert (found.networks <= found.whole).all()
    return found.kept


def test_one_way_consistency_keeps_what_supervised_training_keeps_and_two_way_keeps_half_as_much_again(tmp_path: Path) -> None:
    """Of as many images: 4 labelled ones, 2 and 2 perturbed ones, or these and 2 clean ones that learn as well (grubisic2021)."""
    still = PhTPS(tps_sd=0.0)
    rows: dict[str, Any] = {"1w-ps simple": ("1w-ps", "simple"), "1w-ps MT": ("1w-ps", "mean"), "2w-p1 simple": ("2w-p1", "simple")}
    base = kept(Supervised(), tmp_path)
    ratio = {
        name: kept(OneWay(direction=direction, teacher=teacher, perturbation=still), tmp_path) / base
        for name, (direction, teacher) in rows.items()
    }
    assert ratio == pytest.approx({"1w-ps simple": 1.0, "1w-ps MT": 1.0, "2w-p1 simple": 1.5}, rel=0.1)


def test_ratios_are_of_the_same_block_with_their_spread() -> None:
    def block(factor: float) -> Found:
        return dict.fromkeys(COMPARED, factor)

    lines = table({"a": [block(1.0), block(2.0)], "b": [block(5.0), block(12.0)]})
    ratio = [5.0, 6.0]
    assert lines[-1].startswith("| b / a | 5.50 | ")
    assert lines[-1].count(f"{statistics.mean(ratio):.2f} ± {statistics.stdev(ratio):.2f}") == len(COMPARED) - 1
    assert len(lines) == 2 + 2 + 1
    nothing = table({"a": [block(1.0) | {"memory": 0.0}, block(1.0)], "b": [block(2.0), block(2.0)]})[-1]
    assert nothing.split(" | ")[1:] == ["2.00", "2.00 ± 0.00", "2.00 ± 0.00", "-", "2.00 ± 0.00 |"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compare": ("swiftnet",)}, "compare: got ('swiftnet',); allowed: two or more different networks"),
        ({"compare": ("unet", "unet")}, "compare: got ('unet', 'unet'); allowed: two or more different networks"),
        (
            {"compare": ("unet", "swiftnet"), "blocks": 1},
            "blocks: got 1; allowed: a whole number >= 2, as there is a spread to show",
        ),
        ({"compare": ("unet", "swiftnet"), "crop": (8, 64)}, "crop: got (8, 64); allowed: height and width of at least 32 pixels"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert profile_networks.main(Arguments(**changes)) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
