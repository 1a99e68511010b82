"""A federation as a job that is submitted, followed and fetched, into the same folder as the local engine's.

``Administrator`` is the connection to a running federation.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nvflare.fuel.flare_api.api_spec import (
    AuthenticationError,
    InternalError,
    InvalidJobDefinition,
    JobNotFound,
    JobNotRunning,
    NoConnection,
    NoReply,
    SessionClosed,
)
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.job import JobKind
from shared_components.federation.nvflare.kits import user_of
from shared_components.federation.nvflare.outcome import RESULT, TOPIC, check_outcome, lines_left
from shared_components.federation.run_folder import RunFolder
from shared_components.files import make_folder, remove_tree
from shared_components.interrupts import Interrupts

ABORT_WITHIN = 60.0  # seconds that an aborted job may take to end
LOOK = 1.0  # seconds between two looks at a job
SILENCE = 30.0  # seconds without an answer after which a follower gives up
PATIENCE = 10.0  # seconds for a server to answer


class Submission:
    """A federation over sites that run NVFlare.

    Args:
        federation: what to run; its clients are the names of the sites.
        kit: the administrator's startup kit.
        quiet: print nothing.
        kind: what it is submitted for; by default its rounds.
    """

    def __init__(
        self, federation: Federation, kit: Path, quiet: bool = False, kind: JobKind | None = None
    ) -> None:
        self._federation, self._kit, self._quiet = federation, kit, quiet
        self._kind = kind or JobKind()
        self._folder = RunFolder(federation.output_dir)

    def run(
        self,
        resume: bool = False,
        force: bool = False,
        job: str | None = None,
        when_interrupted: Callable[[str, bool], bool] | None = None,
    ) -> Path:
        """Submit the federation, follow it, and fetch what it has made.

        Args:
            resume: let the server go on with the run that it has of this federation.
            force: let it throw that run away.
            job: follow this job, which has been submitted before, instead.
            when_interrupted: told the job's number and whether it was Ctrl-C, says whether to leave the job running;
                by default it is ended.
        Returns:
            The run's folder.
        Raises:
            InputError: a client is not connected, the run failed (what it has made is fetched all the same), or the
                output folder holds a run, or one of another kind.
        """
        with self._folder.lock.held(), connected(self._kit) as administrator:
            if job is None:
                self._refuse_run(resume or force)
                self._refuse_absent(administrator)
                job = self._submit(administrator, resume, force)
            self._tell(f"job {job}")
            status, told = self._follow(administrator, job, when_interrupted)
            self._fetch(administrator, job, status, told)
        return self._folder.root

    def _submit(self, administrator: Administrator, resume: bool, force: bool) -> str:
        with tempfile.TemporaryDirectory() as folder:
            job = self._kind.write(self._federation, Path(folder), resume, force, self._quiet)
            return administrator.submit(job)

    def _follow(
        self, administrator: Administrator, job: str, when_interrupted: Callable[[str, bool], bool] | None
    ) -> tuple[str, int]:
        try:
            with Interrupts().noticed():
                return administrator.follow(job, self._tell)
        except KeyboardInterrupt as error:
            at_terminal = getattr(error, "number", signal.SIGINT) == signal.SIGINT
            if when_interrupted is None or not when_interrupted(job, at_terminal):
                administrator.abort(job)
                _ended(administrator, job)
            raise

    def _fetch(self, administrator: Administrator, job: str, status: str, told: int) -> None:
        """Put what the server has of the run into the output folder, and raise if the job did not end well."""
        place = make_folder(self._folder.root / "nvflare")
        try:
            fetched = administrator.fetch(job, place)
            for line in lines_left(fetched, told):
                self._tell(line)
            if (fetched / RESULT).is_dir():
                self._replace(fetched / RESULT)
            log = fetched / "log.txt"
            if log.is_file():
                shutil.copyfile(log, self._folder.root / "server.log.txt")
            check_outcome(
                fetched,
                f"{self._federation.name}: job {job} ended as {status} before its run did; the server's log of it is "
                f"{self._folder.root / 'server.log.txt'}; whole rounds are kept there, go on with --resume",
            )
        finally:
            remove_tree(place)

    def _replace(self, result: Path) -> None:
        """Put a result in the place of what was fetched before."""
        for name in (*self._kind.ends, *(path.name for path in result.iterdir())):
            remove_tree(self._folder.root / name)
        shutil.copytree(result, self._folder.root, dirs_exist_ok=True)

    def _refuse_run(self, allowed: bool) -> None:
        self._kind.refuse_other(self._folder.root)
        if self._kind.is_done(self._folder.root) and not allowed:
            raise InputError(
                f"{self._folder.root}: already holds a run; go on with --resume, start over with --force"
            )

    def _refuse_absent(self, administrator: Administrator) -> None:
        sites = {*self._federation.clients, *self._kind.parts.guests}
        absent = sorted(sites - administrator.connected())
        if absent:
            raise InputError(
                f"{self._federation.name}: {', '.join(absent)} not connected to the server; start NVFlare there, and "
                "see that the federation file has the names of the sites' startup kits"
            )

    def _tell(self, line: str) -> None:
        if not self._quiet:
            print(line, flush=True)


def ask_whether_to_leave(file: str, kit: str) -> Callable[[str, bool], bool]:
    """What a follower is asked on Ctrl-C; without a terminal, and at any other signal, the job is left running.

    Args:
        file: the federation file.
        kit: the administrator's startup kit, both as the command line has them.
    """

    def leave(job: str, at_terminal: bool) -> bool:
        again = f"python scripts/federate.py submit {file} --startup_kit {kit} --job {job}"
        if at_terminal and sys.stdin.isatty():
            print(f"\njob {job}: leave it running? [Y/n] ", end="", file=sys.stderr, flush=True)
            if sys.stdin.readline().strip().lower() in ("n", "no"):
                return False
        print(f"job {job}: goes on at the sites; follow it again with\n  {again}", file=sys.stderr)
        return True

    return leave


def _ended(administrator: Administrator, job: str) -> None:
    deadline = time.monotonic() + ABORT_WITHIN
    while not administrator.status(job).startswith("FINISHED") and time.monotonic() < deadline:
        time.sleep(LOOK)


class Administrator:
    """What an administrator does with a federation that is running.

    Args:
        session: of NVFlare.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def connected(self) -> set[str]:
        """The clients that are connected to the server."""
        return {client.name for client in self._session.get_system_info().client_info}

    def submit(self, job: Path) -> str:
        """Submit a job's folder; its number.

        Raises:
            InputError: the server does not take it.
        """
        try:
            return self._session.submit_job(str(job.absolute()))
        except (InvalidJobDefinition, InternalError) as error:
            raise InputError(f"{job}: the server does not take this job: {error}") from error

    def follow(self, job: str, tell: Callable[[str], None]) -> tuple[str, int]:
        """Pass on what the job's coordinator prints, until the job has ended; its status then, and the lines told.

        Raises:
            InputError: there is no such job, or the server is gone.
        """
        next_line, heard = 0, time.monotonic()
        while True:
            try:
                status = self.status(job)
                next_line = self._pass_on(job, next_line, tell)
                heard = time.monotonic()
            except (NoConnection, SessionClosed) as error:
                if time.monotonic() - heard > SILENCE:
                    raise InputError(
                        f"job {job}: no answer from the server for {SILENCE:g} s; it keeps whole rounds: once it is "
                        "back, go on with submit --resume"
                    ) from error
                status = "?"
            if status.startswith("FINISHED"):
                return status, next_line
            time.sleep(LOOK)

    def _pass_on(self, job: str, first: int, tell: Callable[[str], None]) -> int:
        """Tell of a job's lines from number ``first`` on; the number of the next."""
        try:
            answer = self._session.do_app_command(job, TOPIC, {"first": first})
        except (NoReply, InternalError, JobNotRunning):  # its coordinator is not there yet, or no longer
            return first
        for line in answer["lines"]:
            tell(str(line))
        return int(answer["next"])

    def status(self, job: str) -> str:
        """NVFlare's word for how far a job is.

        Raises:
            InputError: there is no such job.
        """
        try:
            return str(self._session.get_job_meta(job)["status"])
        except JobNotFound as error:
            raise InputError(f"{job}: the server has no such job; check the number") from error

    def abort(self, job: str) -> None:
        """End a job; what it has made whole is kept."""
        with contextlib.suppress(JobNotRunning):
            self._session.abort_job(job)

    def fetch(self, job: str, folder: Path) -> Path:
        """Download what the server's side of a job has left; the folder with it."""
        place = Path(self._session.download_job_result(job, str(folder)))
        return place / "workspace"


@contextlib.contextmanager
def connected(kit: Path) -> Iterator[Administrator]:
    """An administrator's connection, over certificates.

    Raises:
        InputError: the kit is none, or no server answers.
    """
    user = user_of(kit)
    logging.getLogger().addHandler(logging.NullHandler())  # else NVFlare tells of every connection it closes
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # where it says that it connects
            session = new_secure_session(user, str(kit.absolute()), timeout=PATIENCE)
    except (NoConnection, AuthenticationError, TypeError) as error:
        # the last where a server that is still starting answers without its certificate, on which NVFlare trips
        raise InputError(
            f"{kit}: no federation answers as {user} ({error}); start the server, or check the startup kit"
        ) from error
    try:
        yield Administrator(session)
    finally:
        session.close()
