"""Numbers of a table: means over subjects and over seeds, and the machine that they come from."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from shared_components import records
from shared_components.errors import InputError


def mean(values: Iterable[str]) -> float:
    """Mean of the numbers among a CSV's cells; ``nan`` when there is none."""
    numbers = [float(value) for value in values if value and value.lower() != "nan"]
    return statistics.fmean(numbers) if numbers else float("nan")


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV."""
    return records.read_table(path, "run the benchmark again")


def mean_and_deviation(values: Sequence[float], digits: int) -> str:
    """``0.850 ± 0.141``, with the sample deviation, 0 for a single value; an en dash for none."""
    if not values:
        return "–"
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.{digits}f} ± {deviation:.{digits}f}"


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows]) + "\n"


def machine() -> str:
    """One line: what ran the benchmark, and when."""
    return f"Machine: {platform.machine()}, {os.cpu_count()} cores, {date.today().isoformat()}."


def check_reference(name: str | None, known: Sequence[str]) -> None:
    """Notice a method to compare with, as a table calls it, that is none of those that are known; None is the default.

    Raises:
        InputError: it is none of them.
    """
    if name is not None and name not in known:
        raise InputError(f"reference: expected one of {'; '.join(known)}, found {name!r}")
