"""Federated averaging, of all or of those that moved an element, and what every aggregator has; one by its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from shared_components.errors import InputError
from shared_components.federation.aggregation import NamedTensors, check_same_layout, federated_average
from shared_components.value_rules import Rule


class FedAvg:
    """Federated averaging; the base of every aggregator.

    Attributes:
        personal: whether clients keep tensors that a model needs, so that each exports a model of its own.
    Source: McMahan et al. 2017.
    """

    personal = False

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
    from monai.bundle import (
        ConfigParser,
    )  # seconds, which processes that only pass messages on need not spend

    aggregator = ConfigParser({"aggregator": dict(config)}).get_parsed_content("aggregator")
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
