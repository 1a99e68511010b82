from __future__ import annotations

import pytest

from shared_components.benchmarks.fault_handler import fill
from shared_components.benchmarks.faulty_study import small_disk
from shared_components.errors import InputError
from shared_components.federation.nvflare.outcome import check_outcome, write_outcome


def test_a_jobs_end_is_told_in_the_words_of_its_controller(tmp_path):
    check_outcome(write_outcome(tmp_path, None).parent, "no word")
    write_outcome(tmp_path, "client north: gone")
    with pytest.raises(InputError, match=r"^client north: gone$"):
        check_outcome(tmp_path, "no word")


def test_no_word_is_told_as_such(tmp_path):
    with pytest.raises(InputError, match=r"^no word$"):
        check_outcome(tmp_path / "of" / "no" / "job", "no word")


def test_a_full_disk_is_named_where_there_was_no_space_for_a_word(tmp_path):
    with small_disk(tmp_path, "1m") as mounted:
        if not mounted:
            pytest.skip("mounting a file system in memory is refused here")
        fill(tmp_path / "filler")
        with pytest.raises(
            InputError, match=f"no word; the disk of {tmp_path} is full or nearly so; make space first"
        ):
            check_outcome(tmp_path / "job", "no word")
