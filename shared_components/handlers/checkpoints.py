"""Checkpoints that resume exactly."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.engines import Trainer
from monai.handlers import CheckpointLoader

from shared_components.errors import InputError
from shared_components.files import load_tensors, save_tensors

CHECKPOINT_NAME = "checkpoint.pt"


def attach_checkpoints(
    trainer: Trainer,
    state: Mapping[str, Any],
    output_dir: str | os.PathLike,
    every: int = 1,
    resume: bool = False,
) -> Path:
    """Save ``state`` and the trainer every few epochs and at the end; with ``resume``, load them first.

    The state should hold a :class:`RandomState`, so that a resumed run equals an unbroken one. One fixed name,
    replaced as a whole, so that resuming needs no search (MONAI's saver names its files by epoch).

    Args:
        trainer: the engine.
        state: name to object with ``state_dict`` / ``load_state_dict``.
        output_dir: folder of ``checkpoint.pt``.
        every: epochs between two checkpoints.
        resume: continue from the checkpoint in ``output_dir``.
    Returns:
        The checkpoint's path.
    Raises:
        InputError: ``resume`` without a checkpoint or with a damaged one, or ``every`` below 1.
    """
    if every < 1:
        raise InputError(f"checkpoint_every: expected at least 1 epoch, found {every}")
    path = Path(output_dir) / CHECKPOINT_NAME
    entries = {**state, "trainer": trainer}
    if resume:
        if not path.is_file():
            raise InputError(
                f"{path}: expected a checkpoint to resume from, found none; start with resume: false"
            )
        load_tensors(path)  # MONAI's loader below compares no checksum
        CheckpointLoader(load_path=str(path), load_dict=entries, map_location="cpu").attach(trainer)

    def save() -> None:
        save_tensors(path, {name: entry.state_dict() for name, entry in entries.items()})

    last = trainer.state.max_epochs
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED(event_filter=lambda _, e: e % every == 0 and e != last), save
    )
    trainer.add_event_handler(Events.COMPLETED, save)
    return path
