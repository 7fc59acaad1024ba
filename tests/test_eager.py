"""Optimisers without PyTorch's compiler: the same numbers as those with it, and no compiler."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from semiseg.nets.eager import eager

KINDS: list[tuple[type[Any], dict[str, Any]]] = [
    (torch.optim.SGD, {"momentum": 0.9}),
    (torch.optim.Adam, {"betas": (0.9, 0.99)}),
    (torch.optim.AdamW, {"betas": (0.9, 0.99)}),
]


def after(kind: type[Any], options: dict[str, Any], *, again: bool) -> tuple[torch.Tensor, dict[str, Any]]:
    """Weights after four steps, with `again` by way of a saved state after two, and the optimiser's state."""
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4))

    def made() -> Any:
        return kind([{"params": [weight], "factor": 2.0}], lr=0.1, weight_decay=0.01, fused=True, **options)

    one = made()
    for step in range(4):
        if again and step == 2:
            saved, one = one.state_dict(), made()
            one.load_state_dict(saved)
        one.zero_grad(set_to_none=True)
        assert weight.grad is None
        (weight.sin() * weight.exp()).sum().backward()
        one.step()
    assert torch.is_grad_enabled()
    assert weight.grad_fn is None
    return weight.detach().clone(), one.state_dict()


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=lambda one: getattr(one, "__name__", ""))
@pytest.mark.parametrize("again", [False, True])
def test_steps_and_state_are_those_of_the_library_to_the_last_bit(kind: type[Any], options: dict[str, Any], again: bool) -> None:
    ours, theirs = after(eager(kind), options, again=again), after(kind, options, again=again)
    assert torch.equal(ours[0], theirs[0])
    torch.testing.assert_close(ours[1], theirs[1], rtol=0, atol=0)
    assert eager(kind).__name__ == kind.__name__


def test_training_does_not_import_the_compiler() -> None:
    code = """
import sys, torch
from semiseg.config import Train
from semiseg.nets.optimiser import optimiser
for kind in ("sgd", "adam", "adamw"):
    net = torch.nn.Linear(2, 2)
    one = optimiser(net, Train(optimiser=kind))
    net(torch.ones(1, 2)).sum().backward()
    one.step()
    one.zero_grad()
    one.load_state_dict(one.state_dict())
print("torch._dynamo" in sys.modules)
torch.optim.Adam(net.parameters())
print("torch._dynamo" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert ran.stdout.split() == ["False", "True"]  # so that it can fail
