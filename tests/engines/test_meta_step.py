"""The outer gradient against finite differences, the textbook form, and hand calculation."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from shared_components.engines.meta_step import adapted_parameters, meta_gradients, total_loss
from shared_components.errors import InputError


class Tiny(nn.Module):
    """Two modules, of smooth functions."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, 4)
        self.head = nn.Linear(4, 2)
        self.unused = nn.Linear(2, 2)
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x):
        return self.head(torch.tanh(self.encoder(x))) * self.frozen


@pytest.fixture
def problem():
    network = Tiny().double()
    x, y, u, v = (torch.randn(5, n, dtype=torch.float64) for n in (3, 2, 3, 2))

    def meta_train(forward):
        return {"square": ((forward(x) - y) ** 2).mean(), "cosine": forward(x).cos().mean()}

    def meta_test(forward):
        return {"square": ((forward(u) - v) ** 2).mean()}

    return network, meta_train, meta_test


def outer_loss(network, meta_train, meta_test, adapted, rate):
    """L_train(θ) + L_test(θ − η∇L_train(θ)), as the formula says."""
    parameters = dict(network.named_parameters())
    train = sum(meta_train(network).values())
    gradients = torch.autograd.grad(train, [parameters[name] for name in adapted], create_graph=True)
    moved = {name: parameters[name] - rate * g for name, g in zip(adapted, gradients, strict=True)}
    return train + sum(meta_test(lambda x: functional_call(network, moved, (x,))).values())


@pytest.mark.parametrize("prefixes", [["encoder", "head"], ["head"], ["head.bias"]])
def test_it_is_the_second_order_gradient_by_finite_differences(problem, prefixes):
    network, meta_train, meta_test = problem
    adapted, rate, step = adapted_parameters(network, prefixes), 0.3, 1e-6
    found = meta_gradients(network, meta_train, meta_test, adapted, rate).gradients
    for name, parameter in network.named_parameters():
        for place in range(parameter.numel()) if name in found else ():
            flat, losses = parameter.data.view(-1), []
            for shift in (step, -2 * step):
                flat[place] += shift
                losses.append(outer_loss(network, meta_train, meta_test, adapted, rate).item())
            flat[place] += step
            slope = (losses[0] - losses[1]) / (2 * step)
            assert found[name].view(-1)[place].item() == pytest.approx(slope, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("prefixes", [["encoder", "head"], ["head"]])
def test_it_equals_the_textbook_form_with_one_differentiation_per_tensor(problem, prefixes):
    network, meta_train, meta_test = problem
    adapted = adapted_parameters(network, prefixes)
    found = meta_gradients(network, meta_train, meta_test, adapted, 0.3)
    parameters = dict(network.named_parameters())
    train = sum(meta_train(network).values())
    moved = {
        name: parameters[name]
        - 0.3 * torch.autograd.grad(train, parameters[name], create_graph=True, retain_graph=True)[0]
        for name in adapted
    }
    test = sum(meta_test(lambda x: functional_call(network, moved, (x,))).values())
    (train + test).backward()
    assert sum(found.meta_train.values()).item() == pytest.approx(train.item())
    assert sum(found.meta_test.values()).item() == pytest.approx(test.item())
    for name, gradient in found.gradients.items():
        assert torch.allclose(gradient, parameters[name].grad, rtol=1e-9, atol=1e-12)


def test_first_order_drops_the_curvature_alone():
    network = nn.Linear(1, 1, bias=False).double()
    network.weight.data.fill_(2.0)  # L_train = w²/2 and L_test = (w' − 1)²/2, so w' = w − η w
    halves = ({"a": lambda f: {"t": f(torch.ones(1, 1).double()).square().sum() / 2}}["a"],)
    test = lambda f: {"t": (f(torch.ones(1, 1).double()) - 1).square().sum() / 2}  # noqa: E731
    for second_order, expected in ((False, 2 + (1.8 - 1)), (True, 2 + (1.8 - 1) * 0.9)):
        found = meta_gradients(network, *halves, test, ["weight"], 0.1, second_order)
        assert found.gradients["weight"].item() == pytest.approx(expected)


def test_only_the_parameters_named_move(problem):
    network, meta_train, _ = problem
    adapted = adapted_parameters(network, ["head"])
    assert adapted == ["head.weight", "head.bias"]
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    seen = {}

    def meta_test(forward):
        probe = forward(torch.zeros(1, 3, dtype=torch.float64))
        seen["output"] = probe.detach().clone()
        return {"probe": probe.sum()}

    meta_gradients(network, meta_train, meta_test, adapted, 0.5)
    train = sum(meta_train(network).values())
    gradients = torch.autograd.grad(train, [network.head.weight, network.head.bias])
    with torch.no_grad():
        hidden = torch.tanh(network.encoder.bias)
        expected = (
            (before["head.weight"] - 0.5 * gradients[0]) @ hidden + before["head.bias"] - 0.5 * gradients[1]
        )
    assert torch.allclose(seen["output"][0], expected)
    assert all(torch.equal(before[name], p) for name, p in network.named_parameters())


def test_a_parameter_that_no_loss_reaches_has_no_gradient(problem):
    network, meta_train, meta_test = problem
    found = meta_gradients(network, meta_train, meta_test, adapted_parameters(network, [""]), 0.1).gradients
    assert set(found) == {"encoder.weight", "encoder.bias", "head.weight", "head.bias"}


@pytest.mark.parametrize("second_order", [True, False])
def test_an_inner_step_that_moves_nothing_is_plain_training(problem, second_order):
    network, meta_train, meta_test = problem
    nothing = adapted_parameters(network, [])
    found = meta_gradients(network, meta_train, meta_test, nothing, 0.1, second_order)
    (total_loss(meta_train(network)) + total_loss(meta_test(network))).backward()
    parameters = dict(network.named_parameters())
    for name, gradient in found.gradients.items():
        torch.testing.assert_close(gradient, parameters[name].grad)
    assert found.gradients.keys() == {name for name, p in parameters.items() if p.grad is not None}


def test_an_unknown_module_is_told():
    with pytest.raises(InputError, match=r"'decoder' names no trained parameter.*encoder, head"):
        adapted_parameters(Tiny(), ["decoder"])
