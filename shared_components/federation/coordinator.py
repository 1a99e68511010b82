"""The rounds of a federation, the same on every engine: draw, train, screen, aggregate, commit; what an engine is."""

from __future__ import annotations

import contextlib
import math
import random
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared_components.errors import InputError
from shared_components.federation.arrivals import arrived, client_row, screen
from shared_components.federation.federation import Federation
from shared_components.federation.folder_lock import resumable
from shared_components.federation.rounds_log import Progress, RoundsCsv
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.site import NO_STATE
from shared_components.federation.sites import CURE, Answer, Committed, Sites, refuse_failures
from shared_components.federation.start import first_weights, start_of

NEVER_DRAWN = "it was drawn in no round and has no tensors of its own; raise rounds or clients_per_round"


class Coordinator:
    """Trains all rounds that are still to do, with clients that may be anywhere and may fail.

    A client that fails in a round, or whose update does not pass :func:`screen`, is left out of that round, and said
    so; if fewer than ``min_clients`` are left, the run ends at its last whole round.

    Args:
        federation: what to run.
        folder: the run's folder, opened and locked by the caller.
        sites: the clients.
        quiet: print nothing.
        check: called often, to raise if the run is to end, such as after Ctrl-C.
    """

    def __init__(
        self,
        federation: Federation,
        folder: RunFolder,
        sites: Sites,
        quiet: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._federation, self._folder, self._sites = federation, folder, sites
        self._quiet, self._check = quiet, check
        self._names = list(federation.clients)
        self._aggregator = federation.make_aggregator()

    def go_on(self, committed: Committed | None) -> None:
        """Train from a whole round on (None: from the start), then let the bundle export its deliverable.

        Raises:
            InputError: a client cannot be built, too few clients answered, or the folder cannot be written to.
        """
        privacy = self._federation.privacy
        if privacy is not None:
            privacy.spent(1)  # a missing accountant is told before anybody trains
        with _one_thread():
            committed = self._built(committed) or self._begin()
            if committed.round:
                self._aggregator.load_state_dict(committed.aggregator)
            committed = self._all_rounds(committed)
            self._finish(committed)

    def _built(self, committed: Committed | None) -> Committed | None:
        """Build every client, so that whatever is wrong with one is told before anybody trains.

        Returns:
            The round to go on from: the one before the last where a client's state after the last is lost.
        """
        self._tell(f"{len(self._names)} clients read their images and build their networks")
        answers = self._build(committed)
        lost = _lost(committed, answers)
        damaged = [name for name in lost if NO_STATE not in lost[name]]
        earlier = self._folder.earlier(committed) if damaged else None
        if earlier is not None:
            again = self._build(earlier)
            if all(NO_STATE in failure for failure in _lost(earlier, again).values()):
                self._folder.go_back()
                _warn(f"client {damaged[0]}: {lost[damaged[0]]}; goes on from round {earlier.round}")
                committed, answers, lost = earlier, again, _lost(earlier, again)
        for name in [name for name in lost if NO_STATE in lost[name]]:
            answers |= self._sites.build({name: 0})
            committed = _as_new(committed, name)
            _warn(
                f"client {name}: {NO_STATE}, but took part before; it goes on as a new client, without its own "
                "tensors, optimiser, random state and count of updates, from which its epsilon follows; put its folder "
                "back and use --resume to keep them"
            )
        refuse_failures(answers, "being built")
        return committed

    def _build(self, committed: Committed | None) -> dict[str, Answer]:
        states = committed.states if committed else {}
        answers = self._sites.build({name: states.get(name, 0) for name in self._names})
        self._check()
        return answers

    def _begin(self) -> Committed:
        """Round 0: the global weights are those of the start, else those with which the first client was built."""
        answer = self._sites.initial_weights(self._names[0])
        refuse_failures({self._names[0]: answer}, "being built")
        weights, start = dict(answer.tensors), start_of(self._federation)
        if start is not None:
            weights = first_weights(self._federation, start, weights)
            self._tell(f"goes on from {start.words}")
        committed = Committed(0, weights, dict.fromkeys(self._names, 0))
        self._folder.commit(committed)
        return committed

    def _tell(self, line: str) -> None:
        if not self._quiet:
            print(line, flush=True)

    def _all_rounds(self, committed: Committed) -> Committed:
        table = RoundsCsv(self._folder.rounds_file, committed.round)
        rounds, board = self._federation.rounds, self._folder.tensorboard
        delta = self._federation.privacy.delta if self._federation.privacy else None
        with contextlib.closing(Progress(rounds, committed.round, board, self._quiet, delta)) as progress:
            while committed.round < rounds:
                self._check()
                committed, rows = self._one_round(committed, table)
                progress.report(committed.round, rows)
        return committed

    def _one_round(self, before: Committed, table: RoundsCsv) -> tuple[Committed, list[dict[str, Any]]]:
        number, start = before.round + 1, time.perf_counter()
        federation = self._federation
        answers, updates, left_out, norms = self._trained(number, before, table.norms())
        counted = [name for name in sorted(answers) if name not in left_out]
        self._refuse_too_few(number, counted, left_out, answers)
        images = {name: answers[name].values["images"] for name in counted}
        trained = {name: number for name, number in images.items() if number} or dict.fromkeys(counted, 1)
        weights = self._aggregator({name: updates[name] for name in trained}, trained, before.weights)
        states = {**before.states, **dict.fromkeys(counted, number)}
        after = Committed(number, weights, states, self._aggregator.state_dict())
        seconds, spent = time.perf_counter() - start, self._folder.spent_before()
        rows = [
            client_row(
                federation,
                number,
                name,
                answers[name],
                before.weights,
                left_out.get(name),
                seconds,
                norms.get(name),
                spent.get(name, 0.0),
            )
            for name in (*counted, *left_out)
        ]
        table.append(rows)
        self._sites.remembered(number, counted)
        self._folder.commit(after)
        return after, rows

    def _trained(
        self, number: int, before: Committed, earlier: Sequence[float]
    ) -> tuple[dict[str, Answer], dict[str, dict[str, Tensor]], dict[str, str], dict[str, float]]:
        """What the drawn clients gave, and others in the place of those that cannot be counted, as long as these are
        too few: answers, updates, why some are left out, and norms of the updates of the others, beside which
        ``earlier`` are those of earlier rounds.
        """
        federation, names = self._federation, self._names
        order = random.Random(f"{federation.seed} {number} others").sample(sorted(names), len(names))
        drawn = drawn_clients(names, federation.clients_per_round, federation.seed, number)
        answers: dict[str, Answer] = {}
        updates: dict[str, dict[str, Tensor]] = {}
        left_out: dict[str, str] = {}
        norms: dict[str, float] = {}
        while drawn:
            found = self._sites.train(number, before, drawn)
            self._check()
            usable, refused = arrived(found, federation, before.weights)
            answers, updates, left_out = answers | found, updates | usable, left_out | refused
            sound = {name: updates[name] for name in updates if name not in left_out}
            found_out, norms = screen(sound, before.weights, federation.largest_update, earlier)
            left_out |= found_out
            missing = max(0, federation.min_clients - len(answers) + len(left_out))
            drawn = [name for name in order if name not in answers][:missing]
        return answers, updates, left_out, norms

    def _refuse_too_few(
        self,
        number: int,
        counted: Sequence[str],
        left_out: Mapping[str, str],
        answers: Mapping[str, Answer],
    ) -> None:
        least = min(self._federation.min_clients, len(counted) + len(left_out))
        if len(counted) >= least:
            return
        name, reason = next(iter(left_out.items()))
        reason = answers[name].told if answers[name].failure is not None else reason
        more = f" (and {', '.join(list(left_out)[1:])} failed)" if len(left_out) > 1 else ""
        of = len(counted) + len(left_out)
        raise InputError(
            f"client {name}, round {number}: {reason}{more}; {len(counted)} of {of} clients answered, fewer than "
            f"min_clients ({least}); {CURE}"
        )

    def _finish(self, committed: Committed) -> None:
        """Let a client write the bundle's deliverable; every client where each has a model of its own.

        A client that cannot is passed over as long as another can.

        Raises:
            InputError: none can.
        """
        committed = replace(committed, weights=self._aggregator.deliverable(committed.weights))
        personal = self._aggregator.personal
        able = [name for name in self._names if committed.states[name] or not personal]
        answers = {name: Answer(failure=NEVER_DRAWN) for name in self._names if name not in able}
        for names in [able] if personal else [[name] for name in able]:
            answers |= self._sites.export(committed, names)
            self._check()
            if any(answer.failure is None for answer in answers.values()):
                break
        else:
            refuse_failures(answers, "the export")
        left_out = {name: answer.told for name, answer in answers.items() if answer.failure is not None}
        for name, reason in left_out.items():
            _warn(f"client {name}, the export: {reason}; {self._missing_export()}")
        self._folder.note_exports(left_out if self._aggregator.personal else {})

    def _missing_export(self) -> str:
        """What it means that a client has not written the deliverable, and the cure if there is one."""
        if self._aggregator.personal:
            return "it has no model of its own, the others have; use --resume when it is mended or back"
        return "another client writes it, from the same global weights"


def drawn_clients(names: Sequence[str], number: int, seed: int, round: int) -> list[str]:
    """The clients of a round, sorted: ``number`` of ``names``, the same for the same seed and round.

    They are dealt from a shuffled deck that is renewed when it is empty, so that all are drawn equally often.
    """
    names = sorted(names)
    rounds = math.lcm(len(names), number) // number  # after which the deck is empty at a round's end
    turn, place = divmod(round - 1, rounds)
    source, deck = random.Random(f"{seed} {turn}"), list[str]()
    while len(deck) < rounds * number:
        begun = deck[len(deck) // number * number :]  # of a round that goes on with the new deck
        deck += sorted(source.sample(names, len(names)), key=begun.__contains__)
    return sorted(deck[place * number :][:number])


def _lost(committed: Committed | None, answers: Mapping[str, Answer]) -> dict[str, str]:
    """Clients that took part, by ``committed``, and could not be built with their states, each with the reason."""
    took_part = committed.states if committed else {}
    return {name: a.failure for name, a in answers.items() if took_part.get(name) and a.failure is not None}


def _as_new(committed: Committed, name: str) -> Committed:
    return Committed(committed.round, committed.weights, {**committed.states, name: 0}, committed.aggregator)


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Aggregation sums many small tensors: on busy cores, waiting for a second thread costs far more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Engine(ABC):
    """Runs a federation into its folder; every engine gives the same global weights, bit for bit.

    Args:
        federation: what to run.
        quiet: print nothing.
        folder: the run's folder, for who holds its lock already.
    """

    def __init__(self, federation: Federation, quiet: bool = False, folder: RunFolder | None = None) -> None:
        self._federation, self._quiet = federation, quiet
        self._folder = folder or RunFolder(federation.output_dir)

    def run(self, resume: bool = False, force: bool = False) -> Path:
        """Train all rounds that are still to do, then let the bundle export its deliverable.

        Args:
            resume: go on from the last whole round in the output folder: same result as unbroken.
            force: throw away the run in the output folder.
        Returns:
            The run's folder.
        Raises:
            InputError: the folder is not fit (see :meth:`RunFolder.open`), or too few clients are left: the message
                names one and the cause, and the run can be resumed.
        """
        with self._folder.lock.held(), resumable(self._folder.root):
            self.go_on(self._folder.open(self._federation, resume, force))
        return self._folder.root

    @abstractmethod
    def go_on(self, committed: Committed | None) -> None:
        """:meth:`run` from a whole round on (None: from the start), for who has locked and opened the folder.

        Raises:
            InputError: as :meth:`run`.
        """
