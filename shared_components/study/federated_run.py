"""The federated trainings of a study: the factory, and the source model of several labelled clients; and its folder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared_components.errors import InputError
from shared_components.federation.bundle_workflow import bundle_config
from shared_components.federation.federation import Federation
from shared_components.federation.file_digests import FileDigests, data_record, digest
from shared_components.federation.folder_kinds import refuse_run
from shared_components.federation.folder_lock import FolderLock, resumable
from shared_components.federation.local import make_engine
from shared_components.federation.rounds_log import read_rows
from shared_components.federation.run_folder import Committed, RunFolder
from shared_components.files import lies_in, remove_tree, sweep
from shared_components.records import found_record, write_record
from shared_components.study.settings import VARIANTS
from shared_components.study.source_model import source_federations
from shared_components.study.stage import DONE, Stage, short_digest, stage_folders
from shared_components.study.study import Study
from shared_components.study_record import FILE_NAME

NO_MATTER = (
    *("name", "engine", "workers", "output_dir", "versions", "min_clients", "round_timeout", "start"),
    *("bundle", "clients"),  # where they lie; what the bundle says and what the data are is compared
)
PURPOSE = "purpose.json"
GoOn = Callable[[Federation, RunFolder, Committed | None], None]


class FederatedRun:
    """One of them: locked, opened and trained by the study, in this order.

    Args:
        federation: what to train.
        renewed: a run of other settings or data gives way to a new one, as a stage does; otherwise it is refused.
        states: client to the state of its data, where these are elsewhere.
    """

    def __init__(
        self, federation: Federation, renewed: bool = False, states: Mapping[str, str] | None = None
    ) -> None:
        self.federation, self._renewed, self._states = federation, renewed, dict(states or {})
        self.folder = RunFolder(federation.output_dir)
        self._committed: Committed | None = None

    def open(self, resume: bool, force: bool, digests: FileDigests) -> None:
        """Make the folder ready, see :meth:`RunFolder.open`; the caller holds its lock."""
        if not self._renewed:
            self._committed = self.folder.open(self.federation, resume, force, digests)
            return
        purpose = _purpose(self.federation, digests, self._states)
        noted = found_record(self.folder.root / PURPOSE)
        other = resume and noted is not None and noted["purpose"] != purpose
        self._committed = self.folder.open(self.federation, resume, force, digests, renew=other)
        write_record(self.folder.root / PURPOSE, {"purpose": purpose})

    @property
    def is_new(self) -> bool:
        """Whether there is no whole round yet."""
        return self._committed is None

    def go_on_with(self, committed: Committed | None) -> None:
        """In the place of :meth:`open`, where another process has opened the folder and keeps it locked."""
        self._committed = committed if committed and committed.round else None

    def train(self, go_on: GoOn) -> float:
        """Train what is not trained yet.

        Args:
            go_on: trains a federation in its folder from a whole round on.
        Returns:
            Seconds that the training has taken, rounds before an interruption included.
        """
        folder, federation = self.folder, self.federation
        number = self._committed.round if self._committed else 0
        noted = found_record(folder.seconds_file)
        whole = number == federation.rounds and not folder.left_out_of_export()
        if whole and noted and noted.get("exported") == _exported(federation):
            return float(noted["seconds"])
        before = _seconds_of_rounds(folder.rounds_file, number)
        start = time.perf_counter()
        go_on(federation, folder, self._committed)
        seconds = round(before + time.perf_counter() - start, 1)
        write_record(folder.seconds_file, {"seconds": seconds, "exported": _exported(federation)})
        return seconds


def federated_runs(study: Study) -> dict[str, FederatedRun]:
    """By the names of their stages: the factory, and the source model's variants where several clients train it."""
    runs = {"factory": FederatedRun(study.factory_federation)}
    states = {name: study.roots[name].state for name in study.sources if not study.is_here(name)}
    for variant, federation in source_federations(study).items():
        runs[variant] = FederatedRun(federation, renewed=True, states=states)
    return runs


def by_engine(quiet: bool) -> GoOn:
    """Train with the engine that the federation names, on this machine."""

    def go_on(federation: Federation, folder: RunFolder, committed: Committed | None) -> None:
        make_engine(federation, quiet=quiet, folder=folder).go_on(committed)

    return go_on


def _exported(federation: Federation) -> dict[str, str | None]:
    """Digest of what the training exports, for each client that has a model of its own."""
    files = {federation.client_export_path(name) for name in federation.clients}
    names = {file.relative_to(federation.output_dir).as_posix(): file for file in sorted(files)}
    return {name: digest(file) if file.is_file() else None for name, file in names.items()}


def _purpose(federation: Federation, digests: FileDigests, states: Mapping[str, str]) -> str:
    """Changes when the training would give something else; the learning rate follows from the number of rounds, so
    another number is another training.
    """
    settings = {key: value for key, value in federation.as_dict().items() if key not in NO_MATTER}
    settings["clients"] = {name: client.domain for name, client in federation.clients.items()}
    data = {**data_record(federation.clients, digests), **states}
    return short_digest([settings, bundle_config(federation), data])


def _seconds_of_rounds(table: Path, last: int) -> float:
    """Of rounds 1 to ``last`` together; a round takes as long as its slowest client."""
    slowest: dict[int, float] = {}
    for row in read_rows(table) if last else ():
        number = int(row["round"])
        if number <= last:
            slowest[number] = max(slowest.get(number, 0.0), float(row["seconds"]))
    return sum(slowest.values())


@dataclass(frozen=True)
class OpenedStudy:
    """A study's folder, ready and locked.

    Attributes:
        lock: of the study's folder.
        runs: its federated trainings by the names of their stages, opened and locked too.
        digests: of files that stages read.
    """

    lock: FolderLock
    runs: Mapping[str, FederatedRun]
    digests: FileDigests


@contextlib.contextmanager
def opened_study(
    study: Study, stages: Sequence[Stage], resume: bool, force: bool, more: Sequence[Path] = ()
) -> Iterator[OpenedStudy]:
    """Make a study's folder ready, and keep it locked.

    Args:
        study: whose folder.
        stages: all of them.
        resume: go on with what is there.
        force: throw it away.
        more: further folders to be thrown away with it.
    Raises:
        InputError: another process runs there, it holds a run, or see :meth:`FederatedRun.open`.
    """
    refuse_run(study.folder)
    runs, lock = federated_runs(study), FolderLock(study.folder)
    with contextlib.ExitStack() as stack:
        for one in (lock, *(run.folder.lock for run in runs.values())):
            stack.enter_context(one.held())
        stack.enter_context(resumable(study.folder))
        digests = FileDigests(study.folder / "digests.json")
        for run in runs.values():
            run.open(resume, force, digests)
        _clean(study, [*(stage.folder for stage in stages), *_left(study, runs), *more] if force else ())
        lock.note_beginning()
        yield OpenedStudy(lock, runs, digests)


def _left(study: Study, runs: Mapping[str, FederatedRun]) -> list[Path]:
    """Folders of stages and trainings that an earlier plan of the study had, and that have ended or begun rounds."""
    ended = [
        folder
        for folder in stage_folders(study.folder)
        if "fingerprint" in (found_record(folder / DONE) or {})
    ]
    others = [study.folder / variant for variant in VARIANTS if variant not in runs]
    return [*ended, *(folder for folder in others if RunFolder(folder).rounds_file.is_file())]


def _clean(study: Study, folders: Sequence[Path]) -> None:
    """Remove what a kill has left, some folders, and what an earlier end of the study has told."""
    sweep(study.folder)
    data = [root for client in study.federation.clients.values() for root in client.data_roots]
    for folder in folders:
        own = next((root for root in data if lies_in(root, folder)), None)
        if own is not None:
            raise InputError(f"{own}: a client's data lie where the study writes, in {folder}; move them")
    for folder in (*folders, study.folder / FILE_NAME):
        remove_tree(folder)
