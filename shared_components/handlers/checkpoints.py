"""Checkpoints that resume exactly, and the weights that validation liked best."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import Trainer
from monai.handlers import CheckpointLoader
from torch import distributed, nn

from shared_components.engines.saved_state import restore
from shared_components.errors import InputError
from shared_components.files import load_tensors, save_tensors
from shared_components.tensors import misfit, not_finite

CHECKPOINT_NAME = "checkpoint.pt"
SHARED = "shared_updates"  # by several processes; one alone notes none
BEFORE = "checkpoint_before.pt"  # what a new run has found in its folder


class StateLoader(CheckpointLoader):
    """MONAI's ``CheckpointLoader`` for a training's whole state, whose errors a user can act on.

    Args:
        load_path: file of the states by name.
        load_dict: name to object with ``load_state_dict``, the trainer among them.
    Raises:
        InputError: (when the engine starts) the file is unreadable, holds code, values that are not finite or the
            state of another configuration, or has been trained for more epochs than are wanted.
    """

    def __init__(self, load_path: str | os.PathLike, load_dict: Mapping[str, Any]) -> None:
        super().__init__(load_path=str(load_path), load_dict=dict(load_dict), map_location="cpu")

    def __call__(self, engine: Engine) -> None:
        cure = "resume with the settings of its training, or start over with resume: false"
        last, length = engine.state.max_epochs, engine.state.epoch_length
        states = load_tensors(self.load_path)
        processes = states[SHARED]["processes"] if SHARED in states else 1
        if SHARED not in self.load_dict and processes > 1:
            raise InputError(
                f"{self.load_path}: expected a checkpoint of one process, found one of {processes}; resume with as "
                "many (multi_gpu.yaml), or start over with resume: false"
            )
        known = {name: entry for name, entry in self.load_dict.items() if name != SHARED or name in states}
        restore(known, states, self.load_path, cure)
        if length is not None and engine.state.epoch_length != length:
            raise InputError(
                f"{self.load_path}: expected epochs of {engine.state.epoch_length} updates, as those of its training, "
                f"found {length} (epoch_length); {cure}"
            )
        if last is not None and engine.state.epoch > last:
            raise InputError(
                f"{self.load_path}: trained for {engine.state.epoch} epochs, more than max_epochs ({last}); "
                "raise it, or start over with resume: false"
            )
        engine.state.max_epochs = last  # which may be more than were wanted when it was saved
        self.logger.info(f"went on from {self.load_path}")


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

    A new run puts another one's checkpoint aside (``checkpoint_before.pt``): stopped before its own first one, it would
    be resumed as that other. Several processes of one training write together, so that theirs are of one moment.

    Args:
        trainer: the engine.
        state: name to object with ``state_dict`` / ``load_state_dict``.
        output_dir: folder of ``checkpoint.pt``.
        every: epochs between two checkpoints.
        resume: continue from the checkpoint in ``output_dir``.
    Returns:
        The checkpoint's path.
    Raises:
        InputError: ``resume`` without a checkpoint or with a damaged one, or ``every`` below 1; at a checkpoint, that
            the state holds NaN or infinite values: the last good file stays.
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
        StateLoader(path, entries).attach(trainer)
    else:
        trainer.add_event_handler(Events.STARTED, lambda: _put_aside(path))

    def save() -> None:
        if distributed.is_initialized():
            distributed.barrier()
        save_tensors(path, {name: entry.state_dict() for name, entry in entries.items()})

    last = trainer.state.max_epochs
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED(event_filter=lambda _, e: e % every == 0 and e != last), save
    )
    trainer.add_event_handler(Events.COMPLETED, save)
    return path


def _put_aside(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # none is there, or another process of the run was faster
        path.replace(path.with_name(BEFORE))


class BestWeights:
    """Keeps a copy of a module's tensors from the validation with the highest key metric; finite ones only.

    It has a state, so that a resumed run chooses among all its validations, also those before the stop.

    Args:
        module: what is kept.
        validator: MONAI's evaluator with a key metric; None (no validation): the last weights are kept as they are.
    """

    def __init__(self, module: nn.Module, validator: Engine | None) -> None:
        self.module = module
        self.metric = -math.inf
        self._tensors: dict[str, torch.Tensor] = {}
        if validator is not None:
            validator.add_event_handler(Events.COMPLETED, self._compare)

    def _compare(self, engine: Engine) -> None:
        metric = float(engine.state.metrics[engine.state.key_metric_name])
        tensors = self.module.state_dict()
        # NaN weights score as background: Dice may be high
        if metric > self.metric and not not_finite(tensors):
            self.metric = metric
            self._tensors = {name: t.detach().cpu().clone() for name, t in tensors.items()}

    def restore(self) -> None:
        """Put the best tensors into the module; without a validation it stays as it is."""
        if self._tensors:
            self.module.load_state_dict(self._tensors)

    def state_dict(self) -> dict[str, Any]:
        """Metric and tensors."""
        return {"metric": self.metric, "tensors": dict(self._tensors)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.metric = float(state["metric"])
        self._tensors = dict(state["tensors"])
        if self._tensors and misfit(self.module.state_dict(), self._tensors):
            raise ValueError("expected tensors of the module, found others")
