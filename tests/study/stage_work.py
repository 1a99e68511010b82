"""What the stages of ``stage_bundle`` do."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path

from shared_components.errors import InputError


def write(folder: str, text: str, before: str | None) -> None:
    """Write ``text`` behind the content of ``before``; some texts stand for faults."""
    print("said by the stage, in process", os.getpid())
    if text == "wrong":
        raise InputError("text: expected another word, found wrong; change it")
    if text == "killed":
        pipe = before and Path(before).open("w")  # noqa: F841, SIM115 (it ends with this process)
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "removed":
        shutil.rmtree(folder)
        return
    if text == "waits":
        Path(before).write_text(str(os.getpid()))
        threading.Event().wait(600)
    content = Path(before).read_text() if before else ""
    (Path(folder) / "out.txt").write_text(content + text)
