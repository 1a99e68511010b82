"""CSV tables that a spreadsheet shows as they are: no cell is taken for a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FORMULA = re.compile(
    r"'*[=+\-@\t\r]"
)  # a spreadsheet runs a cell that begins so, after the quotes that we put there
QUOTED = re.compile(r"'+[=+\-@\t\r]")
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?|[-+]?(inf|nan)", re.IGNORECASE)


def table_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], head: bool = True) -> str:
    """Rows as CSV; a cell that a row lacks is empty.

    A text that begins with ``=``, ``+``, ``-`` or ``@`` gets a quote before it (so does one that begins with quotes
    and one of these, so that reading can take one off again); numbers stay numbers.

    Args:
        columns: their names, in order.
        rows: column to cell.
        head: begin with a line of the columns' names.
    Raises:
        ValueError: a row has a column that is not among ``columns``.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    if head:
        writer.writerow({name: _quoted(name) for name in columns})
    writer.writerows({name: _quoted(str(cell)) for name, cell in row.items()} for row in rows)
    return text.getvalue()


def table_rows(text: str) -> list[dict[str, str]]:
    """The rows of :func:`table_text`, with the texts that were written."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if reader.fieldnames is not None:
        reader.fieldnames = [_bare(name) for name in reader.fieldnames]
    return [
        {name: _bare(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in reader
    ]


def _quoted(cell: str) -> str:
    return f"'{cell}" if FORMULA.match(cell) and not NUMBER.fullmatch(cell) else cell


def _bare(cell: str) -> str:
    return cell[1:] if QUOTED.match(cell) else cell
