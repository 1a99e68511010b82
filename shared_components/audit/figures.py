"""The numbers of an audit, and the table in which they travel: nothing else of it leaves a client."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from shared_components.errors import InputError, shown
from shared_components.metrics.intervals import Estimate
from shared_components.records import read_table, write_table

COLUMNS = ("domain", "figure", "value", "low", "high", "real")


class Figure(NamedTuple):
    """A number of an audit.

    Attributes:
        value: of the factory's slices.
        low: end of its 95 % interval, NaN where it has none.
        high: the other end.
        real: what real slices give in their place; NaN where there is nothing to compare.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    real: float = math.nan

    @classmethod
    def of(cls, estimate: Estimate, real: float) -> Figure:
        """An estimate beside what real slices give."""
        return cls(*estimate, real)


Figures = Mapping[str, Figure]
"""Name to figure, of one domain of one client."""


def write_figures(path: str | os.PathLike, figures: Mapping[str, Figures]) -> Path:
    """Write the figures of each domain as CSV."""
    rows = [
        {"domain": domain, "figure": name, **figure._asdict()}
        for domain, own in figures.items()
        for name, figure in own.items()
    ]
    return write_table(path, COLUMNS, rows)


def read_figures(path: str | os.PathLike) -> dict[str, dict[str, Figure]]:
    """Domain to its figures, as :func:`write_figures` wrote them.

    Raises:
        InputError: the file is missing or damaged, or holds something else.
    """
    found: dict[str, dict[str, Figure]] = {}
    for row in read_table(path, "audit again"):
        try:
            numbers = [float(row[column]) for column in COLUMNS[2:]]
            found.setdefault(row["domain"], {})[row["figure"]] = Figure(*numbers)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: expected columns {', '.join(COLUMNS)} with numbers, found {shown(row)}; audit again"
            ) from error
    return found
