"""The smallest federation, as a process that can be killed, whose clients misbehave on demand."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from shared_components.benchmarks import REPOSITORY, fault_handler
from shared_components.benchmarks.faulty_study import wait_until
from shared_components.benchmarks.process_tree import tree
from shared_components.errors import InputError
from shared_components.federation.rounds_log import read_rows
from shared_components.files import load_tensors, write_text

CLIENTS = {"island": "pet", "north": "t1", "south": "t2"}
CERTIFICATES = "certificates"
LONGEST = 600.0  # s that the smallest run may take; after that it hangs
TIMEOUT = 30.0  # s of ``round_timeout``
CONFIG = """# The plan of faults, and the handler that carries it out.
misbehave: []
+train::handlers:
  - {_target_: fault_handler.Misbehave, plan: '@misbehave', folder: '@output_dir'}
"""


class FaultyFederation:
    """The factory at smoke size with three clients, in a folder of its own.

    Args:
        folder: where it writes.
        data: the phantoms of ``make_phantoms``.
        engine: ``local``, ``nvflare`` (its simulator) or ``certificates`` (``federate.py poc``).
        rounds: how many.
        plan: of faults, see :class:`fault_handler.Misbehave`.
        more: further keys of the federation file.
    """

    def __init__(
        self,
        folder: Path,
        data: Path,
        engine: str = "local",
        rounds: int = 4,
        plan: Sequence[str] = (),
        **more: Any,
    ) -> None:
        self.folder, self.log = folder, folder.with_suffix(".log")
        self._command = "poc" if engine == CERTIFICATES else "run"
        values = {
            "name": folder.name,
            "bundle": str(_bundle(data.parent)),
            "configs": ["common.yaml", "train.yaml", "smoke.yaml", "faults.yaml"],
            "domains": ["t1", "t2", "pet"],
            "clients": {name: {"data_root": str(data / d), "domain": d} for name, d in CLIENTS.items()},
            "rounds": rounds,
            "updates_per_round": 2,
            "round_timeout": TIMEOUT,
            "overrides": {"picture_every": 0, "device": "$torch.device('cpu')", "misbehave": list(plan)},
            "engine": "nvflare" if engine == CERTIFICATES else engine,
            "output_dir": str(folder),
            **more,
        }
        self.file = write_text(folder.with_suffix(".yaml"), yaml.safe_dump(values, sort_keys=False))

    def start(self, *arguments: str) -> subprocess.Popen:
        """``federate.py run`` (or ``poc``) with some arguments; its output goes to ``log``."""
        command = [sys.executable, str(REPOSITORY / "scripts" / "federate.py"), self._command, str(self.file)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [*command, "--nocheck", *arguments], cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def run(self, *arguments: str) -> int | None:
        """The exit code of :meth:`start` once it has ended; None where it hung and was ended."""
        return ended(self.start(*arguments))

    def output(self) -> str:
        """All that the process wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def said(self) -> str:
        """The last line that it wrote."""
        return (self.output().strip().splitlines() or [""])[-1]

    def lines(self, pattern: str) -> list[str]:
        """The lines that it wrote in which a pattern is found."""
        return [line for line in self.output().splitlines() if re.search(pattern, line)]

    def ending(self, code: int | None) -> str:
        """How it ended, in words."""
        return f"hung for {LONGEST:.0f} s" if code is None else f"code {code}: {self.said()}"

    def must_run(self, *arguments: str) -> None:
        """Run it to its end.

        Raises:
            InputError: it does not get there.
        """
        code = self.run(*arguments)
        if code != 0:
            raise InputError(f"{self.log}: a run without a fault failed: {self.ending(code)}")

    def told_round(self, number: int) -> bool:
        """Whether a round was told to be whole."""
        return re.search(rf"^round {number}/", self.output(), re.MULTILINE) is not None

    def whole_rounds(self) -> int:
        """Rounds that are whole."""
        file = self.folder / "global.pt"
        return load_tensors(file)["round"] if file.is_file() else -1

    def left_out(self) -> dict[tuple[int, str], str]:
        """(round, client) to why its update did not count."""
        rows = read_rows(self.folder / "rounds.csv")
        return {(int(row["round"]), row["client"]): row["left_out"] for row in rows if "left_out" in row}


def ended(process: subprocess.Popen) -> int | None:
    """The exit code of a process once it has ended; None where it hung, so that it was ended with its children."""
    if wait_until(lambda: process.poll() is not None, LONGEST):
        return process.returncode
    for member in tree(process.pid)[1:]:
        _kill(member)
    process.kill()
    process.wait()
    return None


def same_weights(first: FaultyFederation, second: FaultyFederation, file: str = "global.pt") -> bool:
    """Whether two runs ended with the same weights in a file, bit for bit."""
    if not (second.folder / file).is_file():
        return False
    expected, found = (_tensors(load_tensors(run.folder / file)) for run in (first, second))
    return expected.keys() == found.keys() and all(torch.equal(expected[k], found[k]) for k in expected)


def _tensors(content: Any, at: str = "") -> dict[str, torch.Tensor]:
    if isinstance(content, torch.Tensor):
        return {at: content}
    parts = content.items() if isinstance(content, dict) else ()
    return {name: tensor for key, part in parts for name, tensor in _tensors(part, f"{at}/{key}").items()}


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _bundle(folder: Path) -> Path:
    """A copy of the factory bundle with the handler that misbehaves."""
    bundle = folder / "bundle" / "factory"
    if not bundle.is_dir():
        shutil.copytree(REPOSITORY / "bundles" / "factory", bundle)
        shutil.copy(fault_handler.__file__, bundle / "fault_handler.py")
        write_text(bundle / "configs" / "faults.yaml", CONFIG)
    return bundle
