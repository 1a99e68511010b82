"""The engines of this machine, by the name that a federation file gives.

The local one has every client here, in worker processes, without a service or a socket.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from torch import Tensor

from shared_components.errors import InputError, failure_line
from shared_components.federation import worker
from shared_components.federation.aggregators.aggregation import from_blocks
from shared_components.federation.coordinator import Coordinator, Engine
from shared_components.federation.federation import Federation, client_plan
from shared_components.federation.lane import Lane, tell_while
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.sites import CURE, Answer, Committed, Sites, note_failure
from shared_components.federation.start import carry_spent, own_state, start_of
from shared_components.files import load_tensors, remove_files, save_tensors
from shared_components.interrupts import Interrupts


class LocalEngine(Engine):
    """Runs a federation on this machine, in worker processes."""

    def go_on(self, committed: Committed | None) -> None:
        interrupts = Interrupts()
        with interrupts.noticed(), LocalSites(self._federation, self._folder, self._quiet).started() as sites:
            coordinator = Coordinator(self._federation, self._folder, sites, self._quiet, interrupts.check)
            coordinator.go_on(committed)


class LocalSites(Sites):
    """Clients in worker processes of this machine.

    They are pinned to workers, sorted and in turn, and stay alive between rounds. How many workers there are changes
    nothing but the time: each client's random state is its own. A worker that dies or hangs takes one client's round
    with it, and nothing of the others that live there.

    Args:
        federation: whose clients they are.
        folder: the run's folder, in which each client has one of its own.
        quiet: print nothing.
    """

    def __init__(self, federation: Federation, folder: RunFolder, quiet: bool = False) -> None:
        self._federation, self._folder, self._quiet = federation, folder, quiet
        start = start_of(federation)
        before = {
            name: own_state(start, [Path(start.place)], name) if start else "" for name in federation.clients
        }
        self._plans = {name: client_plan(federation, name, went_before=before[name]) for name in before}
        for name, plan in self._plans.items():
            carry_spent(start, plan.budget, name)
        self._lanes: dict[str, Lane] = {}
        self._remembered: dict[str, Future] = {}

    @contextlib.contextmanager
    def started(self) -> Iterator[LocalSites]:
        """Workers for the clients; whatever happens inside, none is left running afterwards."""
        federation, names = self._federation, list(self._plans)
        number, threads = min(federation.workers, len(names)), federation.threads_per_worker
        with contextlib.ExitStack() as stack:
            lanes = [stack.enter_context(Lane(threads, here=number == 0)) for _ in range(max(number, 1))]
            for plan in self._plans.values() if number == 0 else ():
                stack.callback(worker.forget, plan.folder)
            self._lanes = {name: lanes[i % len(lanes)] for i, name in enumerate(names)}
            yield self

    def build(self, states: Mapping[str, int]) -> dict[str, Answer]:
        futures = {name: self._submit(name, worker.build, round) for name, round in states.items()}
        return self._answers(futures, "being built")

    def initial_weights(self, client: str) -> Answer:
        file = self._folder.update_file(client)
        future = self._submit(client, worker.initial_weights, file)
        return self._with_update(client, self._answers({client: future}, "being built")[client], 0)

    def train(self, round: int, before: Committed, drawn: Sequence[str]) -> dict[str, Answer]:
        timeout, futures = self._federation.round_timeout, {}
        for name in drawn:
            files = (self._folder.global_file, self._folder.update_file(name))
            arguments = (round, before.states[name], *files)
            futures[name] = self._submit(name, worker.train, *arguments, timeout=timeout)
            self._remembered[name] = self._submit(name, worker.remember, round)
        answers = self._answers(futures, f"round {round}")
        return {name: self._with_update(name, answer, round) for name, answer in answers.items()}

    def remembered(self, round: int, clients: Sequence[str]) -> None:
        for name in clients:
            try:
                self._remembered[name].result()
            except InputError as error:
                raise InputError(f"client {name}, round {round}: {error}; {CURE}") from error

    def export(self, committed: Committed, clients: Sequence[str]) -> dict[str, Answer]:
        place = self._folder.deliverable_file
        save_tensors(place, {"model": committed.weights})
        futures = {name: self._submit(name, worker.export, place, committed.states[name]) for name in clients}
        answers = self._answers(futures, "the export")
        remove_files(place, *(self._folder.update_file(name) for name in self._plans))
        return answers

    def _submit(
        self, name: str, task: Callable[..., Any], *arguments: Any, timeout: float | None = None
    ) -> Future:
        return self._lanes[name].submit(task, self._plans[name], *arguments, timeout=timeout)

    def _answers(self, futures: Mapping[str, Future], doing: str) -> dict[str, Answer]:
        """Wait for clients; what one of them raises is its failure, with the stack trace in ``error.txt``."""
        tell_while(futures, doing, quiet=self._quiet)
        answers = {name: self._answer(name, future) for name, future in futures.items()}
        well = [name for name, answer in answers.items() if answer.failure is None]
        if doing != "being built":
            remove_files(*(self._folder.error_file(name) for name in well))
        return answers

    def _answer(self, name: str, future: Future) -> Answer:
        error = future.exception()
        if error is None:
            return Answer(values=future.result() or {})
        return Answer(failure=failure_line(error), more=note_failure(self._folder.client(name), error))

    def _with_update(self, name: str, answer: Answer, round: int) -> Answer:
        """The answer with the tensors that the client has written."""
        if answer.failure is not None:
            return answer
        try:
            return Answer(answer.values, read_update(self._folder.update_file(name), round))
        except InputError as error:
            return Answer(failure=str(error))


def read_update(file: Path, round: int) -> dict[str, Tensor]:
    """The tensors of a client's update.

    Raises:
        InputError: the file is missing, damaged or of another round.
    """
    content = load_tensors(file)
    if content.get("round") != round or "blocks" not in content:
        raise InputError(f"{file}: expected the update of round {round}, found {content.get('round')!r}")
    return from_blocks(content)


def make_engine(federation: Federation, quiet: bool = False, folder: RunFolder | None = None) -> Engine:
    """The engine that the federation's file names.

    Args:
        federation: what to run.
        quiet: print nothing.
        folder: the run's folder, for who holds its lock already.
    Raises:
        InputError: NVFlare is named and not installed.
    """
    if federation.engine == "local":
        return LocalEngine(federation, quiet, folder)
    from shared_components.federation.nvflare.simulator import NvflareSimulator  # an extra

    return NvflareSimulator(federation, quiet, folder)
