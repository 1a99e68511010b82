"""What a site has spent of its privacy, as it notes itself before an update leaves.

``Budget`` counts all updates with noise, whichever federation they were for; ``Ledger`` those of one client in one
federation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.federation.client_entry import Demand
from shared_components.federation.folder_lock import writing_alone
from shared_components.federation.privacy import composed
from shared_components.records import read_record, write_record

LEDGER = "privacy.json"
UNKNOWN = "put a copy of it back; without it nobody knows what this site has spent"
UNCOUNTED = "put a copy of it back, or start over with --force, which counts from 0"


class Budget:
    r"""A file of the site's own, which never leaves it.

    Updates of noise multipliers :math:`z_i` compose to one Gaussian mechanism, whose epsilon follows from
    :math:`\sum_i (2 / z_i)^2` alone (see ``privacy.py``): that sum is kept, and holds for any delta.

    Args:
        file: in the folder where the site keeps its runs.
    """

    def __init__(self, file: str | os.PathLike) -> None:
        self.path = Path(file)

    @property
    def squares(self) -> float:
        """The sum so far, 0 where nothing has left.

        Raises:
            InputError: the file is damaged.
        """
        return self._content()["squares"]

    def epsilon(self, delta: float) -> float:
        """What has been spent so far."""
        return composed(self.squares, delta)

    def refuse(self, noise: float, demand: Demand | None) -> None:
        """Refuse one more update that a site's demand does not allow, before anybody trains for it.

        Args:
            noise: its noise multiplier, above 0.
            demand: the site's, if it has any.
        Raises:
            InputError: it would take the site's epsilon above the limit.
        """
        if demand is not None and demand.epsilon_at_most is not None:
            fault = demand.beyond(composed(self.squares + (2 / noise) ** 2, demand.delta))
            if fault:
                raise InputError(fault)

    def enter(self, noise: float, demand: Demand | None) -> None:
        """Enter one more update, before it leaves; arguments and errors as of :meth:`refuse`."""
        with writing_alone(self.path):
            self.refuse(noise, demand)
            content = self._content()
            squares, updates = content["squares"] + (2 / noise) ** 2, content["updates"] + 1
            write_record(self.path, {**content, "squares": squares, "updates": updates})

    def carry(self, start: str, squares: float) -> None:
        """Enter what had been spent in a run that the site goes on from; once, however often it is told.

        Args:
            start: the digest of that run's weights.
            squares: the sum of its updates, and of those that it went on from itself.
        Raises:
            InputError: the file is damaged, or cannot be written.
        """
        with writing_alone(self.path):
            content = self._content()
            carried = content.get("carried", {})
            more = squares - carried.get(start, 0.0)
            if more > 0:
                carried = {**carried, start: squares}
                write_record(self.path, {**content, "squares": content["squares"] + more, "carried": carried})

    def _content(self) -> dict[str, Any]:
        """The ``squares`` in all, the number of ``updates`` of its own, and the part ``carried`` from each start."""
        if not self.path.exists():
            return {"squares": 0.0, "updates": 0}
        content = read_record(self.path, UNKNOWN, sealed=True)
        return {**content, "squares": float(content["squares"]), "updates": int(content["updates"])}


class Ledger:
    """``privacy.json`` in a client's own folder: ``updates`` that have left, and the last one's ``norm`` as it was
    before it was clipped, by which ``clip`` can be chosen. The file never leaves the client.

    An update is entered before it leaves, so a round that is broken off and done again counts twice, also where the
    run has to begin anew for it.

    Args:
        folder: the client's own.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.path = Path(folder) / LEDGER

    @property
    def updates(self) -> int:
        """How many have left.

        Raises:
            InputError: the file is damaged.
        """
        if not self.path.exists():
            return 0
        found = read_record(self.path, UNCOUNTED, sealed=True).get("updates")
        if not isinstance(found, int):
            raise InputError(
                f"{self.path}: expected the number of updates that have left, found {found!r}; {UNCOUNTED}"
            )
        return found

    @property
    def noised(self) -> int:
        """How many have left with noise: all or none, see :meth:`enter`."""
        updates = self.updates
        return updates if updates and read_record(self.path, UNCOUNTED, sealed=True).get("noise", 1.0) else 0

    def enter(self, norm: float, noise: float = 0.0) -> int:
        """Enter one more.

        Args:
            norm: the L2 norm of the difference before it was clipped.
            noise: its noise multiplier, the same for all: by it and by how many there are epsilon is counted.
        Returns:
            How many have left, this one included.
        Raises:
            InputError: earlier ones had other noise.
        """
        updates = self.updates + 1
        before = read_record(self.path, UNCOUNTED, sealed=True).get("noise", noise) if updates > 1 else noise
        if before != noise:
            raise InputError(
                f"{self.path}: {updates - 1} updates of noise {before:g} have left, and epsilon is counted as if all "
                f"had that of now, {noise:g}; put 'noise' back, or start over with --force, which counts from 0"
            )
        write_record(self.path, {"updates": updates, "norm": norm, "noise": noise})
        return updates
