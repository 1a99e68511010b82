"""A list of steps, each with a limit of time, whose failures are lines of a table and stop nothing."""

from __future__ import annotations

import contextlib
import io
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from shared_components.benchmarks.gpu.place import Place, Row
from shared_components.benchmarks.tables import machine, markdown
from shared_components.csv_tables import table_text
from shared_components.errors import cause
from shared_components.files import write_text
from shared_components.time_limits import limited

COLUMNS = ("step", "what", "result", "seconds", "gigabytes", "remark")
LEAST = 3.0  # s left, below which no further step begins


class Step(NamedTuple):
    """A name, the work, which yields a :class:`Row` as each of its parts ends, and its limit, s."""

    name: str
    work: Callable[[Place], Iterable[Row]]
    limit: float


class OutOfTime(Exception):
    """A step has taken longer than it may."""


class Checklist:
    """Runs steps one after the other; the table is written anew after each line.

    Args:
        place: where.
    """

    def __init__(self, place: Place) -> None:
        self._place, self._stream = place, sys.stdout  # where lines go while the steps' own output does not
        self._cells: list[dict[str, str]] = []
        self._output = io.StringIO()

    def run(self, steps: Sequence[Step], seconds: float) -> bool:
        """Whether all went well within ``seconds``; a step for which too little is left is left out, which is not."""
        end = time.monotonic() + seconds
        for step in steps:
            left = end - time.monotonic()
            if left < LEAST:
                self._add(step, Row("all", remark=f"no time left of {seconds:.0f} s"), "left out")
            else:
                self._do(step, min(step.limit, left))
        return all(cells["result"] == "ok" for cells in self._cells)

    def _do(self, step: Step, limit: float) -> None:
        start = time.monotonic()
        try:
            with limited(limit, OutOfTime(f"longer than {limit:.0f} s")), self._quiet():
                for row in step.work(self._place):
                    self._add(step, row, "ok" if row.well else "FAILED")
        except Exception as error:  # whatever it is, it is told, and the other steps are tried
            self._output.write(traceback.format_exc())
            self._add(step, Row("ended early", time.monotonic() - start, remark=cause(error)), "FAILED")

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """What the step prints goes into ``output.txt``."""
        with contextlib.redirect_stdout(self._output), contextlib.redirect_stderr(self._output):
            yield

    def _add(self, step: Step, row: Row, result: str) -> None:
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
