"""PhTPS: colours against colorsys, the spline against SciPy, the warp's published strength, its inverse, and what moves along."""

import colorsys
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from perturbation_tools import phtps
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import map_coordinates
from scipy.stats import kstest
from test_augment_weak import seeded
from torch import Tensor

from semiseg.augment import PhTPS
from semiseg.augment.phtps import photometric
from semiseg.augment.tps import CONTROLS, OUTSIDE, Spline, fit, frame, invert, random_spline, spline_at, warp, warp_valid
from semiseg.config import SettingError

CPU = torch.device("cpu")
STILL = PhTPS(value_shift=0, saturation=(1, 1), hue=0, value_scale=(1, 1), permute=False, tps_sd=0)


def noise(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, height, width, generator=seeded(seed))


def waves(grid: Tensor) -> Tensor:
    """A smooth image (N,1,H,W) at the positions (N,H,W,2)."""
    return (2 + (4 * grid[..., 0] + 1).sin() + (3 * grid[..., 1] - 2 * grid[..., 0]).cos())[:, None]


def splines(grid: str, count: int, sd: float = 0.1, seed: int = 0) -> Spline:
    return random_spline(torch.rand((count, 8), generator=seeded(seed)), grid, sd)


def test_colours_are_those_of_colorsys() -> None:
    image = noise(3, 9, 11)
    special = [(0, 0, 0), (1, 1, 1), (0.4, 0.4, 0.4), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0.5, 0.5, 0.1)]
    image[:, :, :, 0] = torch.tensor(special).T
    uniform = torch.tensor([[0.1, 0.9, 0.02, 0.3], [0.95, 0.05, 0.97, 1.0], [0.0, 1.0, 0.5, 0.75]])
    changed = photometric(image, uniform, torch.tensor([2, 0, 1]), PhTPS())
    expected = torch.empty_like(image)
    for i, (shift, saturation, turn, scale) in enumerate(uniform.tolist()):
        for y in range(9):
            for x in range(11):
                h, s, v = colorsys.rgb_to_hsv(*image[i, :, y, x].tolist())
                v = (v - 0.25 + 0.5 * shift) * (0.25 + 1.75 * scale)
                r, g, b = colorsys.hsv_to_rgb((h - 0.1 + 0.2 * turn) % 1, s * (0.25 + 1.75 * saturation), v)
                expected[i, :, y, x] = torch.tensor([b, r, g])
    torch.testing.assert_close(changed, expected, atol=3e-6, rtol=0)
    assert ((changed < -0.1) | (changed > 1.5)).any((2, 3)).any()


def test_values_are_shifted_before_they_are_scaled_and_never_clamped() -> None:
    grey = torch.full((2, 3, 1, 1), 0.6)
    uniform = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 1]])  # the ends of the ranges: shift 0.7 and -0.7, scale 2
    changed = photometric(grey, uniform, torch.arange(3), PhTPS(value_shift=0.7))
    torch.testing.assert_close(changed.flatten(1), torch.tensor([[2.6] * 3, [-0.2] * 3]))


def test_neutral_settings_change_nothing() -> None:
    image = noise(2, 7, 12)
    after = phtps(image, STILL, seeded())
    torch.testing.assert_close(after.image, image, atol=2e-6, rtol=0)
    assert (after.grid == frame((7, 12), CPU)).all()
    assert after.valid.all()


def test_each_image_has_its_draw_and_the_batch_one_order_of_channels() -> None:
    image, generator = torch.tensor([0.2, 0.5, 0.8]).view(1, 3, 1, 1).expand(5, 3, 2, 2), seeded()
    seen = torch.stack([phtps(image, replace(STILL, permute=True), generator).image for _ in range(300)])
    torch.testing.assert_close(seen, seen[:, :1, :, :1, :1].expand_as(seen))
    _, counts = seen[:, 0, :, 0, 0].mul(10).round().unique(dim=0, return_counts=True)
    assert len(counts) == 6
    assert ((counts - 50) ** 2 / 50).sum() < 20.5  # chi-square with 5 degrees of freedom at 0.999
    assert len(phtps(image, replace(PhTPS(), tps_sd=0), seeded()).image[:, :, 0, 0].unique(dim=0)) == 5


def test_drawn_values_are_uniform_in_their_range() -> None:
    grey = torch.full((2000, 3, 1, 1), 0.5)
    shifted = phtps(grey, replace(STILL, value_shift=0.25), seeded()).image[:, 0, 0, 0]
    assert kstest(shifted.numpy(), "uniform", (0.25, 0.5)).pvalue > 0.001
    scaled = phtps(grey, replace(STILL, value_scale=(0.25, 2)), seeded()).image[:, 0, 0, 0]
    assert kstest(scaled.numpy(), "uniform", (0.125, 0.875)).pvalue > 0.001


@pytest.mark.parametrize("points", [3, 4, 9])
def test_spline_is_scipys_thin_plate_spline(points: int) -> None:
    rng = np.random.default_rng(points)
    controls, targets = rng.uniform(-1, 1, (5, points, 2)), rng.uniform(-1, 1, (5, points, 2))
    spline = fit(torch.from_numpy(controls), torch.from_numpy(targets - controls))
    at = frame((13, 8), CPU) * 1.5
    moved = spline_at(spline, at)
    for i in range(5):
        truth = RBFInterpolator(controls[i], targets[i], kernel="thin_plate_spline", degree=1)(at.view(-1, 2).double().numpy())
        np.testing.assert_allclose(moved[i].view(-1, 2), truth, atol=2e-5 * max(1, np.abs(truth).max()))
    torch.testing.assert_close(
        spline_at(spline, spline.controls[:, None])[:, 0], torch.from_numpy(targets).float(), atol=2e-5, rtol=0
    )


def test_affine_displacements_give_an_affine_map() -> None:
    controls = torch.tensor([[[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.6, 0.7]]])
    matrix, shift = torch.tensor([[0.8, 0.3], [-0.2, 1.1]]), torch.tensor([0.1, -0.4])
    spline = fit(controls, controls @ matrix + shift - controls)
    at = frame((6, 5), CPU)
    torch.testing.assert_close(spline_at(spline, at), at @ matrix + shift, atol=1e-6, rtol=0)
    torch.testing.assert_close(invert(spline, at), (at - shift) @ matrix.inverse(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("grid", CONTROLS)
def test_control_points_move_by_normal_draws(grid: str) -> None:
    spline = splines(grid, 500, sd=0.2)
    low, high = CONTROLS[grid]
    lattice = 2 * torch.tensor([(low, low), (high, low), (low, high), (high, high)]) - 1  # (x, y)
    moved = (spline.controls - lattice) / 2
    assert kstest(moved.flatten().numpy(), "norm", (0, 0.2)).pvalue > 0.001
    assert moved.flatten(1).T.corrcoef().fill_diagonal_(0).abs().max() < 0.2
    back = spline_at(spline, spline.controls[:, None])[:, 0]
    torch.testing.assert_close(back, lattice.expand_as(back), atol=1e-3, rtol=0)


def test_content_goes_from_the_control_point_to_the_displaced_one() -> None:
    for seed in range(5):
        spline = splines("quarter", 1, 0.05, seed)
        at = frame((101, 101), CPU)
        blob = (-200 * (at - torch.tensor([0.5, -0.5])).square().sum(3)).exp()[:, None]  # on the upper right control point
        moved = warp(blob, spline_at(spline, at))
        peak = at.view(-1, 2)[moved.argmax()]
        assert (peak - spline.controls[0, 1]).abs().max() < 0.03


@pytest.mark.parametrize(
    ("grid", "mean", "valid", "corners"),
    [("as_coded", 0.234, 0.73, (0.41, 0.08)), ("quarter", 0.137, 0.79, None), ("corners", 0.087, 0.85, None)],
)
def test_warp_is_as_strong_as_the_authors_code(grid: str, mean: float, valid: float, corners: tuple[float, float] | None) -> None:
    """Mean displacement in image sides, valid share, displacement top left and bottom right: measured there (methods.md 1.3)."""
    still = frame((65, 65), CPU)
    moved = spline_at(splines(grid, 1000), still)
    distance = (moved - still).norm(dim=3) / 2
    assert distance.mean() == pytest.approx(mean, abs=0.008)
    assert warp_valid(torch.ones(1000, 65, 65) > 0, moved).float().mean() == pytest.approx(valid, abs=0.015)
    if corners:
        assert distance[:, 0, 0].mean() == pytest.approx(corners[0], abs=0.02)
        assert distance[:, -1, -1].mean() == pytest.approx(corners[1], abs=0.01)


@pytest.mark.parametrize("grid", CONTROLS)
def test_inverse_leads_back(grid: str) -> None:
    spline, still = splines(grid, 200), frame((33, 41), CPU)
    back = invert(spline, still)
    answered = back[..., 0] != OUTSIDE
    assert answered.float().mean() > 0.995
    assert (spline_at(spline, back) - still).norm(dim=3)[answered].max() < 2e-4
    there = spline_at(spline, still)
    right, down = there[:, :-1, 1:] - there[:, :-1, :-1], there[:, 1:, :-1] - there[:, :-1, :-1]
    area = (right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]) * (40 * 32 / 4)
    smooth = area.amin((1, 2), keepdim=True) > 0.2  # draws that are far from folding over
    assert smooth.float().mean() > 0.95
    wrong = (invert(spline, there) - still).norm(dim=3) > 2e-4
    assert wrong[smooth & (there.abs() <= 1).all(3)].float().mean() < 1e-4


def test_warping_there_and_back_restores_a_smooth_image() -> None:
    spline, still = splines("as_coded", 20), frame((97, 129), CPU)
    image = waves(still).expand(20, -1, -1, -1)
    there, back = spline_at(spline, still), invert(spline, still)
    valid = warp_valid(warp_valid(torch.ones(20, 97, 129) > 0, there), back)
    assert 0.3 < valid.float().mean() < 0.9
    error = (warp(warp(image, there), back) - image)[:, 0].abs()[valid]
    assert error.max() < 0.05
    assert error.mean() < 0.003


def test_two_perturbed_views_meet_in_one_sampling() -> None:
    size = (80, 96)
    image = waves(frame(size, CPU)).expand(16, 3, -1, -1)
    teacher, student = (phtps(image, replace(STILL, tps_sd=0.1), seeded(seed)) for seed in (0, 1))
    across = invert(teacher.spline, student.grid)
    valid = student.valid & warp_valid(teacher.valid, across)
    seen = warp(warp(image, teacher.grid), across)  # a network that repeats its input
    assert 0.2 < valid.float().mean() < 0.9
    error = (seen - warp(image, student.grid)).abs().amax(1)[valid]
    assert error.max() < 0.1
    assert error.mean() < 0.005
    assert (seen - image).abs().amax(1)[valid].mean() > 0.2  # without the second warp they do not agree


def test_warp_reads_bilinearly_and_zero_outside() -> None:
    tensor = torch.randn(2, 3, 7, 9, generator=seeded())
    grid = 2.6 * torch.rand(2, 6, 5, 2, generator=seeded(1)) - 1.3
    grid[0, 0, 0] = torch.tensor([-1.0, 1.0])
    grid[0, 0, 1] = OUTSIDE
    read = warp(tensor, grid)
    assert read.shape == (2, 3, 6, 5)
    assert torch.equal(read[0, :, 0, 0], tensor[0, :, 6, 0])
    assert (read[0, :, 0, 1] == 0).all()
    for i in range(2):
        at = np.stack([(grid[i, ..., 1].double() + 1) / 2 * 6, (grid[i, ..., 0].double() + 1) / 2 * 8])
        for channel in range(3):
            truth = map_coordinates(tensor[i, channel].double().numpy(), at, order=1, mode="grid-constant")
            np.testing.assert_allclose(read[i, channel], truth, atol=1e-5)


def test_valid_pixels_read_valid_pixels_only() -> None:
    valid = torch.rand(3, 8, 6, generator=seeded()) < 0.8
    grid = 2.4 * torch.rand(3, 40, 40, 2, generator=seeded(1)) - 1.2
    expected = torch.zeros(3, 40, 40, dtype=torch.bool)
    for index in np.ndindex(3, 40, 40):
        x, y = (grid[index] + 1) / 2 * torch.tensor([5, 7])
        rows, columns = {math.floor(y), math.ceil(y)}, {math.floor(x), math.ceil(x)}
        expected[index] = all(0 <= r < 8 and 0 <= c < 6 and valid[index[0], r, c] for r in rows for c in columns)
    assert torch.equal(warp_valid(valid, grid), expected)
    assert 0.1 < expected.float().mean() < 0.6


def test_colours_change_first_and_all_moves_with_one_grid() -> None:
    image = noise(12, 24, 30)
    after = phtps(image, PhTPS(permute=False), seeded())
    outside = (after.grid.abs() > 1 + 2 / 23).any(3)  # more than a pixel
    assert outside.any()
    assert (after.image.permute(0, 2, 3, 1)[outside] == 0).all()  # a shifted value would show here
    assert torch.equal(after.valid, (after.grid.abs() <= 1).all(3))
    still = phtps(image, PhTPS(permute=False, tps_sd=0), seeded())
    torch.testing.assert_close(after.image, warp(still.image, after.grid), atol=1e-5, rtol=0)


def test_warp_passes_gradients_to_what_it_reads() -> None:
    logits = torch.randn(2, 4, 6, 6, generator=seeded(), requires_grad=True)
    after = phtps(noise(2, 12, 12), PhTPS(), seeded())
    (gradient,) = torch.autograd.grad(warp(logits, after.grid).sum(), logits)
    torch.testing.assert_close(gradient.sum((1, 2, 3)) / 4, warp(torch.ones(2, 1, 6, 6), after.grid).sum((1, 2, 3)))


def test_the_seed_decides_and_images_do_not_depend_on_each_other() -> None:
    image = noise(9, 16, 16)
    one, same, other = (phtps(image, PhTPS(), seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(one.image, same.image)
    assert torch.equal(one.grid, same.grid)
    assert not torch.equal(one.image, other.image)
    fewer = phtps(image[:2], PhTPS(), seeded())
    torch.testing.assert_close(fewer.image, one.image[:2], atol=1e-6, rtol=0)
    torch.testing.assert_close(fewer.grid, one.grid[:2], atol=1e-6, rtol=0)


def test_settings_do_not_change_how_many_numbers_are_drawn() -> None:
    one, other = seeded(), seeded()
    phtps(noise(3, 8, 8), PhTPS(), one)
    phtps(noise(3, 9, 5, 1), STILL, other)
    assert torch.equal(one.get_state(), other.get_state())


def test_autocast_around_it_changes_nothing_and_the_image_is_not_written_to() -> None:
    image = noise(4, 20, 20)
    before, logits = image.clone(), torch.randn(4, 5, 20, 20, generator=seeded())
    one = phtps(image, PhTPS(), seeded())
    with torch.autocast("cpu", torch.bfloat16):
        same = phtps(image, PhTPS(), seeded())
        moved, back = warp(logits, same.grid), invert(same.spline, same.grid)
    assert torch.equal(image, before)
    assert all(torch.equal(left, right) for left, right in zip(one[:3], same[:3], strict=True))
    assert torch.equal(moved, warp(logits, one.grid))
    assert torch.equal(back, invert(one.spline, one.grid))
    assert warp(logits.bfloat16(), one.grid).dtype == torch.float32


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5), (33, 2)])
def test_one_image_of_any_size(size: tuple[int, int]) -> None:
    after = phtps(noise(1, *size), PhTPS(), seeded())
    assert [part.shape for part in after[:3]] == [(1, 3, *size), (1, *size, 2), (1, *size)]
    assert after.image.isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_and_cpu_agree() -> None:
    image = noise(8, 40, 50)
    here, there = phtps(image, PhTPS(), seeded()), phtps(image.cuda(), PhTPS(), seeded())
    torch.testing.assert_close(here.grid, there.grid.cpu(), atol=1e-5, rtol=0)
    torch.testing.assert_close(here.image, there.image.cpu(), atol=1e-3, rtol=0)
    assert (here.valid == there.valid.cpu()).float().mean() > 0.999


def test_unusable_input_is_named() -> None:
    wrong = {
        "tps_grid": "half",
        "tps_sd": -0.1,
        "hue": 0.6,
        "value_shift": math.nan,
        "saturation": (2.0, 1.0),
        "value_scale": (-1, 1),
    }
    for field, value in wrong.items():
        with pytest.raises(SettingError, match=rf"^phtps\.{field}: got .*; allowed: "):
            PhTPS(**{field: value})  # pyright: ignore[reportArgumentType]
