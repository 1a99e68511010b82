"""Aggregators that a minority of odd clients, broken or malicious, cannot spoil.

Each is a thin class over a pure function on named tensors, which stands beside it.
"""

from __future__ import annotations

import itertools
import math
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from shared_components.errors import InputError
from shared_components.federation.aggregators.aggregation import (
    PIECE,
    NamedTensors,
    check_finite,
    check_layouts,
    check_same_layout,
    check_weights,
    federated_average,
    flat,
    has_mean,
    l2_norm,
    names_by_dtype,
    unflat,
    wide,
)
from shared_components.federation.aggregators.averaging import FedAvg, check, check_global_layout
from shared_components.value_rules import number, whole


class EqualWeights(FedAvg):
    """The base of those for which every client counts the same, whatever number of images it says it has."""

    majority = True

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
        self.majority = beta > 0

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
        mean = federated_average({client: updates[client] for client in kept}, dict.fromkeys(kept, 1.0))
        switches = [name for name, tensor in mean.items() if tensor.dtype == torch.bool]
        return mean | {n: torch.stack([update[n] for update in updates.values()]).any(0) for n in switches}


def coordinate_median(updates: Mapping[str, NamedTensors]) -> dict[str, Tensor]:
    """The median over the clients of every single element.

    Of an even number of clients it is the mean of the two in the middle, in float64, cast back. Integer buffers, which
    have no mean, take the lower of the two; booleans are set where any client's is. Every client counts the same: a
    number of images is what the client says. One client alone gets its own tensors back bit for bit.

    Args:
        updates: client -> name -> tensor; every client sends the same names, shapes and dtypes.
    Returns:
        name -> tensor, in the order of the first client's names.
    Raises:
        InputError: no client, other names, shapes or dtypes than the first client's, NaN or infinite values, or
            complex ones, which have no order.
    Source: Yin et al. 2018, Definition 1 and Algorithm 1, option I.
    """
    return _mean_of_middle(updates, (len(updates) - 1) // 2)


def trimmed_mean(updates: Mapping[str, NamedTensors], beta: float) -> dict[str, Tensor]:
    r"""The mean of every single element over the clients without the largest and the smallest values.

    Of :math:`m` clients, :math:`k = \lceil\beta m\rceil` values are left out at either end, but never so many that
    fewer than one (of an odd :math:`m`) or two are left, which is the median. Everything else is as of
    :func:`coordinate_median`.

    Args:
        updates: client -> name -> tensor; every client sends the same names, shapes and dtypes.
        beta: share of the clients, from 0 to 0.5.
    Returns:
        name -> tensor, in the order of the first client's names.
    Raises:
        InputError: as of :func:`coordinate_median`.
    Source: Yin et al. 2018, Definition 2 and Algorithm 1, option II.
    Deviation: :math:`\beta m`, a whole number there, is rounded up, so that any share above 0 leaves out one client.
    """
    number = len(updates)
    wanted = math.ceil(round(beta * number, 9))  # 0.1 * 30 is a bit above 3
    return _mean_of_middle(updates, min(wanted, (number - 1) // 2))


def norm_bounded_mean(
    updates: Mapping[str, NamedTensors],
    weights: Mapping[str, float],
    global_weights: NamedTensors,
    bound: float | None = None,
) -> dict[str, Tensor]:
    r"""Mean of updates whose length is limited:
    :math:`w + \sum_c \frac{n_c}{\sum n}\,\min\!\left(1, \frac{B}{\lVert\theta_c - w\rVert}\right)(\theta_c - w)`.

    The norm is that of all floating point and complex elements together. A client within the bound goes in as it is,
    so that with a large bound the result is :func:`federated_average`'s bit for bit. Integer buffers,
    whose change has no length, take the lower median; booleans are set where any client's is.

    Args:
        updates: client -> name -> tensor, :math:`\theta_c`; every client sends the same names, shapes and dtypes.
        weights: client -> :math:`n_c`; at least one above 0.
        global_weights: name -> tensor, :math:`w`, of the same layout.
        bound: :math:`B`; None: the median of the round's norms, of an even number the lower one in the middle.
    Returns:
        name -> tensor, in the order of the first client's names.
    Raises:
        InputError: as of :func:`federated_average`, or another layout than that of ``global_weights``.
    Source: Sun et al. 2019, Can You Really Backdoor Federated Learning? (norm thresholding).
    Deviation: the median as bound is ours; Andrew et al. 2021 follow a quantile of the norms over the rounds.
    """
    clients, first = sorted(updates), check_layouts(updates)
    check_weights(clients, weights)
    check_same_layout(global_weights, first, reference="the global model", found=f"client {clients[0]}")
    _check_all_finite(updates)
    norms = [l2_norm(updates[client], global_weights) for client in clients]
    limit = sorted(norms)[(len(norms) - 1) // 2] if bound is None else bound
    scales = [min(1.0, limit / norm) if norm else 1.0 for norm in norms]
    shares = [weights[client] for client in clients]
    mean: dict[str, Tensor] = {}
    for names in names_by_dtype(first):
        vectors = [flat(updates[client], names) for client in clients]
        if has_mean(vectors[0]):
            start = flat(global_weights, names).split(PIECE)
            pieces = [_bounded(p, w, scales, shares) for p, w in zip(_pieces(vectors), start, strict=True)]
        else:
            pieces = [_middle(rows, (len(rows) - 1) // 2) for rows in _pieces(vectors)]
        mean |= unflat(torch.cat(pieces), first, names)
    return {name: mean[name] for name in first}


def nearest_clients(updates: Mapping[str, NamedTensors], odd: int) -> list[str]:
    r"""The clients whose updates lie nearest to others', all but the ``odd`` farthest; sorted by name.

    A client's score is the sum of the squared distances to its :math:`m - f - 2` nearest others, of :math:`m` clients
    and :math:`f` odd ones, at least one; the highest scores are left out, of equal ones the later name.

    Args:
        updates: client -> name -> tensor; every client sends the same names, shapes and dtypes.
        odd: :math:`f`; never so many that no majority is left, :math:`f \le (m - 1) / 2`.
    Raises:
        InputError: no client, other names, shapes or dtypes than the first client's, NaN or infinite values.
    Source: Blanchard et al. 2017, Machine Learning with Adversaries (Krum, multi-Krum).
    """
    check_layouts(updates)
    _check_all_finite(updates)
    clients = sorted(updates)
    odd = min(odd, (len(clients) - 1) // 2)
    squares = {
        pair: l2_norm(updates[pair[0]], updates[pair[1]]) ** 2 for pair in itertools.combinations(clients, 2)
    }
    scores = {}
    for client in clients:
        distances = sorted(square for pair, square in squares.items() if client in pair)
        scores[client] = math.fsum(distances[: max(len(clients) - odd - 2, 1)])
    return sorted(sorted(clients, key=scores.__getitem__)[: len(clients) - odd])


def _mean_of_middle(updates: Mapping[str, NamedTensors], trimmed: int) -> dict[str, Tensor]:
    """Mean of every element without the ``trimmed`` smallest and largest."""
    first = check_layouts(updates)
    _check_all_finite(updates)
    middle: dict[str, Tensor] = {}
    for names in names_by_dtype(first):
        if first[names[0]].is_complex():
            raise InputError(
                f"'{names[0]}' holds complex numbers, which have no order and so no median; use FedAvg or NormBounded"
            )
        vectors = [flat(updates[client], names) for client in sorted(updates)]
        pieces = [_middle(rows, trimmed) for rows in _pieces(vectors)]
        middle |= unflat(torch.cat(pieces), first, names)
    return {name: middle[name] for name in first}


def _check_all_finite(updates: Mapping[str, NamedTensors]) -> None:
    for client in sorted(updates):
        check_finite(updates[client], f"client {client}")


def _pieces(vectors: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """The same stretch of all vectors at a time, which stays in the processor's cache."""
    return zip(*(vector.split(PIECE) for vector in vectors), strict=True)


def _middle(rows: Sequence[Tensor], trimmed: int) -> Tensor:
    """Mean of the sorted elements without ``trimmed`` at either end; of integers the lower median, of booleans any."""
    if not has_mean(rows[0]):
        chosen = -1 if rows[0].dtype == torch.bool else (len(rows) - 1) // 2
        ordered = _sorted_elements([row.long() for row in rows])  # uint16 has no minimum
        return ordered[chosen].to(rows[0].dtype)
    ordered = _sorted_elements(rows)
    kept = ordered[trimmed : len(rows) - trimmed]
    total = wide(kept[0]).clone()
    for row in kept[1:]:
        total.add_(wide(row))
    return total.div_(len(kept)).to(rows[0].dtype)


def _sorted_elements(rows: Sequence[Tensor]) -> list[Tensor]:
    """Rows in whose columns the elements ascend, by odd-even transposition: for a few clients thirty times as fast
    as ``torch.sort`` over the first axis."""
    rows = list(rows)
    for turn in range(len(rows)):
        for i in range(turn % 2, len(rows) - 1, 2):
            rows[i], rows[i + 1] = torch.minimum(rows[i], rows[i + 1]), torch.maximum(rows[i], rows[i + 1])
    return rows


def _bounded(rows: Sequence[Tensor], start: Tensor, scales: list[float], shares: list[float]) -> Tensor:
    """The weighted mean of rows that are drawn towards ``start`` where their scale is below 1."""
    origin = wide(start)
    drawn = [
        wide(row) if scale == 1.0 else torch.lerp(origin, wide(row), scale)
        for row, scale in zip(rows, scales, strict=True)
    ]
    total = drawn[0] * shares[0]
    for row, share in zip(drawn[1:], shares[1:], strict=True):
        total.add_(row, alpha=share)
    return total.div_(math.fsum(shares)).to(start.dtype)
