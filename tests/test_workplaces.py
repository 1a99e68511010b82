from __future__ import annotations

import fcntl
import os

from shared_components.files import write_text


def test_what_a_killed_writer_left_goes_with_the_next_write_and_a_living_ones_stays(tmp_path):
    left, used, fresh = (tmp_path / f".writing-{name}" for name in ("left", "used", "fresh"))
    for folder in (left, used, fresh):
        folder.mkdir()
        (folder / "half.pt").write_text("")
    for folder in (left, used):
        os.utime(folder, (0, 0))
    held = os.open(used, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    write_text(tmp_path / "a.txt", "")
    assert sorted(tmp_path.iterdir()) == [fresh, used, tmp_path / "a.txt"]
    os.close(held)
    write_text(tmp_path / "a.txt", "")
    assert sorted(tmp_path.iterdir()) == [fresh, tmp_path / "a.txt"]
