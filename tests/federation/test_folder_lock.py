from __future__ import annotations

import errno
import fcntl
import os

import pytest

from shared_components.errors import InputError
from shared_components.federation.folder_lock import FolderLock, resumable


def test_a_file_system_without_locks_is_told_and_nothing_runs_there(tmp_path, monkeypatch):
    def no_locks(file, kind):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)  # no such file system can be counted on here
    with (
        pytest.raises(
            InputError, match=r"lock: expected a file system with locks, found none .*; let output_dir"
        ),
        FolderLock(tmp_path).held(),
    ):
        pytest.fail("it ran without a lock")


def test_who_interrupts_is_told_how_to_go_on(capsys):
    with pytest.raises(KeyboardInterrupt), resumable("outputs/run"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == (
        "outputs/run: interrupted; whole rounds and finished stages are kept, go on with --resume\n"
    )
    with pytest.raises(ValueError, match="x"), resumable("outputs/run"):
        raise ValueError("x")
    assert capsys.readouterr().err == ""
