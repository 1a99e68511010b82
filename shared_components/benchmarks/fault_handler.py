"""Makes a client of a federation fail in chosen rounds; copied into the bundle of the faults' benchmark."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing import parent_process
from pathlib import Path

import torch
from ignite.engine import Engine, Events

FILLER = "filler"  # in the run's folder
NEVER = 3600.0  # s, longer than any limit


class Misbehave:
    """Spoils what a client sends, or the client itself, at the end of a round, once.

    Args:
        plan: ``"ROUND CLIENT KIND"`` for each fault, with the client's own round: those in which it was left out do
            not count; kinds are ``killed`` (SIGKILL to its process), ``site_killed`` (to the process that started
            it), ``machine_killed`` (to that one's parent too), ``slow``, ``nan``, ``huge`` (10^6 times), ``shape``,
            ``fill_disk`` (of the run's folder), ``error`` and ``gone`` (an error, not only once).
        folder: the client's, named after it.
    """

    def __init__(self, plan: Sequence[str], folder: str) -> None:
        self._folder = Path(folder)
        parts = [line.split() for line in plan]
        self._kinds = {int(round): kind for round, client, kind in parts if client == self._folder.name}

    def attach(self, engine: Engine) -> None:
        """Called by MONAI."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    @torch.no_grad()
    def __call__(self, engine: Engine) -> None:
        """Do what the plan has for this round."""
        round = engine.state.epoch
        marker = self._folder / f"misbehaved.{round}"
        if round not in self._kinds or marker.exists():
            return
        kind = self._kinds[round]
        if kind != "gone":
            marker.touch()
        generator = engine.network.generator
        match kind:
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "site_killed" | "machine_killed":
                site = parent_process().pid
                for process in (site,) if kind == "site_killed" else (parent(site), site):
                    os.kill(process, signal.SIGKILL)
                threading.Event().wait(NEVER)
            case "slow":
                threading.Event().wait(NEVER)
            case "nan":
                generator.constant.fill_(torch.nan)
            case "huge":
                generator.constant.mul_(1e6)
            case "shape":
                generator.constant = torch.nn.Parameter(generator.constant[:, :1].clone())
            case "fill_disk":
                fill(self._folder.parents[1] / FILLER)
            case "error" | "gone":
                raise OSError(5, "Input/output error")


def parent(process: int) -> int:
    """Who has started a process."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def fill(file: Path) -> None:
    """Write until the disk is full."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while filler.write(b"0" * size):
                    pass
