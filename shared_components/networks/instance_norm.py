"""Instance norm whose second derivative is as cheap as its first, for gradients through gradients (method §3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def instance_norm(x: Tensor, gain: Tensor, shift: Tensor, eps: float = 1e-5) -> Tensor:
    r""":math:`g\,(x - \mu) / \sqrt{v + \epsilon} + t`, mean and variance over each sample's channel.

    The built-in norm is as fast forwards and backwards, but composes its second derivative from some forty
    passes over the features; here it is written out in a few (one third of the time on a CPU). There is no
    third derivative.

    Args:
        x: features, (B, C, H, W).
        gain: g, (B, C).
        shift: t, (B, C).
        eps: keeps a constant map finite in all derivatives.
    Returns:
        (B, C, H, W).
    """
    return _InstanceNorm.apply(x, gain, shift, eps)[0]


class InstanceNorm2d(nn.InstanceNorm2d):
    """:class:`torch.nn.InstanceNorm2d` without running statistics, by :func:`instance_norm`; equal weights."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W); scripted modules, which are not trained, use the built-in norm."""
        if torch.jit.is_scripting():
            return F.instance_norm(input, weight=self.weight, bias=self.bias, eps=self.eps)
        else:
            shape = input.shape[:2]
            gain = input.new_ones(shape) if self.weight is None else self.weight.expand(shape)
            shift = input.new_zeros(shape) if self.bias is None else self.bias.expand(shape)
            return instance_norm(input, gain, shift, self.eps)


def with_fast_instance_norm(network: nn.Module) -> nn.Module:
    """``network`` with each ``nn.InstanceNorm2d`` in it replaced, in place; parameters and their names stay."""
    for name, module in list(network.named_modules()):
        if type(module) is not nn.InstanceNorm2d or module.track_running_stats or not name:
            continue
        fast = InstanceNorm2d(module.num_features, eps=module.eps, affine=module.affine)
        fast.weight, fast.bias = module.weight, module.bias
        network.set_submodule(name, fast.train(module.training))
    return network


class _InstanceNorm(torch.autograd.Function):
    """x, g, t to y; also mean and 1 / √(v + ε), (B·C,), without gradient."""

    @staticmethod
    def forward(x: Tensor, gain: Tensor, shift: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        # not a view of what is computed, so that the next layer may work in place
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        single = torch.promote_types(x.dtype, torch.float32)  # statistics of half-precision features
        mean, inverse = torch.empty(2, gain.numel(), dtype=single, device=x.device)
        options = {"training": True, "momentum": 0.0, "eps": eps, "out": (_as_channels(y), mean, inverse)}
        torch.native_batch_norm(_as_channels(x), gain.reshape(-1), shift.reshape(-1), None, None, **options)
        return y, mean, inverse

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        x, gain, _, ctx.eps = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(x, gain, *output[1:])

    @staticmethod
    def backward(ctx, grad_y: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        return (*_InstanceNormGradient.apply(grad_y, *ctx.saved_tensors, ctx.eps), None)


class _InstanceNormGradient(torch.autograd.Function):
    """First derivative as a function of its own: (ẏ, x, g) to (ẋ, ġ, ṫ), dots for gradients."""

    @staticmethod
    def forward(grad_y, x, gain, mean, inverse, eps) -> tuple[Tensor, Tensor, Tensor]:
        return _first_derivative(grad_y, x, gain, mean, inverse, eps)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        *tensors, ctx.eps = inputs
        ctx.save_for_backward(*tensors, *output[1:])

    @staticmethod
    def backward(ctx, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor | None, ...]:
        return (*_SecondDerivative.apply(a, b, c, *ctx.saved_tensors, ctx.eps), None, None, None)


class _SecondDerivative(torch.autograd.Function):
    r"""Gradient of ⟨a, ẋ⟩ + b ġ + c ṫ by ẏ, x and g.

    With N pixels, x̂ the normalised x, r = 1 / √(v + ε), ⟨·,·⟩ summing over a sample's channel and the
    self-adjoint P u = u − ⟨u, 1⟩/N − x̂ ⟨u, x̂⟩/N: ẋ = g r P ẏ, ġ = ⟨ẏ, x̂⟩, ṫ = ⟨ẏ, 1⟩; ∂x̂ = r P ∂x and
    ∂r = −r² ⟨x̂, ∂x⟩/N give the rest.
    """

    @staticmethod
    def forward(a, b, c, grad_y, x, gain, mean, inverse, along, total, eps) -> tuple[Tensor, Tensor, Tensor]:
        """``along`` is ⟨ẏ, x̂⟩, ``total`` ⟨ẏ, 1⟩, both (B, C)."""
        pixels, m, r = x[0, 0].numel(), mean.view_as(gain), inverse.view_as(gain)
        # through is g r P a, a_along ⟨a, x̂⟩, a_total ⟨a, 1⟩
        through, a_along, a_total = _first_derivative(a, x, gain, mean, inverse, eps)
        projected = _dot(a, grad_y) - (a_total * total + a_along * along) / pixels  # ⟨a, P ẏ⟩
        to_grad_y = through.add_(_affine(x, m, b * r, c))
        # x̂ receives u = −g r (⟨ẏ, x̂⟩ a + ⟨a, x̂⟩ ẏ)/N + b ẏ, hence x receives r P u
        u = torch.addcmul(
            _wide(-gain * r * along / pixels) * a, grad_y, _wide(b - gain * r * a_along / pixels)
        )
        to_x = _first_derivative(u.to(x.dtype), x, torch.ones_like(gain), mean, inverse, eps)[0]
        to_x.add_(_affine(x, m, -gain * projected * r**3 / pixels, torch.zeros_like(gain)))
        return to_grad_y, to_x, r * projected

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        """Nothing to keep."""

    @staticmethod
    def backward(ctx, *_: Tensor):
        raise NotImplementedError(
            "instance_norm has no third derivative; use torch.nn.InstanceNorm2d for one"
        )


def _first_derivative(grad_y, x, gain, mean, inverse, eps) -> tuple[Tensor, Tensor, Tensor]:
    """(B, C, H, W), (B, C), (B, C): of x, gain and shift."""
    of_x, of_gain, of_shift = torch.ops.aten.native_batch_norm_backward(
        _as_channels(grad_y),
        _as_channels(x),
        gain.reshape(-1),
        None,
        None,
        mean,
        inverse,
        True,
        eps,
        [True] * 3,
    )
    return of_x.view_as(x), of_gain.view_as(gain), of_shift.view_as(gain)


def _as_channels(x: Tensor) -> Tensor:
    """(1, B·C, H, W): every sample's channel as a channel of one batch norm."""
    return x.reshape(1, -1, *x.shape[2:])


def _wide(x: Tensor) -> Tensor:
    return x[:, :, None, None]  # (B, C, 1, 1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.linalg.vecdot(a.flatten(2), b.flatten(2))  # (B, C)


def _affine(x: Tensor, mean: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """scale · (x − mean) + shift in one pass; scale, mean and shift (B, C)."""
    return torch.addcmul(_wide(shift - mean * scale), x, _wide(scale))
