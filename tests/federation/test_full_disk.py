"""The local engine on a disk that is full, a small file system in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared_components.benchmarks.fault_handler import fill
from shared_components.benchmarks.faulty_study import small_disk
from shared_components.errors import InputError
from shared_components.federation.local import LocalEngine
from shared_components.federation.rounds_log import read_rows
from shared_components.files import load_tensors
from tests.federation.test_local import assert_same, global_weights
from tests.federation.tiny import federation


@pytest.fixture
def disk(tmp_path):
    """A folder on a file system of 8 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    with small_disk(place, "8m") as mounted:
        if not mounted:
            pytest.skip("mounting a file system in memory is refused here")
        yield place


def run(values: dict, rounds: int, folder: Path) -> Path:
    changed = federation(values, rounds=rounds, output_dir=str(folder))
    return LocalEngine(changed, quiet=True).run(resume=True)


def test_a_full_disk_ends_the_run_in_one_line_and_it_resumes_when_there_is_space(values, disk, tmp_path):
    run(values, 1, disk)
    before = (disk / "global.pt").read_bytes()
    fill(disk / "filler")
    with pytest.raises(InputError, match="No space left on device") as caught:
        run(values, 3, disk)
    told = str(caught.value)
    assert "\n" not in told and told.startswith(f"{disk / 'federation.yaml'}: ")
    assert told.endswith(f": 0 B free on the disk of {disk}; make space there, then go on with --resume")
    assert (disk / "global.pt").read_bytes() == before
    (disk / "filler").unlink()
    assert_same(global_weights(run(values, 3, disk)), global_weights(run(values, 3, tmp_path / "unbroken")))
    assert load_tensors(disk / "global.pt")["round"] == 3
    assert [row["round"] for row in read_rows(disk / "rounds.csv")] == [*"111222333"]
