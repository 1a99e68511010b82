"""Federated averaging, and what every aggregator has: private tensors, local training, a state at the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from shared_components.errors import InputError
from shared_components.federation.aggregation import NamedTensors, check_same_layout, federated_average


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
