"""A client at its own place: the bundle, its folder, and what a coordinator may ask of it, on whichever engine."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from shared_components.errors import InputError, input_error_in
from shared_components.federation.aggregators import make_aggregator
from shared_components.federation.aggregators.aggregation import l2_norm
from shared_components.federation.budget import Budget, Ledger
from shared_components.federation.client import FederatedClient, Update
from shared_components.federation.exchange import differences
from shared_components.federation.federation import ClientPlan
from shared_components.federation.start import read_start
from shared_components.files import remove_files

NO_STATE = "it has no state of any round"


class Site:
    """Keeps a client alive between rounds and its state on disk, so that it goes on wherever it was left.

    A round begins from the state that the coordinator names, which is that of the last whole round in which the
    client took part. The site has it alive in nearly every case; where it has not, since its process died, a round
    failed or was never made whole, it builds the client anew and loads it. The state before is kept too, for a
    coordinator whose last round was lost.

    Args:
        plan: what the client is built from.
    """

    def __init__(self, plan: ClientPlan) -> None:
        self._plan = plan
        self._client: FederatedClient | None = None
        self._round: int | None = None  # of the state that the live client is in

    def build(self, round: int) -> int:
        """Build the client in its state after ``round``; 0: as it begins, with what it kept of a run before this one.

        Returns:
            Its number of training images.
        Raises:
            InputError: it cannot be built, or the state is missing or damaged.
        """
        self._drop()
        plan = self._plan
        file = plan.state_file(round)
        if round and not file.is_file():
            others = any(Path(plan.folder).glob("state.*.pt"))
            missing = (
                "expected the client's state after its last round, found no file" if others else NO_STATE
            )
            raise InputError(f"{file}: {missing}; put a copy of it back, or start over with --force")
        with _curable_faults():
            client = FederatedClient(
                plan.bundle_root,
                plan.config_files,
                plan.overrides,
                plan.updates,
                make_aggregator(plan.aggregator),
            )
        if round:
            client.load_state(file)
        else:
            _begin(client, plan)
        self._client, self._round = client, round
        return client.images

    def shared_weights(self) -> dict[str, Tensor]:
        """The exchanged tensors of the client as it was built; trained ones leave it as an update alone.

        Raises:
            InputError: it has trained, or cannot be built.
        """
        if self._round:
            raise InputError(
                f"initial weights: expected a client that has not trained, found one after round {self._round}; "
                "build it anew first"
            )
        return self._alive(0).shared_weights()

    def train(self, round: int, before: int, weights: Mapping[str, Tensor]) -> Update:
        """Train a round from the global ``weights`` and from the state after ``before``.

        Args:
            round: its number.
            before: the round of the client's last state.
            weights: name -> tensor, as they went down.
        Returns:
            The update as it goes up: what leaves the client, and nothing else does.
        Raises:
            InputError: the training diverged, the state is missing or damaged, or the site would spend more epsilon
                than it allows.
        """
        privacy = self._plan.privacy
        if privacy is not None and privacy.noise:
            Budget(self._plan.budget).refuse(privacy.noise, self._plan.demand)
        client = self._alive(before)
        self._forget_others(before)
        self._round = (
            None  # whatever happens now, the client is no longer in a state that a round begins from
        )
        begun = self._plan.exchange.received(weights, client.shared_tensors)
        update = client.run_round(begun, round)
        self._round = round
        return _outgoing(self._plan, update, begun)

    def remember(self, round: int) -> None:
        """Write the state after ``round``, which the client has just trained.

        Raises:
            InputError: it is not in that state, or the file cannot be written.
        """
        if self._client is None or self._round != round:
            raise InputError(
                f"{self._plan.state_file(round)}: the client is not in its state after round {round}"
            )
        self._client.save_state(self._plan.state_file(round))

    def export(self, weights: Mapping[str, Tensor], round: int) -> bool:
        """Let the bundle write its deliverable from the global weights; whether it has one."""
        return self._alive(round).export(weights)

    def _alive(self, round: int) -> FederatedClient:
        if self._client is None or self._round != round:
            self.build(round)
        return self._client

    def _drop(self) -> None:
        """Give the memory of the live client back before another is built."""
        self._client = self._round = None

    def _forget_others(self, round: int) -> None:
        """Remove all states but that after ``round`` and the one before it."""
        files = {int(file.name.split(".")[1]): file for file in Path(self._plan.folder).glob("state.*.pt")}
        earlier = [number for number in files if number < round]
        kept = {round, max(earlier, default=0)}
        remove_files(*(file for number, file in files.items() if number not in kept))


def _begin(client: FederatedClient, plan: ClientPlan) -> None:
    """With what it kept of an earlier run, and with the federation's start, in whichever round it begins."""
    if plan.went_before:
        _go_on(client, plan)
    client.begin(read_start(plan.start, Path(plan.bundle_root).name) if plan.start else None)


def _go_on(client: FederatedClient, plan: ClientPlan) -> None:
    """Begin with what the client kept of an earlier run; told where that is lost."""
    if Path(plan.went_before).is_file():
        client.go_on_from(plan.went_before)
        return
    print(
        f"warning: client {plan.name}: {plan.went_before}: expected its own state of the run that this one goes on "
        "from, found no file; it begins without its own tensors; put a copy of it back and use --force to begin with "
        "them",
        file=sys.stderr,
        flush=True,
    )


def _outgoing(plan: ClientPlan, update: Update, begun: Mapping[str, Tensor]) -> Update:
    """What leaves the client of an ``update`` to a round that began with the weights ``begun``.

    Raises:
        InputError: a difference does not fit the type of the wire, the ledger is damaged, or the site would spend
            more epsilon than it allows.
    """
    privacy = plan.privacy
    sent = plan.exchange.outgoing(update.weights, begun, privacy)
    if privacy is None:
        return replace(update, weights=sent)
    if privacy.noise:
        Budget(plan.budget).enter(privacy.noise, plan.demand)
    released = Ledger(plan.folder).enter(l2_norm(differences(update.weights, begun)), privacy.noise)
    metrics = update.metrics if privacy.losses else {}
    return replace(update, weights=sent, metrics=metrics, released=released if privacy.noise else 0)


@contextlib.contextmanager
def _curable_faults() -> Iterator[None]:
    """MONAI wraps what a config's component raises, and the chain of causes ends at the process's border."""
    try:
        yield
    except RuntimeError as error:
        found = input_error_in(error)
        if found is None:
            raise
        raise InputError(str(found)) from error
