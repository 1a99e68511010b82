"""A moving average of the global weights, kept at the server: what is trained travels, what is handed on does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from shared_components.errors import InputError
from shared_components.federation.aggregation import NamedTensors
from shared_components.federation.aggregators.arguments import check
from shared_components.federation.aggregators.averaging import FedAvg, foreign_state
from shared_components.federation.aggregators.server_optimizers import DECAY
from shared_components.tensors import misfit


class ServerAverage(FedAvg):
    r"""FedAvg, and a moving average of its global weights over the rounds, which the deliverable gets in their place.

    :math:`a \leftarrow a + \max(1 - d, 1 / t)\,(w_t - a)` after round t: the mean of the first rounds, then an
    exponential average. Buffers that are no floats are those of the last round. Clients neither compute nor exchange
    an average of their own, which halves the bytes where the network is a generator and its average::

        aggregator: {_target_: shared_components.federation.ServerAverage, decay: 0.9}
        overrides: {federation::shared: [generator], federation::export::generator: $@network.generator}

    Args:
        decay: d of a round; that of an update to the power of the updates in a round.
    Raises:
        InputError: decay is not from 0 up, below 1.
    Source: Karras et al. 2018, Progressive Growing of GANs, for the average of a generator.
    """

    def __init__(self, decay: float = 0.9) -> None:
        check(DECAY, "decay", decay)
        self.decay = float(decay)
        self._rounds = 0
        self._average: NamedTensors = {}

    def __call__(
        self, updates: Mapping[str, NamedTensors], weights: Mapping[str, float], global_weights: NamedTensors
    ) -> dict[str, Tensor]:
        """Arguments and result as of :class:`FedAvg`; the average goes on to the next round.

        Raises:
            InputError: as of FedAvg, or the state is of other tensors.
        """
        made = super().__call__(updates, weights, global_weights)
        wide = {
            name: tensor.to(torch.promote_types(tensor.dtype, torch.float32))
            for name, tensor in made.items()
            if tensor.is_floating_point()
        }
        before = self._average or wide
        if fault := misfit(wide, before):
            raise InputError(
                f"aggregator: the run's average is not of the tensors that are exchanged ({fault}); go on with the "
                "bundle and the settings that it was begun with, or start it over with --force"
            )
        self._rounds += 1
        share = max(1 - self.decay, 1 / self._rounds)
        self._average = {name: torch.lerp(before[name], wide[name], share) for name in wide}
        return made

    def deliverable(self, weights: NamedTensors) -> dict[str, Tensor]:
        """The average in place of the last round's weights."""
        return {name: self._average.get(name, tensor).to(tensor.dtype) for name, tensor in weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """Number of rounds and the average; without tensors before the first round."""
        return {"rounds": self._rounds, "average": dict(self._average)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if set(state) != {"rounds", "average"} or not isinstance(state["average"], Mapping):
            raise InputError(foreign_state(self, state))
        self._rounds, self._average = int(state["rounds"]), dict(state["average"])
