"""How a coordinator reaches the clients, the interface that every engine implements; what a whole round leaves."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from shared_components.errors import InputError
from shared_components.files import load_tensors, make_folder, write_text

ERROR_FILE = "error.txt"
CURE = "the run is whole up to its last round: mend it and go on with --resume"


@dataclass(frozen=True)
class Answer:
    """What a client gave back.

    Attributes:
        values: numbers by name; of a round ``images``, ``seconds`` and the metrics.
        tensors: of a round the update, as it travelled.
        failure: why there is nothing else, in one line; None if all went well.
        more: the file with the stack trace, if there is one.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    failure: str | None = None
    more: str = ""

    @property
    def told(self) -> str:
        """The failure, and where there is more about it."""
        return f"{self.failure} (more in {self.more})" if self.more else str(self.failure)


class Sites(ABC):
    """The clients of a federation, wherever they are.

    Every method asks several clients at once and waits for all of them. Whatever happens to one client (it raises,
    dies, is too slow) is that client's ``failure``; what is raised ends the run.
    """

    @abstractmethod
    def build(self, states: Mapping[str, int]) -> dict[str, Answer]:
        """Let clients build what they train, each in its state after a round; ``images`` in ``values``.

        Args:
            states: client to the round of its state; 0: as it begins.
        """

    @abstractmethod
    def initial_weights(self, client: str) -> Answer:
        """The exchanged tensors of a client that has just been built."""

    @abstractmethod
    def train(self, round: int, before: Committed, drawn: Sequence[str]) -> dict[str, Answer]:
        """Let clients train a round from the global weights and states of ``before``, which is committed."""

    @abstractmethod
    def remembered(self, round: int, clients: Sequence[str]) -> None:
        """Wait until the clients' states after ``round`` are written, where they have not been when they answered.

        Raises:
            InputError: one cannot be.
        """

    @abstractmethod
    def export(self, committed: Committed, clients: Sequence[str]) -> dict[str, Answer]:
        """Let clients write the bundle's deliverable from the global weights."""


def note_failure(folder: Path, error: BaseException) -> str:
    """Write what went wrong, with the stack trace, to ``error.txt`` in a folder that does not leave the site.

    Returns:
        The file; empty where none can be written, as on a full disk.
    """
    try:
        text = "".join(traceback.format_exception(error))
        return str(write_text(make_folder(folder) / ERROR_FILE, text))
    except InputError:
        return ""


def refuse_failures(answers: Mapping[str, Answer], doing: str) -> None:
    """Raise if a client failed where none may.

    Raises:
        InputError: naming the first such client and the cause.
    """
    for client, answer in answers.items():
        if answer.failure is not None:
            raise InputError(f"client {client}, {doing}: {answer.told}; {CURE}")


@dataclass(frozen=True)
class Committed:
    """A whole round.

    Attributes:
        round: its number; 0 before the first.
        weights: the global weights after it, name to tensor.
        states: client to the round after which it has the state that goes with them; 0: as it began.
        aggregator: state of the aggregator, if it has one.
    """

    round: int
    weights: dict[str, Tensor]
    states: dict[str, int]
    aggregator: Mapping[str, Any] = field(default_factory=dict)


def read_committed(file: Path, cure: str) -> Committed:
    """What :meth:`RunFolder.commit` wrote.

    Args:
        file: with the global model of a round.
        cure: what to do about a damaged one, in words that follow a semicolon.
    Raises:
        InputError: it is missing, damaged or holds something else.
    """
    if not file.is_file():
        raise InputError(f"{file}: expected the last whole round, found no file; {cure}")
    content = load_tensors(file, cure=cure)
    if not {"round", "model", "states"} <= set(content):
        raise InputError(f"{file}: expected the last whole round, found other tensors; {cure}")
    return Committed(content["round"], content["model"], content["states"], content.get("aggregator", {}))
