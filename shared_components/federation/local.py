"""The local engine: every client on this machine, in worker processes, without a service or a socket."""

from __future__ import annotations

import contextlib
import random
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared_components.errors import InputError
from shared_components.federation import worker
from shared_components.federation.aggregation import from_blocks
from shared_components.federation.federation import Federation
from shared_components.federation.resumable import resumable
from shared_components.federation.rounds_log import Progress, RoundsCsv
from shared_components.federation.run_folder import Committed, RunFolder
from shared_components.federation.signs_of_life import tell_while
from shared_components.federation.worker import client_plan
from shared_components.files import load_tensors, remove_files, write_text
from shared_components.interrupts import Interrupts
from shared_components.worker_processes import WorkerProcesses


class LocalEngine:
    """Runs a federation: each round, the drawn clients train from the global weights and are aggregated.

    Clients are pinned to workers, sorted and in turn, and stay alive between rounds. How many workers there
    are changes nothing but the time: each client's random state is its own.

    Args:
        federation: what to run.
        quiet: print nothing.
        folder: the run's folder, for who holds its lock already.
    """

    def __init__(self, federation: Federation, quiet: bool = False, folder: RunFolder | None = None) -> None:
        self._federation, self._quiet = federation, quiet
        self._folder = folder or RunFolder(federation.output_dir)
        self._names = list(federation.clients)
        self._plans = {name: client_plan(federation, name) for name in self._names}
        self._aggregator = federation.make_aggregator()
        self._workers: dict[str, WorkerProcesses | ThreadPoolExecutor] = {}
        self._interrupts = Interrupts()

    def run(self, resume: bool = False, force: bool = False) -> Path:
        """Train all rounds that are still to do, then let the bundle export its deliverable.

        Args:
            resume: go on from the last whole round in the output folder: same result as unbroken.
            force: throw away the run in the output folder.
        Returns:
            The run's folder.
        Raises:
            InputError: the folder is not fit (see :meth:`RunFolder.open`), or a client failed: the message
                names it and the cause, and the run can be resumed.
        """
        with self._folder.lock.held(), resumable(self._folder.root):
            self.go_on(self._folder.open(self._federation, resume, force))
        return self._folder.root

    def go_on(self, committed: Committed | None) -> None:
        """:meth:`run` from the last whole round on (None: from the start), for who has locked and opened the folder.

        Raises:
            InputError: a client failed, or the folder can no longer be written to.
        """
        with self._interrupts.noticed(), _one_thread(), self._started_workers():
            self._build_clients(committed)
            self._all_rounds(committed or self._begin())
            self._finish()

    def _all_rounds(self, committed: Committed) -> None:
        table = RoundsCsv(self._folder.rounds_file, committed.round)
        rounds, folder = self._federation.rounds, self._folder.tensorboard
        with contextlib.closing(Progress(rounds, committed.round, folder, self._quiet)) as progress:
            while committed.round < rounds:
                self._interrupts.check()
                committed, rows = self._one_round(committed, table)
                progress.report(committed.round, rows)

    def _one_round(self, before: Committed, table: RoundsCsv) -> tuple[Committed, list[dict[str, Any]]]:
        number, folder = before.round + 1, self._folder
        drawn = drawn_clients(self._names, self._federation.clients_per_round, self._federation.seed, number)
        doing = f"round {number}"
        trained, remembered = {}, {}
        for name in drawn:
            arguments = (number, folder.global_file, folder.update_file(name))
            trained[name] = self._submit(name, worker.train, *arguments)
            remembered[name] = self._submit(name, worker.remember, folder.state_file(name, number))
        self._tell_while(trained, doing)
        results, updates = {}, {}
        for name in drawn:
            results[name] = self._result(name, trained[name], doing)
            updates[name] = read_update(folder.update_file(name), number)
        images = {name: results[name]["images"] for name in drawn}
        weights = self._aggregator(updates, images, before.weights)
        after = Committed(number, weights, {**before.states, **dict.fromkeys(drawn, number)})
        rows = [client_row(number, name, results[name], updates[name], before.weights) for name in drawn]
        table.append(rows)
        for name in drawn:
            self._result(name, remembered[name], doing)
        folder.commit(after, before)
        self._forget_errors(drawn)
        return after, rows

    def _build_clients(self, committed: Committed | None) -> None:
        """Build every client, so that whatever is wrong with one is told before anybody trains."""
        if not self._quiet:
            print(f"{len(self._names)} clients read their images and build their networks", flush=True)
        states = committed.states if committed else {}
        files = {name: (self._folder.state_file(name, r) if r else None,) for name, r in states.items()}
        self._on_workers({n: files.get(n, (None,)) for n in self._names}, worker.build, doing="being built")

    def _begin(self) -> Committed:
        """Round 0: the global weights are those with which the first client was built."""
        first = self._names[0]
        file = self._folder.update_file(first)
        self._on_workers({first: (file,)}, worker.initial_weights, doing="being built")
        committed = Committed(0, read_update(file, 0), dict.fromkeys(self._names, 0))
        self._folder.commit(committed, None)
        return committed

    def _finish(self) -> None:
        """Let the first client's worker, with the global weights, write the bundle's deliverable; every client's
        where each has a model of its own."""
        exporting = self._names if self._aggregator.personal else self._names[:1]
        arguments = dict.fromkeys(exporting, (self._folder.global_file,))
        self._on_workers(arguments, worker.export, doing="the export")
        remove_files(*(self._folder.update_file(name) for name in self._names))
        self._forget_errors(self._names)

    def _forget_errors(self, names: Sequence[str]) -> None:
        """What went wrong before with clients that have now succeeded."""
        remove_files(*(self._folder.error_file(name) for name in names))

    @contextlib.contextmanager
    def _started_workers(self) -> Iterator[None]:
        """Workers for the clients; whatever happens inside, none is left running afterwards."""
        federation = self._federation
        with contextlib.ExitStack() as stack:
            if federation.workers:
                number = min(federation.workers, len(self._names))
                workers = [
                    stack.enter_context(WorkerProcesses(1, federation.threads_per_worker))
                    for _ in range(number)
                ]
            else:
                threads = (federation.threads_per_worker,)
                thread = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=threads)
                workers = [stack.enter_context(thread)]
                for plan in self._plans.values():
                    stack.callback(worker.forget, plan.folder)
            self._workers = {name: workers[i % len(workers)] for i, name in enumerate(self._names)}
            yield

    def _on_workers(
        self, arguments: dict[str, Sequence[Any]], task: Callable[..., Any], doing: str
    ) -> dict[str, Any]:
        """``task(plan, *arguments)`` of several clients at once: client -> result."""
        futures = {name: self._submit(name, task, *values) for name, values in arguments.items()}
        self._tell_while(futures, doing)
        return {name: self._result(name, future, doing) for name, future in futures.items()}

    def _tell_while(self, futures: dict[str, Future], doing: str) -> None:
        if not self._quiet:
            tell_while(futures, doing)

    def _submit(self, name: str, task: Callable[..., Any], *arguments: Any) -> Future:
        return self._workers[name].submit(task, self._plans[name], *arguments)

    def _result(self, name: str, future: Future, doing: str) -> Any:
        error = future.exception()
        if error is None:
            return future.result()
        remedy = "the run is whole up to its last round: mend it and go on with --resume"
        if isinstance(error, BrokenProcessPool):
            self._interrupts.check()  # a signal to all processes has ended the worker first
            others = [n for n, w in self._workers.items() if w is self._workers[name] and n != name]
            beside = f" (its worker also holds {', '.join(others)})" if others else ""
            raise InputError(
                f"client {name}, {doing}{beside}: the worker process died; it was killed or ran out of "
                f"memory, in which case fewer workers may help; {remedy}"
            ) from error
        cause = " ".join(str(error).split())
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        more = self._noted(name, error)
        raise InputError(f"client {name}, {doing}: {kind}{cause}{more}; {remedy}") from error

    def _noted(self, name: str, error: BaseException) -> str:
        """Where the stack trace is, in words; none where it cannot be written, as on a full disk."""
        try:
            report = write_text(self._folder.error_file(name), "".join(traceback.format_exception(error)))
        except InputError:
            return ""
        return f" (more in {report})"


def drawn_clients(names: Sequence[str], number: int, seed: int, round: int) -> list[str]:
    """The clients of a round, sorted: ``number`` of ``names``, the same for the same seed and round."""
    return sorted(random.Random(f"{seed} {round}").sample(sorted(names), number))


def read_update(file: Path, round: int) -> dict[str, Tensor]:
    """The tensors of a client's update.

    Raises:
        InputError: the file is missing, damaged or of another round.
    """
    content = load_tensors(file)
    if content.get("round") != round or "blocks" not in content:
        raise InputError(f"{file}: expected the update of round {round}, found {content.get('round')!r}")
    return from_blocks(content)


def client_row(
    number: int, name: str, result: dict[str, Any], sent: dict[str, Tensor], received: dict[str, Tensor]
) -> dict[str, Any]:
    """A client's row of ``rounds.csv``; bytes are those of the tensors exchanged."""
    metrics = {k: v for k, v in result.items() if k not in ("images", "seconds")}
    return {
        "round": number,
        "client": name,
        "images": result["images"],
        "seconds": round(result["seconds"], 3),
        "bytes_up": sum(t.nbytes for t in sent.values()),
        "bytes_down": sum(t.nbytes for t in received.values()),
        **metrics,
    }


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Aggregation sums many small tensors: on busy cores, waiting for a second thread costs far more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
