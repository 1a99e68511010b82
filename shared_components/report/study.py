"""The description of a study, ``study.json``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.records import read_record


class Study:
    """What ``study.json`` says, with paths resolved; absent parts are empty."""

    def __init__(self, run_dir: str | Path) -> None:
        self.root = Path(run_dir)
        path = self.root / "study.json"
        if not path.is_file():
            raise InputError(
                f"{path}: expected a study's description, found none; name the folder of a study"
            )
        cure = "write it again with federate.py study FILE --resume"
        self.content: dict[str, Any] = read_record(path, cure)

    def part(self, name: str, default: Any) -> Any:
        """The value of a key, or ``default`` when it is absent, empty or of another kind."""
        value = self.content.get(name)
        return value if value and isinstance(value, type(default)) else default

    def told(self, text: object) -> str:
        """A message without the study's own place, which means nothing where the page is read."""
        return str(text).replace(f"{self.root}{os.sep}", "")

    def path(self, value: object) -> Path:
        """A path of the study, relative ones from its folder."""
        return self.root / str(value)

    @property
    def labels(self) -> dict[int, str]:
        """Class names without the background."""
        return {int(value): str(name) for value, name in self.part("labels", {}).items() if int(value) != 0}
