"""Instance norm with a fast second derivative."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.networks.nets import BasicUNet

from shared_components.networks.instance_norm import InstanceNorm2d, instance_norm, with_fast_instance_norm


def leaves(*shapes: tuple[int, ...], dtype: torch.dtype = torch.double) -> list[torch.Tensor]:
    return [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes]


def test_against_numpy():
    x, gain, shift = leaves((2, 3, 4, 5), (2, 3), (2, 3))
    array, g, t = (v.detach().numpy() for v in (x, gain, shift))
    centred = array - array.mean(axis=(2, 3), keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(axis=(2, 3), keepdims=True) + 1e-3)
    expected = g[:, :, None, None] * unit + t[:, :, None, None]
    np.testing.assert_allclose(instance_norm(x, gain, shift, 1e-3).detach(), expected)


def test_it_sets_mean_and_deviation():
    gain, shift = torch.tensor([[1.0, 0.5]]), torch.tensor([[3.0, -1.0]])
    out = instance_norm(7 + 5 * torch.randn(1, 2, 9, 11), gain, shift)
    torch.testing.assert_close(out.mean(dim=(2, 3)), shift)
    torch.testing.assert_close(out.std(dim=(2, 3), correction=0), gain, rtol=1e-4, atol=0)


@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_first_and_second_derivatives(eps):
    values = leaves((2, 2, 3, 4), (2, 2), (2, 2))
    assert torch.autograd.gradcheck(lambda *v: instance_norm(*v, eps), values)
    assert torch.autograd.gradgradcheck(lambda *v: instance_norm(*v, eps), values)


def test_derivatives_of_strided_features():
    x, gain, shift = leaves((2, 4, 3, 2), (2, 1), (2, 2))

    def strided(x: torch.Tensor, gain: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        return instance_norm(x.movedim(1, 3)[:, :2], gain.expand(2, 2), shift.t())

    assert torch.autograd.gradgradcheck(strided, [x, gain, shift])


def test_second_derivatives_are_those_of_the_built_in_norm():
    x, weight, bias, direction = leaves((3, 4, 16, 12), (4,), (4,), (3, 4, 16, 12), dtype=torch.float32)
    results = []
    for norm in (
        lambda: instance_norm(x, weight.expand(3, 4), bias.expand(3, 4)),
        lambda: F.instance_norm(x, weight=weight, bias=bias),
    ):
        loss = (norm().sin() * direction).sum()
        first = torch.autograd.grad(loss, [x, weight, bias], create_graph=True)
        second = torch.autograd.grad(sum(g.cos().sum() for g in first), [x, weight, bias, direction])
        results.append([loss, *first, *second])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(4, 4), (1, 1)])
def test_constant_maps_have_finite_derivatives(size):
    x = torch.full((2, 3, *size), 0.3, requires_grad=True)
    gain, shift = leaves((2, 3), (2, 3), dtype=torch.float32)
    (first,) = torch.autograd.grad(instance_norm(x, gain, shift).square().sum(), x, create_graph=True)
    second = torch.autograd.grad((first + 1).square().sum(), [x, gain, shift], materialize_grads=True)
    assert all(torch.isfinite(g).all() for g in (first, *second))


def test_half_precision_features_have_statistics_in_single_precision():
    x, gain, shift = leaves((2, 3, 8, 8), (2, 3), (2, 3), dtype=torch.float32)
    results = []
    for dtype in (torch.bfloat16, torch.float32):
        y = instance_norm(x.to(dtype), gain, shift)
        assert y.dtype == dtype
        first = torch.autograd.grad(y.float().sin().sum(), [x, gain, shift], create_graph=True)
        second = torch.autograd.grad(sum(g.sin().sum() for g in first), [x, gain, shift])
        results.append([y.float(), *first, *second])
    for half, single in zip(*results, strict=True):
        assert (half - single).norm() < 0.1 * single.norm()


def test_a_third_derivative_is_refused():
    x, gain, shift = leaves((1, 1, 2, 2), (1, 1), (1, 1))
    derivative = instance_norm(x, gain, shift).pow(3).sum()
    for _ in range(2):
        derivative = torch.autograd.grad(derivative, x, create_graph=True)[0].square().sum()
    with pytest.raises(NotImplementedError, match="no third derivative"):
        torch.autograd.grad(derivative, x)


def test_a_following_layer_may_work_in_place():
    x, gain, shift = leaves((2, 2, 3, 4), (2, 2), (2, 2))
    results = [
        torch.autograd.grad(f(instance_norm(x, gain, shift), 0.1).square().sum(), x)
        for f in (F.leaky_relu, F.leaky_relu_)
    ]
    torch.testing.assert_close(*results)


def test_a_networks_norms_are_replaced_with_their_weights():
    network = BasicUNet(2, 1, 3, features=(4, 4, 4, 4, 4, 4)).eval()
    image = torch.randn(2, 1, 32, 16)
    parameters, before = dict(network.named_parameters()), network(image)
    assert with_fast_instance_norm(network) is network
    kinds = [type(module) for module in network.modules() if isinstance(module, torch.nn.InstanceNorm2d)]
    assert len(kinds) == 18 and set(kinds) == {InstanceNorm2d}
    assert all(p is parameters[name] for name, p in network.named_parameters())
    assert not any(module.training for module in network.modules())
    torch.testing.assert_close(network(image), before)
    torch.testing.assert_close(torch.jit.script(network)(image), before)


def test_norms_without_weights_and_those_with_statistics():
    plain = torch.nn.Sequential(
        torch.nn.InstanceNorm2d(2), torch.nn.InstanceNorm2d(2, track_running_stats=True)
    )
    image = torch.randn(2, 2, 5, 5)
    before = plain[0](image)
    with_fast_instance_norm(plain)
    assert [type(module) for module in plain] == [InstanceNorm2d, torch.nn.InstanceNorm2d]
    torch.testing.assert_close(plain[0](image), before)
