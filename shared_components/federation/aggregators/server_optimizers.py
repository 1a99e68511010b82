"""Aggregators with a state at the server: optimisers that follow the clients' mean change, and a moving average."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from shared_components.errors import InputError, shown
from shared_components.federation.aggregators.aggregation import NamedTensors
from shared_components.federation.aggregators.averaging import FedAvg, check, foreign_state, over_movers
from shared_components.tensors import misfit
from shared_components.value_rules import Rule, flag, number

STATISTICS = ("running_mean", "running_var")  # of normalisation layers
POSITIVE = number(0, sys.float_info.max, above=True)
DECAY = Rule("a number from 0 up, below 1", lambda value: number(0, 1).fits(value) and value < 1)
MODULES = Rule(
    "a list of names of modules",
    lambda value: isinstance(value, list | tuple) and all(isinstance(name, str) and name for name in value),
)


class ServerOptimizer(FedAvg):
    r"""FedAvg whose mean change :math:`\Delta = \sum_c \frac{n_c}{\sum n}\,\theta_c - w` an optimiser follows.

    It moves every floating point tensor but the running statistics of normalisation layers, which a step beyond the
    mean can make negative; these, all other buffers that are no floats, and the modules in ``averaged`` become what
    FedAvg makes of them. The state is one tensor for each moment and each tensor that moves, in float32 or wider;
    the arithmetic is in float64.

    Args:
        learning_rate: of the server.
        averaged: modules that are averaged as in FedAvg: copies that a bundle itself averages, such as the factory's
            ``generator_ema``, the adaptation bundle's ``average`` and the segmentation bundle's ``averaged_encoder``.
        submodel: the mean change of each element is over the clients that moved it, as in :class:`FedSubAvg`.
    Raises:
        InputError: an argument is not what it may be.
    """

    moments: tuple[str, ...] = ()  # their names in the state

    def __init__(self, learning_rate: float, averaged: Sequence[str], submodel: bool = False) -> None:
        check(POSITIVE, "learning_rate", learning_rate)
        check(flag(), "submodel", submodel)
        self.submodel = submodel
        check(MODULES, "averaged", averaged)
        self.learning_rate, self.averaged = learning_rate, tuple(averaged)
        self._state: dict[str, dict[str, Tensor]] = {moment: {} for moment in self.moments}

    def __call__(
        self, updates: Mapping[str, NamedTensors], weights: Mapping[str, float], global_weights: NamedTensors
    ) -> dict[str, Tensor]:
        """Arguments and result as of :class:`FedAvg`; the state goes on to the next round.

        Raises:
            InputError: as of FedAvg, a module in ``averaged`` is not exchanged, or the state is of other tensors.
        """
        made = super().__call__(updates, weights, global_weights)
        if self.submodel:
            made = over_movers(made, updates, weights, global_weights)
        state = self._state_for(self._moving(global_weights))
        after: dict[str, dict[str, Tensor]] = {moment: {} for moment in self.moments}
        for name in state[self.moments[0]]:
            old = [state[moment][name] for moment in self.moments]
            mean, start = made[name].double(), global_weights[name].double()
            value, *new = self.step(mean, start, *(tensor.double() for tensor in old))
            made[name] = value.to(made[name].dtype)
            for moment, tensor in zip(self.moments, new, strict=True):
                after[moment][name] = tensor.to(old[0].dtype)
        self._state = after
        return made

    @abstractmethod
    def step(self, mean: Tensor, start: Tensor, *moments: Tensor) -> tuple[Tensor, ...]:
        """One tensor's new value and new moments, all float64.

        Args:
            mean: of the clients.
            start: what the round began with.
            moments: in the order of the class's.
        """

    def fresh_moment(self, moment: str, like: Tensor) -> Tensor:
        """A moment before the first round."""
        return torch.zeros_like(like)

    def state_dict(self) -> dict[str, Any]:
        """Moment -> name -> tensor; before the first round without any tensor."""
        return {moment: dict(tensors) for moment, tensors in self._state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if set(state) != set(self.moments) or not all(isinstance(part, Mapping) for part in state.values()):
            raise InputError(foreign_state(self, state))
        self._state = {moment: dict(state[moment]) for moment in self.moments}

    def _moving(self, tensors: NamedTensors) -> NamedTensors:
        """Those that the optimiser moves, in the dtype of their moments."""
        averaged: set[str] = set()
        for module in self.averaged:
            found = {name for name in tensors if name == module or name.startswith(f"{module}.")}
            if not found:
                raise InputError(
                    f"aggregator: averaged names {shown(module)}, of which no tensor is exchanged; "
                    f"modules that are: {', '.join(sorted({name.partition('.')[0] for name in tensors}))}"
                )
            averaged |= found
        return {
            name: tensor.to(torch.promote_types(tensor.dtype, torch.float32))
            for name, tensor in tensors.items()
            if tensor.is_floating_point() and name not in averaged and name.split(".")[-1] not in STATISTICS
        }

    def _state_for(self, moving: NamedTensors) -> dict[str, dict[str, Tensor]]:
        """The state, begun if this is the first round."""
        if not any(self._state.values()):
            return {
                moment: {name: self.fresh_moment(moment, tensor) for name, tensor in moving.items()}
                for moment in self.moments
            }
        for moment in self.moments:
            fault = misfit(moving, self._state[moment])
            if fault:
                raise InputError(
                    f"aggregator: the run's state, {moment}, is not of the tensors that are exchanged ({fault}); "
                    "go on with the bundle and the settings that it was begun with, or start it over with --force"
                )
        return self._state


class FedAvgM(ServerOptimizer):
    r"""FedAvg with momentum at the server: :math:`v \leftarrow \beta v + \Delta`, :math:`w \leftarrow w + \eta v`.

    It damps the swing between rounds in which other clients are drawn, or clients differ much. With momentum 0 and
    learning rate 1 it is FedAvg. Momentum 0.9 moves ten times as far in the long run: begin with a learning rate of
    0.1 to 1.

    Args:
        momentum: :math:`\beta`, below 1; 0.7 to 0.997 in the paper.
        learning_rate: :math:`\eta`, of the server; the paper's is 1.
        averaged, submodel: see :class:`ServerOptimizer`.
    Raises:
        InputError: an argument is not what it may be.
    Source: Hsu et al. 2019, Measuring the Effects of Non-Identical Data Distribution for Federated Visual
        Classification; the learning rate as in Reddi et al. 2021.
    """

    moments = ("velocity",)

    def __init__(
        self,
        momentum: float = 0.9,
        learning_rate: float = 1.0,
        averaged: Sequence[str] = (),
        submodel: bool = False,
    ) -> None:
        super().__init__(learning_rate, averaged, submodel)
        check(DECAY, "momentum", momentum)
        self.momentum = momentum

    def step(self, mean: Tensor, start: Tensor, *moments: Tensor) -> tuple[Tensor, ...]:
        kept, change = self.momentum * moments[0], mean - start
        # w + eta v, written so that eta = 1 without momentum leaves the mean as it is
        value = mean + (self.learning_rate - 1) * change + self.learning_rate * kept
        return value, kept + change


class FedAdam(ServerOptimizer):
    r"""Adam at the server: :math:`m \leftarrow \beta_1 m + (1-\beta_1)\Delta`,
    :math:`v \leftarrow \beta_2 v + (1-\beta_2)\Delta^2`, :math:`w \leftarrow w + \eta\,m / (\sqrt{v} + \tau)`.

    Every element moves about as far, which helps where some layers' changes are far smaller than others'. Without
    correction of the moments' start, as in the paper; v begins at :math:`\tau^2`.

    Args:
        learning_rate: :math:`\eta`, of the server; 0.001 to 0.1 in the paper.
        beta1: decay of the mean of the changes, below 1.
        beta2: decay of the mean of their squares, below 1.
        tau: how adaptive: far above the changes, it is FedAvg with momentum.
        averaged, submodel: see :class:`ServerOptimizer`.
    Raises:
        InputError: an argument is not what it may be.
    Source: Reddi et al. 2021, Adaptive Federated Optimization, Algorithm 2.
    Deviation: the mean change is weighted by the clients' images, as FedAvg's.
    """

    moments = ("first", "second")

    def __init__(
        self,
        learning_rate: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.99,
        tau: float = 1e-3,
        averaged: Sequence[str] = (),
        submodel: bool = False,
    ) -> None:
        super().__init__(learning_rate, averaged, submodel)
        check(DECAY, "beta1", beta1)
        check(DECAY, "beta2", beta2)
        check(POSITIVE, "tau", tau)
        self.beta1, self.beta2, self.tau = beta1, beta2, tau

    def fresh_moment(self, moment: str, like: Tensor) -> Tensor:
        return torch.full_like(like, 0.0 if moment == "first" else self.tau**2)

    def step(self, mean: Tensor, start: Tensor, *moments: Tensor) -> tuple[Tensor, ...]:
        change = mean - start
        first = self.beta1 * moments[0] + (1 - self.beta1) * change
        second = self.beta2 * moments[1] + (1 - self.beta2) * change.square()
        return start + self.learning_rate * first / (second.sqrt() + self.tau), first, second


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
