"""The settings of a run, as a file beside what it writes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from shared_components.records import write_record


class SettingsFile:
    """Writes ``settings`` as JSON when a run starts, so that its report can say how it was trained.

    Args:
        path: the JSON file; its folder is made.
        settings: names and values; one that JSON has no form for is written as text.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.settings = dict(settings)

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine | None = None) -> None:
        """Write the file."""
        write_record(self.path, self.settings)
