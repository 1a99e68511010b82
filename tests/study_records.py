"""The least that ``study.json`` holds, for tests that read one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def study_content(**parts: Any) -> dict[str, Any]:
    """Plain values of a record, some of them replaced."""
    return {
        "name": "three heads",
        "date": "2026-01-01",
        "machine": "2 cores",
        "seed": 0,
        "domains": ["t1", "t2"],
        "labels": {"0": "background", "1": "brain"},
        "source": "north",
        "origins": [],
        "clients": {},
        "stages": [],
        "factory": "factory/factory.pt",
        "models": {},
        "scores": [],
        "coverage": [],
        "methods": {},
        "pictures": {},
        **parts,
    }


def write_study(folder: Path, **parts: Any) -> Path:
    """Write it, without a checksum, into a folder."""
    file = folder / "study.json"
    file.write_text(json.dumps(study_content(**parts)), encoding="utf-8")
    return file
