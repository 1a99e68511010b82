"""An administrator's connection to a running federation: submit a job, follow it, fetch its result."""

from __future__ import annotations

import contextlib
import io
import logging
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
from shared_components.federation.nvflare.kits import user_of
from shared_components.federation.nvflare.progress_lines import TOPIC

LOOK = 1.0  # seconds between two looks at a job
SILENCE = 30.0  # seconds without an answer after which a follower gives up
PATIENCE = 10.0  # seconds for a server to answer


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
