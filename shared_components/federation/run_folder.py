"""The folder of one federated run: what a round leaves behind, and when it counts.

A round r is whole once ``global.pt`` of r has replaced that of r − 1, in one step. Before that each client
writes its state under a name of its own round, and ``global.pt`` names the states that belong to it; so a run
killed at any moment has one global model with the states that go with it, and resumes from there.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser
from torch import Tensor

import shared_components
from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.files import load_tensors, remove_files, save_tensors, write_text

PACKAGES = ("monai", "torch", "pytorch-ignite", "numpy", "nibabel", "itk")
FREE_TO_CHANGE = ("name", "rounds", "workers", "output_dir", "study")


@dataclass(frozen=True)
class Committed:
    """The last whole round, its global weights, and client -> round of the state that goes with them."""

    round: int
    weights: dict[str, Tensor]
    states: dict[str, int]


class RunFolder:
    """Paths and rules of a run's folder.

    Args:
        root: the folder; it need not exist.
    """

    def __init__(self, root: str | os.PathLike) -> None:
        self.root = Path(root)
        self.federation_file = self.root / "federation.yaml"
        self.bundle_file = self.root / "bundle.yaml"
        self.global_file = self.root / "global.pt"
        self.rounds_file = self.root / "rounds.csv"
        self.tensorboard = self.root / "tensorboard"

    def client(self, name: str) -> Path:
        """The folder of a client's own files."""
        return self.root / "clients" / name

    def state_file(self, name: str, round: int) -> Path:
        """A client's state after ``round``."""
        return self.client(name) / f"state.{round}.pt"

    def update_file(self, name: str) -> Path:
        """The weights that a client last sent."""
        return self.client(name) / "update.pt"

    def open(self, federation: Federation, resume: bool = False, force: bool = False) -> Committed | None:
        """Make the folder ready for ``federation``.

        Args:
            federation: what is to run.
            resume: go on with the run that the folder holds; in a folder without a run, start one.
            force: throw away the run that the folder holds.
        Returns:
            The last whole round to go on from, or None at the start.
        Raises:
            InputError: the folder holds a run and neither ``resume`` nor ``force`` is given, or the run to be
                resumed was of other settings.
        """
        settings = {
            self.federation_file: federation.as_dict(),
            self.bundle_file: bundle_config(federation),
        }
        committed = None
        if self.federation_file.is_file():
            if force:
                self._clear()
            elif not resume:
                raise InputError(
                    f"{self.root}: already holds a run; go on with --resume, start over with --force"
                )
            else:
                self._check_same_settings(settings)
                committed = self.committed()
                self._check_rounds(federation, committed)
        for file, content in settings.items():
            write_text(file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        write_text(self.root / "versions.json", json.dumps(versions(), indent=2) + "\n")
        self._remove_leftovers(committed)
        return committed

    def committed(self) -> Committed | None:
        """The last whole round, or None before the first global model."""
        if not self.global_file.is_file():
            return None
        content = load_tensors(self.global_file)
        return Committed(content["round"], content["model"], content["states"])

    def commit(self, committed: Committed, previous: Committed | None) -> None:
        """Make a round whole; the states of ``previous`` that it replaces are removed afterwards."""
        content = {"model": committed.weights, "round": committed.round, "states": committed.states}
        save_tensors(self.global_file, content)
        for client, round in (previous.states if previous else {}).items():
            if committed.states[client] != round:
                remove_files(self.state_file(client, round))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by the one process that runs here; the operating system frees it when that process dies.

        Raises:
            InputError: another process runs here.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{self.root}: another process runs in this folder; wait for it") from None
            yield

    def is_running(self) -> bool:
        """Whether a process runs here now."""
        try:
            with self.lock():
                return False
        except InputError:
            return True

    def _clear(self) -> None:
        """Remove what a run writes, and nothing else that may lie in the folder."""
        exported = yaml.safe_load(self.federation_file.read_text(encoding="utf-8"))["bundle"]
        remove_files(self.global_file, self.rounds_file, self.root / f"{Path(exported).name}.pt")
        for folder in (self.root / "clients", self.tensorboard):
            if folder.is_dir():
                shutil.rmtree(folder)
        remove_files(self.bundle_file, self.federation_file)

    def _check_same_settings(self, settings: Mapping[Path, dict]) -> None:
        for file, content in settings.items():
            before = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else content
            changes = differences(before, yaml.safe_load(yaml.safe_dump(content)), FREE_TO_CHANGE)
            if changes:
                raise InputError(
                    f"{file}: the run to resume had other settings: {'; '.join(changes)}; "
                    "put them back, or start over with --force"
                )

    def _check_rounds(self, federation: Federation, committed: Committed | None) -> None:
        if committed is not None and committed.round > federation.rounds:
            raise InputError(
                f"{self.root}: {committed.round} rounds are done, more than 'rounds' ({federation.rounds}); "
                "raise it, or start over with --force"
            )

    def _remove_leftovers(self, committed: Committed | None) -> None:
        states = committed.states if committed else {}
        kept = {self.state_file(client, round) for client, round in states.items() if round}
        missing = [file for file in kept if not file.is_file()]
        if missing:
            raise InputError(f"{missing[0]}: the client's state is gone; start over with --force")
        remove_files(*(f for f in self.root.glob("clients/*/state.*.pt") if f not in kept))


def bundle_config(federation: Federation) -> dict[str, Any]:
    """The bundle's merged config with the federation's overrides, before any client's own values."""
    parser = ConfigParser()
    parser.read_config(federation.config_files)
    parser.update(dict(federation.overrides))
    return {k: v for k, v in parser.get().items() if k != parser.meta_key}


def differences(before: Any, after: Any, free: tuple[str, ...] = (), at: str = "") -> list[str]:
    """Where two nested settings differ, as ``key: before -> after``; top-level keys in ``free`` may."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [k for k in [*before, *(k for k in after if k not in before)] if at or k not in free]
        nested = (differences(before.get(k), after.get(k), at=f"{at}.{k}" if at else str(k)) for k in keys)
        return [line for lines in nested for line in lines]
    return [] if before == after else [f"{at} was {before!r} and is now {after!r}"]


def versions() -> dict[str, str]:
    """Versions of what a run's numbers depend on."""
    found = {"fedfoundry": shared_components.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return {**found, "platform": platform.platform()}
