from __future__ import annotations

import pytest

from shared_components.errors import InputError
from shared_components.federation.ledger import Ledger
from shared_components.records import read_record, write_record


def test_updates_are_counted_across_lives_of_the_process(tmp_path):
    assert Ledger(tmp_path / "north").updates == 0
    assert [Ledger(tmp_path / "north").enter(norm) for norm in (3.0, 2.5)] == [1, 2]
    assert Ledger(tmp_path / "north").updates == 2
    assert read_record(tmp_path / "north" / "privacy.json", "") == {"updates": 2, "norm": 2.5}


def test_a_damaged_count_is_refused(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.enter(1.0)
    text = ledger.path.read_text()
    ledger.path.write_text(text.replace('"updates": 1', '"updates": 0'))
    with pytest.raises(
        InputError, match=r"privacy\.json: is damaged or was edited: .*; put a copy of it back"
    ):
        ledger.enter(1.0)
    write_record(ledger.path, {"updates": "many"})
    with pytest.raises(InputError, match="expected the number of updates that have left, found 'many'"):
        ledger.enter(1.0)
