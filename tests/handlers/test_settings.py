from __future__ import annotations

from pathlib import Path

from ignite.engine import Engine

from shared_components.handlers import SettingsFile
from shared_components.records import read_record


def test_settings_are_written_when_the_run_starts(tmp_path):
    handler = SettingsFile(
        tmp_path / "new" / "settings.json", {"rate": 0.1, "adapted": [""], "out": Path("x")}
    )
    engine = Engine(lambda engine, batch: None)
    handler.attach(engine)
    assert not (tmp_path / "new").exists()
    engine.run([0])
    assert read_record(tmp_path / "new" / "settings.json", "") == {
        "rate": 0.1, "adapted": [""], "out": "x"
    }  # fmt: skip
