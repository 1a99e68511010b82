"""Federated averaging, the base of all aggregators, and those that average as it does: FedProx, FedBN, FedSubAvg."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from shared_components.errors import InputError
from shared_components.federation.aggregators.aggregation import (
    NamedTensors,
    check_same_layout,
    federated_average,
)
from shared_components.value_rules import Rule

NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
    nn.GroupNorm, nn.LayerNorm, nn.RMSNorm,
)  # fmt: skip


class FedAvg:
    """Federated averaging; the base of every aggregator.

    Attributes:
        personal: whether clients keep tensors that a model needs, so that each exports a model of its own.
        majority: whether what a minority of the clients alone trains is left out, such as the look of a scanner that
            no other client has.
    Source: McMahan et al. 2017.
    """

    personal = False
    majority = False

    def __call__(
        self, updates: Mapping[str, NamedTensors], weights: Mapping[str, float], global_weights: NamedTensors
    ) -> dict[str, Tensor]:
        """The new global weights.

        Args:
            updates: client -> name -> tensor, the clients' weights after their local updates.
            weights: client -> number of training images.
            global_weights: name -> tensor, what the round began with; the layout that all must have.
        Returns:
            name -> tensor.
        Raises:
            InputError: see :func:`federated_average`.
        """
        check_global_layout(updates, global_weights)
        return federated_average(updates, weights)

    def deliverable(self, weights: NamedTensors) -> dict[str, Tensor]:
        """What the bundle exports in the end.

        Args:
            weights: name -> tensor, the global weights after the last round.
        """
        return dict(weights)

    def state_dict(self) -> dict[str, Any]:
        """What it must remember between rounds, in tensors, numbers and dicts of them; nothing here."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave.

        Raises:
            InputError: it is another aggregator's.
        """
        if state:
            raise InputError(foreign_state(self, state))

    def private_names(self, network: nn.Module) -> set[str]:
        """Names in the state of ``network`` that stay at the client, whatever its bundle shares."""
        return set()

    def local_training(
        self, optimizers: Iterable[Optimizer], parameters: Iterable[nn.Parameter]
    ) -> AbstractContextManager[None]:
        """Holds while a client trains one round.

        Args:
            optimizers: all that move ``parameters``.
            parameters: the exchanged ones, which have their global values when the block is entered.
        """
        return nullcontext()


def check_global_layout(updates: Mapping[str, NamedTensors], global_weights: NamedTensors) -> None:
    """Refuse updates whose names, shapes or dtypes differ from those that the round began with.

    Raises:
        InputError: naming the client and the first difference.
    """
    for client in sorted(updates):
        check_same_layout(
            global_weights, updates[client], reference="the global model", found=f"client {client}"
        )


def foreign_state(aggregator: FedAvg, state: Mapping[str, Any]) -> str:
    """A line for a state that is not this aggregator's."""
    found = ", ".join(sorted(map(str, state))) or "nothing"
    return (
        f"aggregator: the run's state ({found}) is not {type(aggregator).__name__}'s; "
        "go on with the aggregator that it was begun with, or start it over with --force"
    )


def make_aggregator(config: Mapping[str, Any]) -> FedAvg:
    """The aggregator of a config with ``_target_``.

    Raises:
        InputError: it is none, that is, no subclass of :class:`FedAvg`.
    """
    # takes seconds, which processes that only pass messages on need not spend
    from monai.bundle import ConfigParser

    from shared_components.config_parsers import with_known_components

    aggregator = with_known_components(ConfigParser({"aggregator": dict(config)})).get_parsed_content(
        "aggregator"
    )
    if not isinstance(aggregator, FedAvg):
        raise InputError(
            f"'aggregator': expected a subclass of shared_components.federation.FedAvg, found {aggregator!r}"
        )
    return aggregator


def check(rule: Rule, name: str, value: Any) -> None:
    """Refuse a value that the rule does not allow.

    Raises:
        InputError: one line with the argument, what was expected and what was found.
    """
    fault = rule.fault(name, value)
    if fault:
        raise InputError(f"aggregator: {fault}")


class FedSubAvg(FedAvg):
    r"""FedAvg in which an element counts at those clients alone that moved it.

    .. math:: w \leftarrow w + \frac{\sum_c n_c\,(\theta_c - w)}{\sum_{c:\,\theta_c \ne w} n_c}

    An embedding of a client's own domain gets no gradient at the other clients. FedAvg takes their standstill for a
    vote and moves it by 1 / K of what its own client learnt; here it moves as its own client says. What all clients
    move is averaged as ever, and so are buffers that are no floats. Where noise is added to updates everything moves,
    and it is FedAvg.

    Source: Ding et al. 2022, Federated Submodel Optimization for Hot and Cold Data Features, NeurIPS.
    """

    def __call__(
        self, updates: Mapping[str, NamedTensors], weights: Mapping[str, float], global_weights: NamedTensors
    ) -> dict[str, Tensor]:
        made = super().__call__(updates, weights, global_weights)
        return over_movers(made, updates, weights, global_weights)


def over_movers(
    made: NamedTensors,
    updates: Mapping[str, NamedTensors],
    weights: Mapping[str, float],
    global_weights: NamedTensors,
) -> dict[str, Tensor]:
    """The mean ``made`` of all clients' weights, of each element over those that moved it; see :class:`FedSubAvg`.

    Other arguments as of :class:`FedAvg`.
    """
    found, total = dict(made), sum(weights[client] for client in updates)
    for name, start in global_weights.items():
        if not start.is_floating_point():
            continue
        moved = sum(weights[client] * (updates[client][name] != start).double() for client in updates)
        whole = (moved == 0) | (moved == total)
        share = total / torch.where(whole, total, moved)
        change = (made[name].double() - start.double()) * share
        found[name] = torch.where(whole, made[name], (start.double() + change).to(start.dtype))
    return found


class FedProx(FedAvg):
    r"""FedAvg whose clients minimise :math:`F_c(w) + \tfrac{\mu}{2}\lVert w - w_\text{global}\rVert^2`.

    The gradient :math:`\mu\,(w - w_\text{global})` of the second term is added to each exchanged parameter's
    gradient right before every step of its optimiser, after any clipping. A parameter without a gradient takes no
    part in the step and gets none; with mu = 0 nothing at all differs from FedAvg.

    Args:
        mu: weight of the term; 0.001 to 1 in the paper.
    Raises:
        InputError: mu is negative or not finite.
    Source: Li et al. 2020, Federated Optimization in Heterogeneous Networks, Algorithm 2.
    """

    def __init__(self, mu: float = 0.01) -> None:
        if not (isinstance(mu, int | float) and math.isfinite(mu) and mu >= 0):
            raise InputError(f"aggregator: 'mu' must be a number from 0 up, found {mu!r}")
        self.mu = mu

    def local_training(
        self, optimizers: Iterable[Optimizer], parameters: Iterable[nn.Parameter]
    ) -> AbstractContextManager[None]:
        return self._pulled(optimizers, parameters) if self.mu else nullcontext()

    @contextlib.contextmanager
    def _pulled(self, optimizers: Iterable[Optimizer], parameters: Iterable[nn.Parameter]) -> Iterator[None]:
        pull = _Pull(self.mu, {parameter: parameter.detach().clone() for parameter in parameters})
        handles = [optimizer.register_step_pre_hook(pull) for optimizer in optimizers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


class FedBN(FedProx):
    """Averages everything but normalisation layers, whose parameters and statistics each client keeps.

    A client's model is the averaged rest with the client's own layers, so each client exports one; there is none
    for clients outside the federation.

    Args:
        mu: weight of FedProx's term on the averaged parameters; 0: none.
    Source: Li et al. 2021, FedBN: Federated Learning on Non-IID Features via Local Batch Normalization.
    Deviation: instance, group and layer norm are kept as batch norm is.
    """

    personal = True

    def __init__(self, mu: float = 0.0) -> None:
        super().__init__(mu)

    def private_names(self, network: nn.Module) -> set[str]:
        """Names of the tensors of normalisation layers.

        Raises:
            InputError: there is none.
        """
        every = network.named_modules(remove_duplicate=False)  # state_dict has each of a layer's names
        layers = [(name, module) for name, module in every if isinstance(module, NORMS)]
        names = {f"{name}.{key}" for name, module in layers for key in module.state_dict()}
        if not names:
            raise InputError(
                f"aggregator: FedBN keeps the tensors of normalisation layers, of which {type(network).__name__} "
                "has none; use FedAvg, or norms that learn (batch, or instance with affine: true)"
            )
        return names


class _Pull:
    """Hook before an optimiser's step that adds the gradient of the proximal term."""

    def __init__(self, mu: float, anchors: Mapping[nn.Parameter, Tensor]) -> None:
        self._mu, self._anchors = mu, anchors

    @torch.no_grad()
    def __call__(self, optimizer: Optimizer, args: tuple, kwargs: dict[str, Any]) -> None:
        if len(args) > 1 or kwargs.get("closure") is not None:
            raise InputError(
                f"aggregator: FedProx cannot steer {type(optimizer).__name__}, which computes gradients inside "
                "its step; use an optimiser such as Adam or SGD, or FedAvg"
            )
        scale = getattr(optimizer, "grad_scale", None)  # mixed precision: a fused step divides by it
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter in self._anchors:
                    term = self._mu * (parameter - self._anchors[parameter])
                    # a new tensor: gradients that a trainer made itself may share memory
                    parameter.grad = parameter.grad + (term if scale is None else term * scale)
