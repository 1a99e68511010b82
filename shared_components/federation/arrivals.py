"""What clients answered after a round, as far as it can be used: from the wire to weights and numbers.

Of what arrived, those updates count that have the right form, are finite and not absurdly large.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from torch import Tensor

from shared_components.errors import InputError, shown
from shared_components.federation.aggregators.aggregation import (
    NamedTensors,
    check_finite,
    check_same_layout,
    l2_norm,
)
from shared_components.federation.federation import Federation
from shared_components.federation.privacy import Privacy
from shared_components.federation.rounds_log import FIXED
from shared_components.federation.sites import Answer

RELEASED = "released"  # how many protected updates have left a client
EXPECTED = ("images", "seconds")  # values that every answer has
COORDINATORS = frozenset(FIXED) - {*EXPECTED, RELEASED}  # columns of rounds.csv that no client fills
MOST_IMAGES = 10**9  # of a client; whoever claims more would be all of the mean
LONGEST_NAME = 100  # letters, of a metric
MOST_METRICS = 50  # of an answer; each becomes a column of rounds.csv and a panel of the report


def arrived(
    answers: Mapping[str, Answer], federation: Federation, global_weights: NamedTensors
) -> tuple[dict[str, dict[str, Tensor]], dict[str, str]]:
    """The clients' updates as weights, and why some cannot be used.

    Args:
        answers: client -> what it gave back, tensors as they travelled.
        federation: says what travels.
        global_weights: name -> tensor, what the round began with.
    Returns:
        Client -> name -> tensor, its weights after the round; and client -> reason, in one line, for the others.
    """
    updates: dict[str, dict[str, Tensor]] = {}
    refused: dict[str, str] = {}
    for client, answer in answers.items():
        fault = answer.failure or _values_fault(answer.values, federation.privacy)
        if fault is None:
            try:
                updates[client] = federation.exchange.incoming(answer.tensors, global_weights, client)
            except InputError as error:
                fault = str(error).removeprefix(f"client {client}: ")
        if fault is not None:
            refused[client] = fault
    return updates, refused


def client_row(
    federation: Federation,
    number: int,
    name: str,
    answer: Answer,
    global_weights: NamedTensors,
    left_out: str | None = None,
    seconds: float = 0.0,
    norm: float | None = None,
    before: float = 0.0,
) -> dict[str, Any]:
    """A client's row of ``rounds.csv``; bytes are those of the tensors as they travelled.

    Args:
        federation: says what travels.
        number: of the round.
        name: of the client.
        answer: what it gave back.
        global_weights: name -> tensor, what the round began with.
        left_out: why its update does not count, though it may have left the client; None: it counts.
        seconds: of the round, for a client that is left out.
        norm: of its update, for one that counts.
        before: what the client had spent when the run began, see ``spending.py``.
    """
    if left_out is not None:
        answer = Answer({"images": 0, "seconds": seconds, RELEASED: answer.values.get(RELEASED)})
    return {
        "round": number,
        "client": name,
        "images": answer.values["images"],
        "seconds": round(answer.values["seconds"], 3),
        "bytes_up": sum(tensor.nbytes for tensor in answer.tensors.values()),
        "bytes_down": federation.exchange.bytes_down(global_weights),
        **({} if norm is None else {"update_norm": float(f"{norm:.6g}")}),
        **({} if left_out is None else {"left_out": " ".join(left_out.split())}),
        **_spent(answer, federation.privacy, before),
        **{k: v for k, v in answer.values.items() if k not in (*EXPECTED, RELEASED)},
    }


def _values_fault(values: Mapping[str, Any], privacy: Privacy | None) -> str | None:
    """What is wrong with the numbers of an answer; whoever sends one may send anything."""
    for name in EXPECTED:
        if name not in values:
            return f"expected its '{name}', found none"
    metrics = len(values.keys() - {*EXPECTED, RELEASED})
    if metrics > MOST_METRICS:
        return f"expected at most {MOST_METRICS} metrics, found {metrics}; let its training tell fewer"
    for name, value in values.items():
        if name in COORDINATORS or not _is_column(name):
            return f"expected a name of a column of its own for its metric, found {shown(name)}; call it otherwise"
        if isinstance(value, bool) or not isinstance(value, int | float) or _is_beyond_float(value):
            return f"expected a number as its '{name}', found {shown(value)}"
    images, seconds = (values[name] for name in EXPECTED)
    if not 0 <= images <= MOST_IMAGES:
        return f"expected its number of images, from 0 to {MOST_IMAGES:g}, found {shown(images)}"
    if not (math.isfinite(seconds) and seconds >= 0):
        return f"expected a number from 0 up as its 'seconds', found {shown(seconds)}"
    if privacy is not None and privacy.noise and not _counts(values.get(RELEASED)):
        return "expected the number of updates that have left it, by which its epsilon is counted, found none"
    return None


def _is_column(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()


def _is_beyond_float(value: float) -> bool:
    return isinstance(value, int) and abs(value) > sys.float_info.max


def _counts(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _spent(answer: Answer, privacy: Privacy | None, before: float) -> dict[str, float]:
    """How many of the client's updates have left it so far, and its epsilon in all, where they have noise."""
    released = answer.values.get(RELEASED)
    if privacy is None or not privacy.noise or not _counts(released):
        return {}
    return {"released": released, "epsilon": float(f"{privacy.spent(released, before):.6g}")}


def screen(
    updates: Mapping[str, NamedTensors],
    global_weights: NamedTensors,
    largest: float | None,
    earlier: Sequence[float] = (),
) -> tuple[dict[str, str], dict[str, float]]:
    """Why updates are left out of their round, and how large the others are.

    Args:
        updates: client -> name -> tensor, the clients' weights after the round.
        global_weights: name -> tensor, what the round began with; the layout that all must have.
        largest: an update whose difference from the global weights has a norm of more than so many times the
            median of the round's is left out; None: none is. Of an even number of updates the lower median counts;
            those that changed nothing do not.
        earlier: norms of updates that counted in earlier rounds; one that is alone in its round is measured by these.
    Returns:
        Client to the reason, in one line, for those that do not count; and client to norm for those that do.
    """
    refused: dict[str, str] = {}
    norms: dict[str, float] = {}
    for client in sorted(updates):
        try:
            check_same_layout(
                global_weights, updates[client], reference="the global model", found=f"client {client}"
            )
            check_finite(updates[client], "its update")
        except InputError as error:
            refused[client] = str(error).removeprefix(f"client {client}: ")
        else:
            norms[client] = l2_norm(updates[client], global_weights)
    compared, whose = sorted(filter(None, norms.values())), "round"
    if len(compared) == 1 and any(earlier):
        compared, whose = sorted([*compared, *filter(None, earlier)]), "run"
    if largest is None or not compared:
        return refused, norms
    median = compared[(len(compared) - 1) // 2]
    for client, norm in list(norms.items()):
        if norm > largest * median:
            del norms[client]
            refused[client] = (
                f"its update is {norm / median:.3g} times as large as the {whose}'s median update, "
                f"more than largest_update ({largest:g}); its training diverged or it was tampered with"
            )
    return refused, norms
