"""One fault of a client data root, and its cure."""

from __future__ import annotations

from dataclasses import dataclass


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
        return " ".join(f"{self.file}: {self.fault}; {self.cure}".split())
