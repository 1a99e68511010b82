"""The clients of a federation, each at its own site, as a job's controller reaches them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.asking import Asking
from shared_components.federation.nvflare.message import Message, numbers
from shared_components.federation.sites import Answer, Committed, Sites
from shared_components.files import load_tensors, remove_files, write_atomically


class NvflareSites(Sites):
    """Clients that a controller asks. A site writes its state before it answers.

    Args:
        federation: whose clients they are; nothing of their data is known here.
        asking: reaches them.
        tasks: what the names of the tasks begin with, where a job's sites train more than its own federation.
        values: what they are told with each task.
    """

    def __init__(
        self, federation: Federation, asking: Asking, tasks: str = "", values: Mapping[str, Any] | None = None
    ) -> None:
        self._federation, self._asking = federation, asking
        self._tasks, self._values = tasks, dict(values or {})

    def build(self, states: Mapping[str, int]) -> dict[str, Answer]:
        requests = {name: Message({"round": round}) for name, round in states.items()}
        return self._answers("build", requests, "being built")

    def initial_weights(self, client: str) -> Answer:
        return self._answers("initial_weights", {client: Message()}, "being built")[client]

    def train(self, round: int, before: Committed, drawn: Sequence[str]) -> dict[str, Answer]:
        weights = self._federation.exchange.broadcast(before.weights)
        requests = {name: Message({"round": round, "before": before.states[name]}, weights) for name in drawn}
        return self._answers("train", requests, f"round {round}", self._federation.round_timeout)

    def remembered(self, round: int, clients: Sequence[str]) -> None:
        """Nothing is to be waited for."""

    def export(self, committed: Committed, clients: Sequence[str]) -> dict[str, Answer]:
        """Let clients write the deliverable; the one that all share is fetched, each one's own stays at its site."""
        requests = {name: Message({"round": committed.states[name]}, committed.weights) for name in clients}
        shared = not self._federation.make_aggregator().personal
        keep = self._keep_deliverable if shared else None
        return self._answers("export", requests, "the export", keep=keep)

    def _answers(
        self,
        task: str,
        requests: Mapping[str, Message],
        doing: str,
        timeout: float | None = None,
        keep: Callable[[Message], None] | None = None,
    ) -> dict[str, Answer]:
        told = {name: Message({**self._values, **r.values}, r.tensors) for name, r in requests.items()}
        messages = self._asking.ask(f"{self._tasks}{task}", told, doing, timeout)
        return {name: _answer(message, keep) for name, message in messages.items()}

    def _keep_deliverable(self, message: Message) -> None:
        """Write the bundle's deliverable, if it has one, where the local engine has it; it is looked at first.

        Raises:
            InputError: it is no file of tensors, or there are others.
        """
        place = self._federation.export_path
        if set(message.files) - {place.name}:
            raise InputError(f"expected {place.name} alone, found {', '.join(sorted(message.files))}")
        if message.files:
            write_tensors(place, message.files[place.name])


def _answer(message: Message, keep: Callable[[Message], None] | None = None) -> Answer:
    if message.failure is not None:
        return Answer(failure=message.failure)
    try:
        if keep is not None:
            keep(message)
        return Answer(numbers(message.values), message.tensors)
    except InputError as error:
        return Answer(failure=f"its answer does not count: {error}")


def write_tensors(place: Path, content: bytes) -> None:
    """Write a file of tensors that has come from a site, once it can be read without running anything in it."""
    arrived = place.with_name(f"arrived.{place.name}")
    write_atomically(arrived, lambda temporary: temporary.write_bytes(content))
    try:
        load_tensors(arrived)
        write_atomically(place, lambda temporary: temporary.write_bytes(content))
    finally:
        remove_files(arrived)
