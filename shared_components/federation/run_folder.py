"""The folder of one federated run: what a round leaves behind, and when it counts.

A round r is whole once there is a ``global.pt`` of r. Before that each client writes its state under a name of its
own round, and ``global.pt`` names the states that belong to it; so a run killed at any moment has one global model
with the states that go with it, and resumes from there. ``global.previous.pt`` is that of the round before, for the
day when ``global.pt``, or a state that goes with it, turns out damaged: clients keep the states of both.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.federation.budget import LEDGER
from shared_components.federation.bundle_workflow import bundle_config, reads_labels
from shared_components.federation.federation import BUDGET, Federation
from shared_components.federation.file_digests import (
    FileDigests,
    data_changes,
    data_record,
    digest,
    told,
)
from shared_components.federation.folder_kinds import refuse_study
from shared_components.federation.folder_lock import FolderLock
from shared_components.federation.rounds_log import read_rows
from shared_components.federation.run_settings import (
    FREE_TO_CHANGE,
    completed,
    setting_changes,
    without_demands,
)
from shared_components.federation.sent_record import PAGE, TABLE
from shared_components.federation.site_check import FAULTS, begun_with, version_changes, versions
from shared_components.federation.sites import ERROR_FILE, Committed, read_committed
from shared_components.federation.spending import (
    CURE,
    RELEASED,
    ROUNDS,
    START,
    released_in,
    released_in_rounds,
    spent_before,
)
from shared_components.federation.start import Start, refuse_other_start, start_of
from shared_components.files import remove_tree, save_tensors, sweep
from shared_components.records import as_yaml_record, found_record, read_record, write_record
from shared_components.seals import is_sealed

OF_CLIENTS = (  # what a run writes into the folder of each client, beside what the bundle exports
    *("state.*.pt", "update.pt", ERROR_FILE, FAULTS, BUDGET, f"{Path(BUDGET).stem}.lock", LEDGER),
    *(TABLE, f"{Path(TABLE).stem}.lock", PAGE),
    *("metrics.csv", "settings.json", "pictures", "tensorboard", "cache"),  # of a bundle's training
)


class RunFolder:
    """Paths and rules of a run's folder.

    Args:
        root: the folder; it need not exist.
    """

    def __init__(self, root: str | os.PathLike) -> None:
        self.root = Path(root)
        self.federation_file = self.root / "federation.yaml"
        self.bundle_file = self.root / "bundle.yaml"
        self.global_file = self.root / "global.pt"
        self.deliverable_file = self.root / "deliverable.pt"  # while it is exported
        self.previous_file = self.root / "global.previous.pt"
        self.next_file = self.root / "global.next.pt"
        self.rounds_file = self.root / ROUNDS
        self.released_file = self.root / RELEASED  # updates with noise before rounds.csv was begun anew
        self.start_file = self.root / START
        self.data_file = self.root / "data.json"
        self.versions_file = self.root / "versions.json"
        self.seconds_file = self.root / "seconds.json"
        self.exports_file = self.root / "exports.json"
        self.tensorboard = self.root / "tensorboard"
        self.lock = FolderLock(self.root)

    def client(self, name: str) -> Path:
        """The folder of a client's own files."""
        return self.root / "clients" / name

    def update_file(self, name: str) -> Path:
        """The weights that a client last sent."""
        return self.client(name) / "update.pt"

    def error_file(self, name: str) -> Path:
        """Why a client failed last."""
        return self.client(name) / ERROR_FILE

    def open(
        self,
        federation: Federation,
        resume: bool = False,
        force: bool = False,
        digests: FileDigests | None = None,
        renew: bool = False,
    ) -> Committed | None:
        """Make the folder ready for ``federation``; the caller holds its lock.

        A run without a whole round has nothing to lose, so it starts over, with whatever settings. Updates with noise
        that have left its clients still count, unless ``force`` says otherwise; in a site's budget they do for good.

        Args:
            federation: what is to run.
            resume: go on with the run that the folder holds; in a folder without a run, start one.
            force: throw away the run that the folder holds, whatever state it is in.
            digests: of the clients' files; by default kept in the folder.
            renew: begin anew as with ``force``, but go on counting updates.
        Returns:
            The last whole round to go on from, or None at the start.
        Raises:
            InputError: the folder holds a study, or somebody's own federation file, or a run and neither ``resume`` nor
                ``force`` is given, or the run to be resumed was of other settings or data, or one of its files is
                damaged.
        """
        refuse_study(self.root)
        self._refuse_others_file()
        sweep(self.root)
        digests = digests or FileDigests(self.root / "digests.json")
        settings = {
            self.federation_file: federation.as_dict(),
            self.bundle_file: bundle_config(federation),
        }
        committed = None if force or renew else self._whole_rounds(resume)
        start = start_of(federation)
        if committed is None:
            self._clear(federation, kept=(BUDGET,) if force else (BUDGET, LEDGER))
        else:
            refuse_other_start(self.start_file, start)
            self._check_same_settings(federation, settings)
            self._check_rounds(federation, committed)
            read_rows(self.rounds_file)
        if start is not None:
            write_record(self.start_file, {**start.record(), "epsilons": _epsilons(federation, start)})
        data = data_record(federation.clients, digests, reads_labels(settings[self.bundle_file]))
        if committed is not None:
            self._check_same_data(data)
            self._tell_other_versions()
        for file, content in (*settings.items(), (self.data_file, data), (self.versions_file, versions())):
            write_record(file, content)
        digests.keep()
        return committed

    def _refuse_others_file(self) -> None:
        """No run has written the federation file that lies where the run's settings are to be written."""
        file = self.federation_file
        if not file.is_file() or self.bundle_file.exists():
            return
        if is_sealed(file.read_text(encoding="utf-8", errors="replace")) is None:
            raise InputError(
                f"{file}: expected no file, or a run's settings, found a federation file that no run has written and "
                "that the run's settings would replace; move it, or name another output_dir"
            )

    def _whole_rounds(self, resume: bool) -> Committed | None:
        """The last whole round from the first on; None where nothing would be lost by starting over."""
        if not any(file.is_file() for file in (self.global_file, self.previous_file)):
            if self.rounds_file.is_file() and self.rounds_file.read_bytes().count(b"\n") > 1:
                raise InputError(f"{self.global_file}: expected the last whole round, found no file; {CURE}")
            return None
        committed, fault = self._last_sound()
        if committed.round and not resume:
            raise InputError(
                f"{self.root}: already holds a run; go on with --resume, start over with --force"
            )
        if fault is not None:
            print(f"warning: {fault}; goes on from round {committed.round}", file=sys.stderr)
            self.go_back()
        return committed if committed.round else None

    def _last_sound(self) -> tuple[Committed, InputError | None]:
        """The last whole round that can be read, and why it is not that of ``global.pt``, if so.

        Raises:
            InputError: neither can be.
        """
        try:
            return read_committed(self.global_file, CURE), None
        except InputError as error:
            try:
                return read_committed(self.previous_file, CURE), error
            except InputError:
                raise error from None

    def committed(self) -> Committed | None:
        """The last whole round, or None before the first global model.

        Raises:
            InputError: its file is damaged.
        """
        return read_committed(self.global_file, CURE) if self.global_file.is_file() else None

    def earlier(self, committed: Committed) -> Committed | None:
        """The whole round before ``committed``, if it is there and sound; never the beginning."""
        if not self.previous_file.is_file():
            return None
        try:
            found = read_committed(self.previous_file, CURE)
        except InputError:
            return None
        return found if 0 < found.round < committed.round else None

    def go_back(self) -> None:
        """Make the whole round before the last one the last."""
        self.lock.check()
        self.previous_file.replace(self.global_file)

    def commit(self, committed: Committed) -> None:
        """Make a round whole.

        Raises:
            InputError: the folder was removed or replaced, or cannot be written to.
        """
        self.lock.check()
        content = {
            "model": committed.weights,
            "round": committed.round,
            "states": committed.states,
            "aggregator": dict(committed.aggregator),
        }
        save_tensors(self.next_file, content)
        if self.global_file.is_file():
            self.global_file.replace(self.previous_file)
        self.next_file.replace(self.global_file)

    def released(self) -> dict[str, int]:
        """Client to how many updates with noise have left it, see :func:`released_in`."""
        return released_in(self.root)

    def spent_before(self) -> dict[str, float]:
        """Client to what it had spent when the run began, see :func:`spent_before`."""
        return spent_before(self.root) or {}

    def left_out_of_export(self) -> dict[str, str]:
        """Clients that have no model of their own where each should, and why, by the last end of the run."""
        return dict((found_record(self.exports_file) or {}).get("left_out", {}))

    def note_exports(self, left_out: Mapping[str, str]) -> None:
        """Note which clients these are at the end of a run.

        Raises:
            InputError: the folder cannot be written to.
        """
        self.lock.check()
        write_record(self.exports_file, {"left_out": dict(left_out)})

    def _clear(self, federation: Federation, kept: Collection[str]) -> None:
        """Remove what a run writes, and nothing else that may lie in the folder; its settings last.

        Args:
            federation: what is to run.
            kept: names of files in the clients' folders that stay.
        """
        globals_ = (self.global_file, self.previous_file, self.next_file)
        runs = (self.federation_file, self.bundle_file, *globals_, self.rounds_file)
        if not any(file.exists() for file in runs):
            return
        if LEDGER in kept and (counts := released_in_rounds(self.root)):
            write_record(self.released_file, {"counts": counts, "rounds": digest(self.rounds_file)})
        names = {federation.bundle, str((found_record(self.federation_file) or {}).get("bundle", "bundle"))}
        exported = [self.root / f"{Path(name).name}.pt" for name in names]
        made = (
            self.rounds_file,
            self.start_file,
            *globals_,
            self.seconds_file,
            self.deliverable_file,
            self.exports_file,
            *exported,
            self.tensorboard,
            *(() if LEDGER in kept else (self.released_file,)),
        )
        settings = (self.data_file, self.versions_file, self.bundle_file, self.federation_file)
        of_clients = (*OF_CLIENTS, *(file.name for file in exported))
        clients = (place for name in of_clients for place in self.root.glob(f"clients/*/{name}"))
        for place in (*made, *(file for file in clients if file.name not in kept), *settings):
            remove_tree(place)
        for folder in (self.root / "clients").glob("*/"):
            if not any(folder.iterdir()):
                remove_tree(folder)

    def _check_same_settings(self, federation: Federation, settings: Mapping[Path, dict]) -> None:
        begun = {file: read_record(file, CURE, sealed=True) for file in settings}
        begun[self.federation_file] = completed(begun[self.federation_file], federation)
        for file, content in settings.items():
            before, after = map(without_demands, (begun[file], as_yaml_record(content)))
            free = FREE_TO_CHANGE if file == self.federation_file else ()
            changes = setting_changes(before, after, free)
            if changes:
                version = begun_with(found_record(self.versions_file) or {})
                raise InputError(
                    f"{file}: the run to resume had other settings: {'; '.join(changes)}; "
                    f"{version}put them back, or start over with --force"
                )

    def _check_same_data(self, data: Mapping[str, Any]) -> None:
        if not self.data_file.is_file():
            return
        before = read_record(self.data_file, "remove it to go on without comparing the data", sealed=True)
        changes = data_changes(before, data)
        if changes:
            raise InputError(
                f"{self.root}: the clients' data are not those that the rounds so far were trained on: "
                f"{told(changes)}; put them back, or start over with --force"
            )

    def _tell_other_versions(self) -> None:
        changes = version_changes(found_record(self.versions_file) or {}, versions())
        if changes:
            print(
                f"warning: {self.root}: goes on with other software than it began with ({', '.join(changes)}); "
                "its numbers may differ from those of an unbroken run",
                file=sys.stderr,
            )

    def _check_rounds(self, federation: Federation, committed: Committed | None) -> None:
        if committed is not None and committed.round > federation.rounds:
            raise InputError(
                f"{self.root}: {committed.round} rounds are done, more than 'rounds' ({federation.rounds}); "
                "raise it, or start over with --force"
            )


def _epsilons(federation: Federation, start: Start) -> dict[str, float]:
    """Client to the epsilon with which it begins, by the federation's delta, where its updates get noise."""
    privacy = federation.privacy
    if privacy is None or not privacy.noise:
        return {}
    before = {name: start.spent[name] for name in federation.clients if name in start.spent}
    return {name: privacy.spent(0, squares) for name, squares in before.items()}
