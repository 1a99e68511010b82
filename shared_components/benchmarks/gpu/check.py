"""All steps of the check, in their order, each with a limit of time.

Their failures are lines of a table and stop no other step.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from shared_components.benchmarks.gpu import agreement, bundles, paper, updates
from shared_components.benchmarks.gpu.place import CheckedPart, CheckPlace, about_machine
from shared_components.benchmarks.tables import machine, markdown
from shared_components.errors import InputError, cause
from shared_components.files import make_folder, write_text
from shared_components.interrupts import limited
from shared_components.records import table_text

COLUMNS = ("step", "what", "result", "seconds", "gigabytes", "remark")
LEAST = 3.0  # s left, below which no further step begins


class CheckStep(NamedTuple):
    """A name, the work, which yields a :class:`CheckedPart` as each of its parts ends, and its limit, s."""

    name: str
    work: Callable[[CheckPlace], Iterable[CheckedPart]]
    limit: float


class OutOfTime(Exception):
    """A step has taken longer than it may."""


class Checklist:
    """Runs steps one after the other; the table is written anew after each line.

    Args:
        place: where.
    """

    def __init__(self, place: CheckPlace) -> None:
        self._place, self._stream = place, sys.stdout  # where lines go while the steps' own output does not
        self._cells: list[dict[str, str]] = []
        self._output = io.StringIO()

    def run(self, steps: Sequence[CheckStep], seconds: float) -> bool:
        """Whether all went well within ``seconds``; a step for which too little is left is left out, which is not."""
        end = time.monotonic() + seconds
        for step in steps:
            left = end - time.monotonic()
            if left < LEAST:
                self._add(step, CheckedPart("all", remark=f"no time left of {seconds:.0f} s"), "left out")
            else:
                self._do(step, min(step.limit, left))
        return all(cells["result"] == "ok" for cells in self._cells)

    def _do(self, step: CheckStep, limit: float) -> None:
        start = time.monotonic()
        try:
            with limited(limit, OutOfTime(f"longer than {limit:.0f} s")), self._quiet():
                for row in step.work(self._place):
                    self._add(step, row, "ok" if row.well else "FAILED")
        except Exception as error:  # whatever it is, it is told, and the other steps are tried
            self._output.write(traceback.format_exc())
            self._add(
                step, CheckedPart("ended early", time.monotonic() - start, remark=cause(error)), "FAILED"
            )

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """What the step prints goes into ``output.txt``."""
        with contextlib.redirect_stdout(self._output), contextlib.redirect_stderr(self._output):
            yield

    def _add(self, step: CheckStep, row: CheckedPart, result: str) -> None:
        seconds = "" if row.seconds is None else f"{row.seconds:.3g}"
        gigabytes = "" if row.gigabytes is None else f"{row.gigabytes:.2f}"
        cells = (step.name, row.what, result, seconds, gigabytes, row.remark)
        self._cells.append(dict(zip(COLUMNS, cells, strict=True)))
        measured = [f"{seconds} s" if seconds else "", f"{gigabytes} GB" if gigabytes else "", row.remark]
        line = f"{result:8} {step.name}: {', '.join(filter(None, (row.what, *measured)))}"
        print(line, file=self._stream, flush=True)
        folder = self._place.folder
        write_text(folder / "gpu_check.csv", table_text(COLUMNS, self._cells))
        lines = [[cells[name] for name in COLUMNS] for cells in self._cells]
        write_text(folder / "gpu_check.md", f"{markdown(COLUMNS, lines)}\n{machine()}\n")
        write_text(folder / "output.txt", self._output.getvalue())


STEPS = (
    CheckStep("machine", about_machine, 60),
    CheckStep("networks", agreement.networks, 60),
    CheckStep("phantoms", bundles.phantoms, 60),
    CheckStep("factory", bundles.factory, 60),
    CheckStep("adaptation", bundles.adaptation, 90),
    CheckStep("segmentation", bundles.segmentation, 60),
    CheckStep("agreement", agreement.segmentations, 60),
    CheckStep("volumes", agreement.volumes, 30),
    CheckStep("meta-learning", paper.segmentation, 60),
    CheckStep("factory at 64 px", updates.factory, 60),
    CheckStep("adaptation at 256 px", paper.adaptation, 40),
    CheckStep("factory at 512 px", paper.factory, 90),
    CheckStep("published adaptation at 512 px", paper.published, 60),
    CheckStep("inference", updates.inference, 40),
    CheckStep("clients", bundles.side_by_side, 90),
    CheckStep("torch.compile", updates.compiled, 120),
)


def gpu_check(
    output_dir: str | Path,
    device: str = "cuda",
    smoke: bool = False,
    seconds: float = 450,
    only: Sequence[str] | None = None,
) -> bool:
    """Run the steps; each line is printed, and stands in ``gpu_check.md`` and ``gpu_check.csv``, as it ends.

    Args:
        output_dir: for data, runs and the table.
        device: ``cuda`` or ``cpu``.
        smoke: at the smallest sizes.
        seconds: in which all must end.
        only: names of steps; None: all.
    Returns:
        Whether all went well.
    Raises:
        InputError: there is no such device or step.
    """
    known = [step.name for step in STEPS]
    for name in only or ():
        if name not in known:
            raise InputError(f"--only: expected some of {', '.join(known)}, found {name!r}")
    if device not in ("cuda", "cpu") or (device == "cuda" and not torch.cuda.is_available()):
        found = "found no GPU that torch can use" if device == "cuda" else f"found {device!r}"
        raise InputError(f"--device: expected cuda, or cpu to try the check itself, {found}")
    if device == "cpu":
        torch.set_num_threads(1)  # threads of small networks wait for one another
    place = CheckPlace(torch.device(device), make_folder(Path(output_dir).resolve()), smoke)
    chosen = [step for step in STEPS if only is None or step.name in only]
    return Checklist(place).run(chosen, seconds)
