"""Gradients of a meta-learning update, by one differentiation for all parameters that the inner step moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from shared_components.errors import InputError
from shared_components.tensors import names_below

Forward = Callable[..., Any]
Losses = dict[str, Tensor]


class MetaGradients(NamedTuple):
    """``gradients``: name -> tensor of every trained parameter; the loss terms of both halves, detached."""

    gradients: dict[str, Tensor]
    meta_train: Losses
    meta_test: Losses


def adapted_parameters(network: nn.Module, prefixes: Sequence[str]) -> list[str]:
    """Names of the trained parameters that the inner step moves.

    Args:
        network: the network.
        prefixes: dotted names of modules or parameters of it; ``""`` stands for the whole network.
    Raises:
        InputError: a prefix that names no trained parameter, or one text in place of a list.
    """
    if isinstance(prefixes, str):
        raise InputError(f"adapted: expected a list of modules, found {prefixes!r}; write [{prefixes!r}]")
    names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    chosen: set[str] = set()
    for prefix in prefixes:
        found = names_below(names, prefix)
        if not found:
            children = ", ".join(name for name, _ in network.named_children())
            raise InputError(
                f"adapted: '{prefix}' names no trained parameter of the network; its modules are {children}, "
                "and '' is the whole network"
            )
        chosen.update(found)
    return [name for name in names if name in chosen]


def meta_gradients(
    network: nn.Module,
    meta_train: Callable[[Forward], Losses],
    meta_test: Callable[[Forward], Losses],
    adapted: Sequence[str],
    inner_rate: float,
    second_order: bool = True,
) -> MetaGradients:
    r"""Gradient of :math:`L_{train}(\theta) + L_{test}(\theta - \eta\nabla L_{train}(\theta))`.

    With :math:`\theta' = \theta - \eta\nabla L_{train}(\theta)`, :math:`g = \nabla L_{train}(\theta)` and
    :math:`v = \nabla L_{test}(\theta')` it is :math:`g + v - \eta\,(\partial g_A / \partial\theta)^T v_A`, where A are
    the adapted parameters. One differentiation gives :math:`g_A`; one more gives the last term, as the derivative
    of :math:`g_A` in the direction :math:`v_A`, and with it what of g is still wanting. No Hessian is formed, and the
    meta-test graph is gone before the last pass. First order drops that term.

    Args:
        network: its trained parameters are :math:`\theta`; it is not changed and needs no code of its own.
        meta_train: from a forward function (the network, or one with the moved parameters) to named losses
            that are summed.
        meta_test: the same for the held-back domain.
        adapted: names of the parameters that the inner step moves, see :func:`adapted_parameters`.
        inner_rate: :math:`\eta`.
        second_order: differentiate through the inner step.
    Returns:
        Gradients (zero-free: a parameter that no loss reaches is absent) and losses.
    Source: Finn et al. 2017 (MAML), Li et al. 2018 (MLDG).
    Deviation: the published code differentiates once per parameter tensor, and its layers carry the moved weights.
    """
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    train_losses = meta_train(network)
    total = total_loss(train_losses)
    wanted = {name: parameters[name] for name in adapted} if second_order else parameters
    inner = _gradients(total, wanted, create_graph=second_order)
    moved = _moved({name: parameters[name] for name in adapted if name in inner}, inner, inner_rate)
    test_losses = meta_test(lambda *inputs: functional_call(network, moved, inputs))
    outer = _gradients(total_loss(test_losses), {**parameters, **moved})
    sloping = [  # a constant gradient has no slope
        name for name in moved if second_order and name in outer and inner[name].requires_grad
    ]
    along = torch._foreach_mul([outer[name] for name in sloping], -inner_rate) if sloping else []
    directions = [(inner[name], slope) for name, slope in zip(sloping, along, strict=True)]
    if len(wanted) == len(parameters):
        gradients = {name: g.detach() for name, g in inner.items()}
    else:
        gradients = {}
        directions.append((total, torch.ones_like(total)))
    gradients = _sum(_sum(gradients, outer), _slopes(directions, parameters))
    return MetaGradients(gradients, detached(train_losses), detached(test_losses))


def total_loss(losses: Losses) -> Tensor:
    """The sum of the terms.

    Raises:
        InputError: there are none.
    """
    if not losses:
        raise InputError(
            "the loss of an unlabelled update has no term: name teacher_epochs, merge meta_learning.yaml, or set "
            "unlabelled_updates: false"
        )
    return torch.stack(list(losses.values())).sum()


def detached(losses: Losses) -> Losses:
    """The losses as they are told, without what they were computed from."""
    return {name: loss.detach() for name, loss in losses.items()}


def _gradients(
    total: Tensor, parameters: Mapping[str, Tensor], create_graph: bool = False
) -> dict[str, Tensor]:
    """Gradients by name; without the parameters that ``total`` does not depend on."""
    if not parameters:
        return {}
    found = torch.autograd.grad(
        total, list(parameters.values()), create_graph=create_graph, allow_unused=True
    )
    return {name: g for name, g in zip(parameters, found, strict=True) if g is not None}


def _slopes(directions: list[tuple[Tensor, Tensor]], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Derivative by ``parameters`` of the sum of the inner products of (function, direction)."""
    if not directions:
        return {}
    functions, along = zip(*directions, strict=True)
    found = torch.autograd.grad(functions, list(parameters.values()), along, allow_unused=True)
    return {name: g for name, g in zip(parameters, found, strict=True) if g is not None}


def _moved(
    parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor], rate: float
) -> dict[str, Tensor]:
    """Copies of parameters after a step of gradient descent, all by one call of the device."""
    if not parameters:
        return {}
    slopes = [gradients[name].detach() for name in parameters]
    stepped = torch._foreach_sub([p.detach() for p in parameters.values()], torch._foreach_mul(slopes, rate))
    return {name: value.requires_grad_() for name, value in zip(parameters, stepped, strict=True)}


def _sum(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of both; those of one name are added, all by one call of the device."""
    common = [name for name in first if name in second]
    both = {**first, **second}
    if common:
        added = torch._foreach_add([first[name] for name in common], [second[name] for name in common])
        both |= zip(common, added, strict=True)
    return both
