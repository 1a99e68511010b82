"""How clients' updates become one, and how long they are: pure functions on named tensors, apart from any transport."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from shared_components.errors import InputError
from shared_components.tensors import not_finite

NamedTensors = Mapping[str, Tensor]
PIECE = 2**16  # elements of a vector that are averaged at once
SUMMED = 2**14  # elements that torch sums in one thread, so that norms do not depend on how many it has


def federated_average(updates: Mapping[str, NamedTensors], weights: Mapping[str, float]) -> dict[str, Tensor]:
    r"""Weighted mean :math:`\sum_c n_c\,\theta_c \,/\, \sum_c n_c` of every named tensor.

    Clients are summed in the order of their names, in float64, and the mean is cast back, so the result does
    not depend on who answered first and one client alone gets its own tensors back bit for bit. Integer and
    boolean buffers (such as batch norm's counters) have no mean: they take the maximum.

    Args:
        updates: client -> name -> tensor; every client sends the same names, shapes and dtypes.
        weights: client -> n_c, such as its number of training images; at least one above 0.
    Returns:
        name -> tensor, in the order of the first client's names.
    Raises:
        InputError: no client, other clients in ``weights``, a weight that is negative or not finite, only
            zero weights, other names, shapes or dtypes than the first client's, NaN or infinite values.
    Source: McMahan et al. 2017, Algorithm 1.
    """
    clients, first = sorted(updates), check_layouts(updates)
    check_weights(clients, weights)
    shares = [weights[client] for client in clients]
    mean: dict[str, Tensor] = {}
    for names in names_by_dtype(first):
        vectors = [flat(updates[client], names) for client in clients]
        vector, finite = _mean(vectors, shares)
        if not finite:
            for client in clients:
                check_finite(updates[client], f"client {client}")
        mean |= unflat(vector, first, names)
    return {name: mean[name] for name in first}


def to_blocks(tensors: NamedTensors) -> dict[str, Any]:
    """Named tensors as one vector for each dtype, on the CPU, with names and shapes as JSON.

    A file of these few vectors is read ten times faster than one of many named tensors.
    """
    groups = names_by_dtype(tensors)
    layout = [[[name, list(tensors[name].shape)] for name in names] for names in groups]
    return {"layout": json.dumps(layout), "blocks": [flat(tensors, names).cpu() for names in groups]}


def from_blocks(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The named tensors of :func:`to_blocks`, as views of its vectors, sorted by dtype."""
    tensors: dict[str, Tensor] = {}
    for vector, layout in zip(content["blocks"], json.loads(content["layout"]), strict=True):
        parts = vector.split([math.prod(shape) for _, shape in layout])
        tensors |= {name: part.view(shape) for (name, shape), part in zip(layout, parts, strict=True)}
    return tensors


def check_same_layout(expected: NamedTensors, tensors: NamedTensors, reference: str, found: str) -> None:
    """Refuse ``tensors`` whose names, shapes or dtypes differ from ``expected``.

    Args:
        expected: name -> tensor.
        tensors: name -> tensor.
        reference: whose ``expected`` is, for the message.
        found: whose ``tensors`` are, at the start of the message.
    Raises:
        InputError: naming the first difference.
    """
    cure = "all clients must run the same bundle with the same settings"
    for name in [*expected, *tensors]:
        if name not in tensors:
            raise InputError(f"{found}: '{name}' is missing, which {reference} has; {cure}")
        if name not in expected:
            raise InputError(f"{found}: sent '{name}', which {reference} lacks; {cure}")
        here, there = tensors[name], expected[name]
        odd = _no_plain_tensor(here)
        if odd:
            raise InputError(f"{found}: '{name}' is {odd}, expected a tensor as in {reference}; {cure}")
        if here.shape != there.shape or here.dtype != there.dtype:
            raise InputError(
                f"{found}: '{name}' is {tuple(here.shape)} {here.dtype}, expected "
                f"{tuple(there.shape)} {there.dtype} as in {reference}; {cure}"
            )


def check_finite(tensors: NamedTensors, whose: str) -> None:
    """Refuse NaN and infinite values, which would spoil every other client's work.

    Args:
        tensors: name -> tensor.
        whose: for the message.
    Raises:
        InputError: naming whose they are and the first tensor at fault.
    """
    bad = not_finite(tensors)
    if bad:
        raise InputError(
            f"{whose}: '{bad}' holds NaN or infinite values; training diverged or the file is "
            "damaged: lower the learning rate or look at its images"
        )


def _no_plain_tensor(value: Any) -> str | None:
    """What ``value`` is, if it is no dense tensor; whoever sends an update may send anything."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.is_meta:
        return "a tensor without values"
    return None if value.layout == torch.strided else "a sparse tensor"


def check_layouts(updates: Mapping[str, NamedTensors]) -> NamedTensors:
    """The first client's tensors, whose layout all have; clients in the order of their names.

    Raises:
        InputError: there is no client, or one has other names, shapes or dtypes than the first.
    """
    clients = sorted(updates)
    if not clients:
        raise InputError("expected updates of at least one client, found none")
    for client in clients:
        check_same_layout(
            updates[clients[0]], updates[client], reference=f"client {clients[0]}", found=f"client {client}"
        )
    return updates[clients[0]]


def check_weights(clients: list[str], weights: Mapping[str, float]) -> None:
    """Refuse weights that are no mean's.

    Raises:
        InputError: other clients in ``weights``, a weight that is negative or not finite, or only zeros.
    """
    if sorted(weights) != clients:
        raise InputError(f"expected a weight for each of {clients}, found weights of {sorted(weights)}")
    for client in clients:
        if not (math.isfinite(weights[client]) and weights[client] >= 0):
            raise InputError(
                f"client {client}: its weight must be a number from 0 up, found {weights[client]}"
            )
    if not any(weights[client] for client in clients):
        raise InputError(f"all weights of {clients} are 0; at least one client must have training images")


def names_by_dtype(tensors: NamedTensors) -> list[list[str]]:
    """Names of the tensors of each dtype, in the order in which they come."""
    groups: dict[torch.dtype, list[str]] = {}
    for name, tensor in tensors.items():
        groups.setdefault(tensor.dtype, []).append(name)
    return list(groups.values())


def flat(tensors: NamedTensors, names: list[str]) -> Tensor:
    """One vector (a copy) of the elements of all ``names``, which are of one dtype."""
    return torch.cat([tensors[name].detach().reshape(-1) for name in names])


def unflat(vector: Tensor, like: NamedTensors, names: list[str]) -> dict[str, Tensor]:
    """Views of ``vector`` with the shapes of ``names`` in ``like``."""
    parts = vector.split([like[name].numel() for name in names])
    return {name: part.view(like[name].shape) for name, part in zip(names, parts, strict=True)}


def _mean(vectors: list[Tensor], weights: list[float]) -> tuple[Tensor, bool]:
    """Mean of the vectors and whether all is finite; in pieces that stay in the processor's cache."""
    if not has_mean(vectors[0]):
        return torch.stack(vectors).to(torch.int64).amax(dim=0).to(
            vectors[0].dtype
        ), True  # uint16 has no amax
    wide = torch.complex128 if vectors[0].is_complex() else torch.float64
    total, means, finite = math.fsum(weights), [], True
    for pieces in zip(*(vector.split(PIECE) for vector in vectors), strict=True):
        mean = pieces[0].to(wide).mul_(weights[0])
        for piece, weight in zip(pieces[1:], weights[1:], strict=True):
            mean.add_(piece.to(wide), alpha=weight)
        finite = finite and bool(torch.isfinite(mean.sum()))  # one bad value spoils the sum
        means.append(mean.div_(total).to(vectors[0].dtype))
    return torch.cat(means), finite


def l2_norm(tensors: NamedTensors, reference: NamedTensors | None = None) -> float:
    """Euclidean norm of all floating point and complex elements together, in float64.

    Args:
        tensors: name -> tensor; integers and booleans, whose change has no length, do not count.
        reference: name -> tensor, of the same layout: the norm is that of the difference; None: of the tensors.
    """
    squares = []
    for name in sorted(tensors):
        if has_mean(tensors[name]):
            squares += _squares(tensors[name], None if reference is None else reference[name])
    return math.sqrt(math.fsum(squares))


def has_mean(tensor: Tensor) -> bool:
    """Whether it is of floating point or complex numbers."""
    return tensor.is_floating_point() or tensor.is_complex()


def wide(tensor: Tensor) -> Tensor:
    """The tensor in float64, or complex128."""
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def _squares(tensor: Tensor, reference: Tensor | None) -> list[float]:
    """The sum of squares of each stretch of a tensor, less another."""
    pieces = map(wide, _stretches(tensor))  # one at a time, which stays in the processor's cache
    if reference is not None:
        pieces = map(torch.sub, pieces, map(wide, _stretches(reference)))
    return [piece.abs().square().sum().item() for piece in pieces]


def _stretches(tensor: Tensor) -> tuple[Tensor, ...]:
    return tensor.detach().reshape(-1).split(SUMMED)
