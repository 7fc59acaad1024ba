"""ke2020's extensions (section 5): pseudo-masks weighted by how sure their network is, and a ramp of lambda2, against slow loops."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from scipy.stats import entropy
from test_self_training import cropped, different, moved_numbers, rule, terms

from semiseg.config import SettingError
from semiseg.methods import ThreeStage
from semiseg.methods.rule import PseudoMasks
from semiseg.nets import MultiTask
from semiseg.pseudo import PLANES, load_role, network, read_masks
from semiseg.published import WEIGHTS_FILE
from semiseg.runner import run_stage

WEIGHTS: list[Any] = ["confidence", "uncertainty"]


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_weighted_term_equals_a_slow_loop_over_the_pixels_that_b_moved(name: Any) -> None:
    one, batch = rule(lambda2=0.7, pseudo_weight=name), cropped(tiny.batch())
    state = different(tiny.start(one))
    assert isinstance(state.student, MultiTask)
    assert batch.pseudo is not None
    assert batch.confidence is not None
    views, numbers = moved_numbers(batch, one)
    _, g = state.student.both(torch.cat([batch.image[:2], views.image]))
    valid, total = torch.cat([batch.valid[:2], views.valid]), 0.0
    for n, y, x in valid.nonzero().tolist():
        source = divmod(int(numbers[n, y, x]), tiny.SIZE[1])
        weight = batch.confidence[n, *source].item()  # whichever plane: the loop has it as `needs` asks for it
        total -= weight * g[n, :, y, x].log_softmax(0)[batch.pseudo[n, *source]].item()
    expected = 0.7 * total / int(valid.sum())  # by the number of pixels, not by the sum of the weights
    assert terms(one, state, batch)["pseudo"].item() == pytest.approx(expected, rel=1e-4)


def test_masks_that_are_sure_everywhere_weigh_as_without_weights_and_unsure_ones_nothing() -> None:
    batch, plain = cropped(tiny.batch()), rule()
    state = different(tiny.start(plain))
    for name in WEIGHTS:
        one = rule(pseudo_weight=name)
        for sure in (0.0, 1.0):
            given = batch._replace(confidence=torch.full(batch.mask.shape, sure))
            expected = sure * terms(plain, state, batch)["pseudo"]
            torch.testing.assert_close(terms(one, state, given)["pseudo"], expected)
        assert terms(one, state, tiny.batch(ignored=True))["pseudo"] == 0


def test_lambda2_ramps_up_over_its_share_of_the_stage_and_lambda1_does_not() -> None:
    one, batch = rule(ramp2=0.5), tiny.batch()
    state = different(tiny.start(one))
    at = {progress: terms(one, state, batch, progress) for progress in (0.0, 0.25, 0.5, 0.9)}
    ratio = {progress: (found["pseudo"] / at[0.9]["pseudo"]).item() for progress, found in at.items()}
    assert ratio == pytest.approx({0.0: np.exp(-5), 0.25: np.exp(-5 / 4), 0.5: 1.0, 0.9: 1.0})
    assert at[0.0]["consistency"].equal(at[0.9]["consistency"])


def test_planes_are_the_largest_probability_and_one_minus_the_normalised_entropy() -> None:
    probs = torch.randn(7, 9, 11, generator=torch.Generator().manual_seed(3)).mul(3).softmax(0)
    probs[:, 0, 0] = torch.eye(7)[2]
    probs[:, 0, 1] = 1 / 7
    expected = {"confidence": probs.numpy().max(0), "certainty": 1 - entropy(probs.double().numpy(), base=7, axis=0)}
    assert PLANES.keys() == expected.keys()
    for name, plane in PLANES.items():
        np.testing.assert_allclose(plane(probs), expected[name], atol=1e-6)
    assert PLANES["certainty"](probs)[0, :2].tolist() == pytest.approx([1, 0], abs=1e-6)


def test_what_the_rule_asks_of_its_teacher_stage() -> None:
    def asked(**changes: Any) -> PseudoMasks | None:
        return rule(**changes).needs.masks

    found = {name: asked(pseudo_weight=name) for name in ("none", *WEIGHTS)}
    assert {name: one and (one.confidences, one.plane) for name, one in found.items()} == {
        "none": (False, "confidence"),
        "confidence": (True, "confidence"),
        "uncertainty": (True, "certainty"),
    }
    assert asked(pseudo_weight="uncertainty", lambda2=0.0) is None


@pytest.mark.parametrize("changes", [{"pseudo_weight": "confidence"}, {"pseudo_weight": "uncertainty"}, {"ramp2": 0.3}], ids=str)
def test_extensions_move_the_keys_of_stages_that_learn_masks_alone(changes: dict[str, Any]) -> None:
    def keys(**more: Any) -> list[str]:
        return [stage.key for stage in ThreeStage(**more).stages(tiny.SPLIT, tiny.NET, tiny.TRAIN, 0)]

    assert [a != b for a, b in zip(keys(), keys(**changes), strict=True)] == [False, True, True]
    assert keys(lambda2=0.0) == keys(lambda2=0.0, **changes)


def test_wrong_values_are_refused_in_one_line() -> None:
    wrong: Any = "entropy"
    with pytest.raises(SettingError, match=r"^method.pseudo_weight: got 'entropy'; allowed: none, confidence, uncertainty$"):
        ThreeStage(pseudo_weight=wrong)
    with pytest.raises(SettingError, match=r"^method.ramp2: got 1.5; allowed: a share in \[0, 1\]$"):
        ThreeStage(ramp2=1.5)


@pytest.mark.parametrize(("name", "file"), [("confidence", "masks-confidences"), ("uncertainty", "masks-certainties")])
def test_the_second_stage_learns_with_the_plane_of_the_first(name: Any, file: str, tmp_path: Path) -> None:
    train, place = replace(tiny.TRAIN, steps=3, evaluations=1), tiny.place(tmp_path)
    first, second = tiny.chain(ThreeStage(S3=False, pseudo_weight=name), train=train)
    run_stage(first, place)
    run_stage(second, place)
    folder = place.open_store().folder(first.key)
    masks, planes = read_masks(folder / f"{file}-last-student.planes")
    assert planes is not None
    pack, splits = tiny.opened()
    net = network(first, pack, tiny.CPU).eval()
    load_role(net, load_file(folder / WEIGHTS_FILE), "last.student.")
    for row in splits.training.tolist():
        image = torch.from_numpy(np.array(pack.image(row))).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            probs = net(image)[0].softmax(0).numpy()
        sure = probs.max(0) if name == "confidence" else 1 - entropy(probs, base=len(probs), axis=0)
        np.testing.assert_array_equal(masks[pack.ids[row]], probs.argmax(0))
        np.testing.assert_allclose(planes[pack.ids[row]] / 65535, sure, atol=1e-4)
