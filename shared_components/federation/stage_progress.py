"""Signs of life of a long run: how far a stage is, by what it has written so far, and which clients are busy."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from pathlib import Path

from tqdm import tqdm

BEAT = 30.0
"""Seconds after which a stage or a client that is silent is told of."""


def tell_while(futures: Mapping[str, Future], doing: str) -> None:
    """Wait for clients and say now and then which of them are still busy; until one fails or all are done.

    Args:
        futures: client to its work.
        doing: what it is, such as ``"round 3"``.
    """
    while True:
        state = wait(futures.values(), timeout=BEAT, return_when=FIRST_EXCEPTION)
        if not state.not_done or any(future.exception() for future in state.done):
            return
        busy = [name for name, future in futures.items() if future in state.not_done]
        tqdm.write(f"{doing}: {', '.join(busy)} still at work")
        sys.stdout.flush()


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
