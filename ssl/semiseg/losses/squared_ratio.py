"""A ratio of sums of squares with a gradient of its own."""

from typing import Any

import torch
from torch import Tensor


class SquaredRatio(torch.autograd.Function):
    """`squared_ratio` with a gradient that passes over the maps twice, where autograd's passes eight times."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, t: Tensor, over: tuple[int, ...]) -> Tensor:
        # the numerator as a square keeps what 1 - 2pt/(pp + tt) would cancel; the tiny floor makes 0/0 a 0 with a finite gradient
        apart = (p - t).square_().sum(over, keepdim=True)
        both = (p.square().sum(over, keepdim=True) + t.square().sum(over, keepdim=True)).clamp(min=1e-12)
        ctx.save_for_backward(p, t, apart / both, both)
        return (apart / both).squeeze(over)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Of a / b by p: (2 (p - t) - a / b 2 p) / b; by t likewise."""
        p, t, ratio, both = ctx.saved_tensors
        grad = 2 * grads[0].reshape(both.shape) / both
        own = grad * (1 - ratio)
        return tuple(
            torch.addcmul(one * own, other, grad, value=-1) if wanted else None
            for one, other, wanted in ((p, t, ctx.needs_input_grad[0]), (t, p, ctx.needs_input_grad[1]))
        ) + (None,)
