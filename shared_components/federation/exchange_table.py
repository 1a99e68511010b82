"""What a client and the coordinator exchange in a round, and who sees it, in words, before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from shared_components.federation.bundle_workflow import Layout
from shared_components.federation.coordinator import drawn_clients
from shared_components.federation.exchange import DIFFERENCES, Exchange
from shared_components.federation.federation import Federation
from shared_components.federation.privacy import Privacy
from shared_components.files import size

LISTED = 6  # private modules that are named one by one
CONDITION = "condition.linear.weight"  # of which each domain has a column
LITTLE = 10  # an epsilon above this promises little
HEAD = ("module", "tensors", "numbers", "up", "down")


def exchange_table(federation: Federation, layout: Layout) -> str:
    """What is exchanged, as a table of modules, and what stays.

    Args:
        federation: the federation.
        layout: of the first client's network; every client's is the same.
    Returns:
        Several lines.
    Raises:
        InputError: noise is to be added and its accountant is not installed.
    """
    lines = ["what each client and the coordinator exchange in a round:"]
    lines += _aligned([HEAD, *_modules(layout.shared, federation.exchange)])
    lines += (f"  {line}" for line in _sentences(federation, layout))
    return "\n".join(lines)


def exchange_faults(federation: Federation, layout: Layout) -> list[str]:
    """What would go wrong with these tensors, a line each."""
    noisy = federation.privacy is not None and federation.privacy.noise
    return [*(_noise_faults(layout.shared) if noisy else ()), *_minority_faults(federation, layout.shared)]


def _noise_faults(shared: Mapping[str, Tensor]) -> Iterator[str]:
    """Of tensors that are no weights, and that noise spoils."""
    variances = [name for name in shared if name.split(".")[-1] == "running_var"]
    if variances:
        yield (
            f"privacy: noise can make the running variances of batch norm negative ('{variances[0]}' and "
            f"{len(variances) - 1} more are exchanged); keep norms at the clients (aggregator FedBN), or use norms "
            "without running statistics"
        )
    encodings = next((name for name in shared if name.split(".")[-1] == "encodings"), None)
    if encodings:
        yield (
            f"privacy: noise drowns the semantic encodings of the domains ('{encodings}' is exchanged), of which the "
            "condition would then be made; refine without noise, or set overrides: semantic_condition: 0"
        )


def _minority_faults(federation: Federation, shared: Mapping[str, Tensor]) -> Iterator[str]:
    """Of domains that too few clients have for an aggregator that follows the majority, in a conditional network."""
    aggregator = federation.make_aggregator()
    if not aggregator.majority or not any(name.endswith(CONDITION) for name in shared):
        return
    clients = federation.clients
    having = {d: sum(d in client.domains for client in clients.values()) for d in federation.domains}
    few = [domain for domain, number in having.items() if 0 < 2 * number <= len(clients)]
    if few:
        yield (
            f"aggregator: {type(aggregator).__name__} leaves out what no majority of the clients trains, so the look "
            f"of {few[0]}, which {having[few[0]]} of {len(clients)} clients have, would never be learnt; take "
            "NormBounded, which bounds every client, or FedAvg"
        )


def rounds_of_clients(federation: Federation) -> dict[str, int]:
    """Client to the number of rounds for which it is drawn, if none fails."""
    names, number = list(federation.clients), federation.clients_per_round
    rounds = dict.fromkeys(names, federation.rounds if number == len(names) else 0)
    if number < len(names):
        for round in range(1, federation.rounds + 1):
            for name in drawn_clients(names, number, federation.seed, round):
                rounds[name] += 1
    return rounds


def _modules(shared: Mapping[str, Tensor], exchange: Exchange) -> Iterator[tuple[str, ...]]:
    """A row for each module of the network, and one for all."""
    depth = 1 if len({name.split(".")[0] for name in shared}) > 1 else 2
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in shared.items():
        modules.setdefault(".".join(name.split(".")[:depth]), {})[name] = tensor
    for module, tensors in [*modules.items(), *([("all", shared)] if len(modules) > 1 else [])]:
        up, down = (_types(tensors, kind) for kind in (exchange.up_type, exchange.down_type))
        yield (
            module,
            str(len(tensors)),
            f"{sum(tensor.numel() for tensor in tensors.values()):,}",
            f"{size(exchange.bytes_up(tensors))} {up}",
            f"{size(exchange.bytes_down(tensors))} {down}",
        )


def _types(tensors: Mapping[str, Tensor], travels) -> str:
    """The types in which tensors travel, the commonest first."""
    counts: dict[torch.dtype, int] = {}
    for tensor in tensors.values():
        dtype = travels(tensor.dtype)
        counts[dtype] = counts.get(dtype, 0) + tensor.numel()
    return "+".join(str(dtype).removeprefix("torch.") for dtype in sorted(counts, key=lambda d: -counts[d]))


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for name, *cells in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield f"  {name.ljust(widths[0])}  {'  '.join(numbers)}"


def _sentences(federation: Federation, layout: Layout) -> Iterator[str]:
    privacy, exchange = federation.privacy, federation.exchange
    up = "how far its weights moved" if exchange.what == DIFFERENCES else "its weights"
    yield f"up, {up}: seen by the coordinator; down, the global weights: seen by every client"
    losses = "" if privacy is not None and not privacy.losses else ", its losses"
    yield f"beside them: the number of its training images, the seconds it took{losses}"
    yield f"stays at the client: {_private(layout)}optimisers, random state, images, labels"
    yield from _protection(federation, privacy)


def _private(layout: Layout) -> str:
    """Private modules by name, each by the shortest that holds no shared tensor."""
    shared = {prefix for name in layout.shared for prefix in _prefixes(name)}
    modules = dict.fromkeys(
        next(prefix for prefix in _prefixes(name) if prefix not in shared) for name in layout.private
    )
    named = list(modules)[: LISTED if len(modules) > LISTED + 1 else None]
    more = [f"{len(modules) - len(named)} modules more"] if len(named) < len(modules) else []
    return "".join(f"{name}, " for name in [*named, *more])


def _prefixes(name: str) -> list[str]:
    """``a``, ``a.b`` and ``a.b.c`` of ``a.b.c``."""
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _protection(federation: Federation, privacy: Privacy | None) -> Iterator[str]:
    if privacy is None:
        yield "without clipping or noise (section privacy): an update can tell something about the images behind it"
        return
    yield f"each update is clipped to an L2 norm of {privacy.clip:g} over all its floating tensors"
    if not privacy.noise:
        yield "without noise (noise: 0) that limits what one client can do and promises no privacy: no epsilon"
        return
    yield f"and gets noise of standard deviation {privacy.noise * privacy.clip:g} on every number"
    yield _epsilons(federation, privacy)


def _epsilons(federation: Federation, privacy: Privacy) -> str:
    rounds = sorted(rounds_of_clients(federation).values())
    epsilons = [privacy.spent(number) for number in (rounds[0], rounds[-1])]
    all_rounds = rounds[0] == federation.rounds
    drawn = "in all" if all_rounds else f"drawn for {rounds[0]} to {rounds[-1]}"
    stands_in = "" if all_rounds else "; more for one that also trains in the place of others that fail"
    shown = " to ".join(dict.fromkeys(f"{epsilon:.3g}" for epsilon in epsilons))
    little = "; above about 10 that promises little" if epsilons[-1] > LITTLE else ""
    return (
        f"epsilon {shown} at delta {privacy.delta:g} for a client {drawn} of {federation.rounds} rounds, its data "
        f"against any other{stands_in}{little}"
    )
