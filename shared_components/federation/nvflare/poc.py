"""A federation with certificates on this machine: server and clients as separate processes, the job exported."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from shared_components.errors import InputError
from shared_components.federation.client_entry import Client
from shared_components.federation.federation import Federation
from shared_components.federation.folder_lock import FolderLock, resumable
from shared_components.federation.nvflare.job import JobKind
from shared_components.federation.nvflare.kits import (
    ADMIN,
    free_port,
    keep_jobs,
    provision,
    started,
    write_project,
)
from shared_components.federation.nvflare.places import SITE_FILE
from shared_components.federation.nvflare.submission import Submission, connected
from shared_components.files import make_folder, remove_tree
from shared_components.interrupts import Interrupts
from shared_components.records import write_record

SERVER = "localhost"
KITS_LOCK = "kits.lock"  # in the output folder, whose own lock is held while the job is followed
START_WITHIN = 90.0  # seconds for server and clients to be connected


class ProofOfConcept:
    """Rehearses a federation of real sites: everything as with sites elsewhere, but for the one machine.

    Kits, certificates and what each site keeps lie in ``kits`` in the output folder, and stay for ``resume``.

    Args:
        federation: what to run.
        quiet: print nothing.
        kind: what it is submitted for; by default its rounds.
    """

    def __init__(self, federation: Federation, quiet: bool = False, kind: JobKind | None = None) -> None:
        self._federation, self._quiet, self._kind = federation, quiet, kind or JobKind()
        self._folder = Path(federation.output_dir) / "kits"
        guests = {name: Client(tuple(roots), ()) for name, roots in self._kind.guests.items()}
        self._sites = {**federation.clients, **guests}

    def run(self, resume: bool = False, force: bool = False) -> Path:
        """Start server and clients, submit, follow and fetch, and end them all.

        Raises:
            InputError: see :meth:`Submission.run`, or they do not start.
        """
        output = Path(self._federation.output_dir)
        with FolderLock(output, KITS_LOCK).held():
            return self._run(output, resume, force)

    def _run(self, output: Path, resume: bool, force: bool) -> Path:
        self._kind.refuse_other(output)
        if self._kind.is_done(output) and not (resume or force):
            raise InputError(f"{output}: already holds a run; go on with --resume, start over with --force")
        interrupts = Interrupts()
        with resumable(self._federation.output_dir), interrupts.noticed():
            kits = self._kits(fresh=not resume)
            logs = make_folder(self._folder / "logs")
            with started([kits / SERVER, *(kits / name for name in self._sites)], logs):
                self._wait_until_connected(kits / ADMIN, logs)
                submission = Submission(self._federation, kits / ADMIN, self._quiet, self._kind)
                return submission.run(resume, force)

    def _kits(self, fresh: bool) -> Path:
        """The provisioned kits, each client's with a site file of its own, the server's with its own place for jobs."""
        made = sorted(self._folder.glob("*/prod_*"))
        if fresh or not made:
            remove_tree(self._folder)
            guests, port = list(self._kind.guests), free_port()
            file = write_project(self._federation, self._folder, SERVER, port, guests)
            made = [provision(file, self._folder)]
        keep_jobs(made[-1] / SERVER)
        for name, site in self._sites.items():
            write_record(made[-1] / name / "local" / SITE_FILE, site.own)
        return made[-1]

    def _wait_until_connected(self, kit: Path, logs: Path) -> None:
        deadline, absent = time.monotonic() + START_WITHIN, set(self._sites)
        while absent and time.monotonic() < deadline:
            with contextlib.suppress(InputError), connected(kit) as administrator:
                absent = set(self._sites) - administrator.connected()
            time.sleep(0.2)
        if absent:
            raise InputError(
                f"{self._federation.name}: {', '.join(sorted(absent))} did not connect within {START_WITHIN:g} s; "
                f"the logs are in {logs}"
            )
