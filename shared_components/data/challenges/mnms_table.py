"""The table of the M&Ms challenge: vendor, centre, and the two frames that experts have labelled."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from shared_components.errors import InputError

COLUMNS = ("External code", "Vendor", "Centre", "ED", "ES")
_PUBLISHED = "211230_M&Ms_Dataset_information_diagnosis_opendataset.csv"


class Row(NamedTuple):
    """A subject's row: vendor such as ``"A"``, centre such as ``"1"``, frames counted from 0."""

    vendor: str
    centre: str
    ed: int
    es: int


def find_table(source: Path) -> Path:
    """The challenge's CSV in ``source`` or a folder above the subjects' folders.

    Raises:
        InputError: no table with the columns wanted, or several.
    """
    files = sorted(file for file in source.rglob("*.[cC][sS][vV]") if not file.name.startswith("."))
    fitting = [file for file in files if not _missing(_lines(file))]
    if len(fitting) == 1:
        return fitting[0]
    found = f"{len(fitting)} such files" if fitting else f"{len(files)} CSV files, none with these columns"
    raise InputError(
        f"{source}: expected one table like {_PUBLISHED} with the columns {', '.join(COLUMNS)}, found {found}; "
        "name the challenge's folder, or the table with --table"
    )


def read_table(file: Path) -> dict[str, Row]:
    """Rows by subject's code in upper case; separators ``,``, ``;`` and tabs, columns in any order and case.

    Raises:
        InputError: a column is missing, or a row has no whole numbers for its frames.
    """
    lines = _lines(file)
    if missing := _missing(lines):
        raise InputError(
            f"{file}: expected the columns {', '.join(COLUMNS)}, found none named {missing[0]!r}; "
            "use the challenge's own table"
        )
    places = [_headers(lines).index(_plain(column)) for column in COLUMNS]
    rows = {}
    for number, line in enumerate(lines[1:], start=2):
        cells = [line[place].strip() if place < len(line) else "" for place in places]
        if cells[0]:
            rows[cells[0].upper()] = _row(f"{file}, line {number}", *cells[1:])
    return rows


def _row(where: str, vendor: str, centre: str, ed: str, es: str) -> Row:
    if not vendor or not centre:
        raise InputError(
            f"{where}: expected a vendor and a centre, found {vendor!r} and {centre!r}; fill them in"
        )
    return Row(vendor.upper(), centre.removesuffix(".0"), _frame(where, "ED", ed), _frame(where, "ES", es))


def _frame(where: str, column: str, text: str) -> int:
    number = text.removesuffix(".0")  # spreadsheets turn columns with gaps into decimals
    if not number.isdecimal():
        raise InputError(
            f"{where}: {column} expected a frame, counted from 0, found {text!r}; correct the table"
        )
    return int(number)


def _lines(file: Path) -> list[list[str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = file.read_text(encoding="latin-1")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); name the table with --table") from error
    header = text.partition("\n")[0]
    return list(csv.reader(text.splitlines(), delimiter=max(",;\t", key=header.count)))


def _headers(lines: list[list[str]]) -> list[str]:
    return [_plain(cell) for cell in lines[0]] if lines else []


def _missing(lines: list[list[str]]) -> list[str]:
    return [column for column in COLUMNS if _plain(column) not in _headers(lines)]


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()
