"""Aggregators that a minority of odd clients, broken or malicious, cannot spoil."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor

from shared_components.federation.aggregation import NamedTensors, federated_average
from shared_components.federation.aggregators.averaging import FedAvg, check, check_global_layout
from shared_components.federation.robust_aggregation import (
    coordinate_median,
    nearest_clients,
    norm_bounded_mean,
    trimmed_mean,
)
from shared_components.value_rules import number, whole


class EqualWeights(FedAvg):
    """The base of those for which every client counts the same, whatever number of images it says it has."""

    def __call__(
        self, updates: Mapping[str, NamedTensors], weights: Mapping[str, float], global_weights: NamedTensors
    ) -> dict[str, Tensor]:
        """Arguments, result and errors as of :class:`FedAvg`; ``weights`` do not matter."""
        check_global_layout(updates, global_weights)
        return self.middle(updates)

    @abstractmethod
    def middle(self, updates: Mapping[str, NamedTensors]) -> dict[str, Tensor]:
        """What stands for the clients' weights; arguments and result as of :meth:`__call__`."""


class FedMedian(EqualWeights):
    r"""The median over the clients of every element, :math:`w_j = \mathrm{med}\{\theta_{c,j}\}`.

    As long as fewer than half of a round's clients are odd, it lies among the honest ones' values, whatever the others
    send; who always sends the opposite still pulls it a little that way. Every client counts the same, whatever its
    number of images. It learns less than a mean where honest clients differ much, since it follows the one in the
    middle; of two clients it is the mean, which protects from nothing.

    Source: Yin et al. 2018, Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, Algorithm 1.
    Deviation: the median of weights after many local updates, not of gradients; of a round's weights and of their
        differences to the global ones it is the same.
    """

    def middle(self, updates: Mapping[str, NamedTensors]) -> dict[str, Tensor]:
        return coordinate_median(updates)


class TrimmedMean(EqualWeights):
    r"""The mean of every element over the clients without the :math:`\lceil\beta m\rceil` largest and smallest of m.

    It holds as long as no more than that many clients of a round are odd, and uses more of the honest ones than the
    median. Every client counts the same, whatever its number of images. Three clients are the least that it can
    protect: of two nothing is left out.

    Args:
        beta: share of a round's clients that may be odd, from 0 (the mean with equal weights) to 0.5 (the median).
    Raises:
        InputError: beta is something else.
    Source: Yin et al. 2018, Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, Algorithm 1.
    Deviation: rounded up where :math:`\beta m` is not whole; of weights, as :class:`FedMedian`.
    """

    def __init__(self, beta: float = 0.2) -> None:
        check(number(0, 0.5), "beta", beta)
        self.beta = beta

    def middle(self, updates: Mapping[str, NamedTensors]) -> dict[str, Tensor]:
        return trimmed_mean(updates, self.beta)


class NormBounded(FedAvg):
    r"""FedAvg of updates :math:`\theta_c - w` none of which is longer than a bound,
    :math:`(\theta_c - w)\,\min(1, B / \lVert\theta_c - w\rVert)`.

    No client moves the global weights further than its share of the images times the bound. That stops updates that
    are far too large; one of ordinary length in a wrong direction still counts, and so does a number of images that
    a client makes up. Honest clients count by their images, as in FedAvg.

    Args:
        bound: B, in the units of the weights; None: the median of the norms of the round's updates, the lower one
            in the middle.
    Raises:
        InputError: the bound is no number above 0.
    Source: Sun et al. 2019, Can You Really Backdoor Federated Learning? (norm thresholding).
    Deviation: the median as bound, which needs no tuning and shrinks as training converges. The norm takes in the
        statistics of normalisation layers, which move with the weights.
    """

    def __init__(self, bound: float | None = None) -> None:
        if bound is not None:
            check(number(0, sys.float_info.max, above=True), "bound", bound)
        self.bound = bound

    def __call__(
        self, updates: Mapping[str, NamedTensors], weights: Mapping[str, float], global_weights: NamedTensors
    ) -> dict[str, Tensor]:
        """Arguments, result and errors as of :class:`FedAvg`."""
        check_global_layout(updates, global_weights)
        return norm_bounded_mean(updates, weights, global_weights, self.bound)


class MultiKrum(EqualWeights):
    """The mean of the clients whose updates lie nearest to one another, with equal weights; the rest is left out.

    An update of the wrong direction has no influence at all, where a median still follows it a little. So it is the
    one for training to the end beside a client that works against it, as long as the honest ones are alike: a
    hospital of another look is left out as an odd one is. Who copies an honest update with small changes is kept.

    Args:
        odd: clients of a round that may be odd, from 1; never more than a minority of the round is left out.
    Raises:
        InputError: odd is something else.
    Source: Blanchard et al. 2017, Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent.
    Deviation: of weights, as :class:`FedMedian`; also with fewer clients than the 2 odd + 3 of their proof, when at
        least one neighbour counts.
    """

    def __init__(self, odd: int = 1) -> None:
        check(whole(1, 1000), "odd", odd)
        self.odd = odd

    def middle(self, updates: Mapping[str, NamedTensors]) -> dict[str, Tensor]:
        kept = nearest_clients(updates, self.odd)
        return federated_average({client: updates[client] for client in kept}, dict.fromkeys(kept, 1.0))
