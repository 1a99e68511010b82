"""Faults of a client data root, each with its cure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from shared_components.errors import InputError, printable


@dataclass(frozen=True)
class Problem:
    """A fault that the owner of the data can mend.

    Attributes:
        file: the file that has it.
        fault: what is wrong: what was expected and what was found.
        cure: what to do.
    """

    file: str
    fault: str
    cure: str

    def __str__(self) -> str:
        return "; ".join((f"{printable(self.file)}: {printable(self.fault)}", printable(self.cure)))


def dangling_link(path: str | os.PathLike) -> Problem:
    """The fault of a link that ends in no file."""
    return Problem(str(path), "is a link that leads nowhere or round in a circle", "mend the link")


class UnfitFile(InputError):
    """A file's fault as an error; ``problem`` has its parts."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def in_one_line(problems: Sequence[Problem], limit: int = 5) -> str:
    """One or more faults on one line; beyond ``limit`` the others are counted."""
    if len(problems) == 1:
        return str(problems[0])
    parts = []
    for number, problem in enumerate(problems[:limit]):
        same_file = number and problems[number - 1].file == problem.file
        place = "" if same_file else printable(problem.file) + ": "
        parts.append(f"{place}{printable(problem.fault)} ({printable(problem.cure)})")
    if len(problems) > limit:
        parts.append(f"and {len(problems) - limit} more")
    return "; ".join(parts)
