"""Signs of life of a stage: how far it is, by what it has written so far."""

from __future__ import annotations

import csv
import io
from pathlib import Path


def stage_progress(folder: Path) -> str:
    """A few words: the last row of a training's ``metrics.csv``, else the volumes that it has written."""
    row = _last_row(folder / "metrics.csv")
    if row:
        loss = f", loss {float(row['loss']):.3f}" if row.get("loss") else ""
        return f"epoch {row['epoch']}, update {row['update']}{loss}"
    volumes = sum(1 for _ in folder.rglob("*.nii.gz"))
    if volumes:
        return "1 volume written" if volumes == 1 else f"{volumes} volumes written"
    return "reading its images" if folder.is_dir() else "starting"


def _last_row(table: Path) -> dict[str, str]:
    try:
        text = table.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    return ([{}, *csv.DictReader(io.StringIO(text))])[-1]
