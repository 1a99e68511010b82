"""How many protected updates of a client have left it: what its epsilon is counted by."""

from __future__ import annotations

import os
from pathlib import Path

from shared_components.errors import InputError
from shared_components.records import read_record, write_record

CURE = "put a copy of it back, or start over with --force, which counts from 0"


class Ledger:
    """``privacy.json`` in a client's own folder: ``updates`` that have left, and the last one's ``norm`` as it was
    before it was clipped, by which ``clip`` can be chosen. The file never leaves the client.

    An update is entered before it leaves, so a round that is broken off and done again counts twice.

    Args:
        folder: the client's own.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.path = Path(folder) / "privacy.json"

    @property
    def updates(self) -> int:
        """How many have left.

        Raises:
            InputError: the file is damaged.
        """
        if not self.path.exists():
            return 0
        found = read_record(self.path, CURE, sealed=True).get("updates")
        if not isinstance(found, int):
            raise InputError(
                f"{self.path}: expected the number of updates that have left, found {found!r}; {CURE}"
            )
        return found

    def enter(self, norm: float) -> int:
        """Enter one more.

        Args:
            norm: the L2 norm of the difference before it was clipped.
        Returns:
            How many have left, this one included.
        """
        updates = self.updates + 1
        write_record(self.path, {"updates": updates, "norm": norm})
        return updates
