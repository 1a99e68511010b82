"""What each machine knows by itself and no job ever holds: where its data lie and where runs are kept."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from shared_components.errors import InputError, shown
from shared_components.federation.client_entry import Demand, read_demand
from shared_components.federation.federation import BUDGET
from shared_components.federation.section import Section, path_faults
from shared_components.federation.start import IN_STUDY, Start
from shared_components.federation.statistics.published import MINIMUM
from shared_components.yaml_files import read_values

VARIABLE = "FEDFOUNDRY_SITE"
"""Environment variable: the site file, or a folder with a file ``<site>.yaml`` for each of several sites."""

SITE_FILE = "fedfoundry.yaml"  # in the folder ``local`` of a startup kit
RUNS = "fedfoundry"  # in a startup kit, unless the site file says otherwise


@dataclass(frozen=True)
class Place:
    """A machine that takes part: a site, or the server.

    Attributes:
        name: the site's name in the federation.
        folder: where runs are kept, one folder for each federation's name; or, for a rehearsal on one machine, the
            run's own folder.
        data_roots: the site's data; none at the server.
        minimum: patients that a number of its statistics must stand for, whatever the coordinator asks for.
        demand: what privacy its updates must have.
        rehearsal: whether ``folder`` is the run's own, opened and locked by who started the rehearsal.
        earlier: in a rehearsal, the folder of the run that it goes on from; empty if there is none.
    """

    name: str
    folder: str
    data_roots: tuple[str, ...] = ()
    minimum: int = 1
    demand: Demand | None = None
    rehearsal: bool = False
    earlier: str = ""

    @property
    def noisy(self) -> bool:
        """Whether the site demands noise of its updates."""
        return self.demand is not None and self.demand.noisy

    def run_folder(self, federation: str) -> str:
        """Where this machine keeps what it must remember of the federation of that name."""
        return self.folder if self.rehearsal else str(Path(self.folder, own_name(federation)))

    def earlier_folders(self, start: Start) -> list[Path]:
        """Where this machine may have kept what it must remember of the run that ``start`` is of, likeliest first.

        Whether the run was a study's, its own folder does not say to who names that.
        """
        if self.earlier:
            return [Path(self.earlier)]
        folder = Path(self.folder, own_name(start.run))
        return [folder / plain_name(start.within)] if start.within else [folder, folder / IN_STUDY]

    @property
    def budget(self) -> str | None:
        """The file that counts what its updates have spent in every federation; None: a rehearsal's own does."""
        return None if self.rehearsal else str(Path(self.folder, BUDGET))


def plain_name(name: str) -> str:
    """The name of a federation as that of a folder and of a job: letters, digits, ``_`` and ``-`` alone."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "federation"


def own_name(name: str) -> str:
    """The same for a folder that no other federation has: with a digest of the name where letters were replaced.

    >>> own_name("two-hospitals"), own_name("two hospitals")
    ('two-hospitals', 'two-hospitals-bcbb8d7e')
    """
    plain = plain_name(name)
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def site_file(kit: Path, name: str) -> Path:
    """The site file of ``name``, whose startup kit is ``kit``: by the environment, or in the kit's folder ``local``."""
    given = os.environ.get(VARIABLE)
    if not given:
        return kit / "local" / SITE_FILE
    return Path(given) / f"{name}.yaml" if os.path.isdir(given) else Path(given)


def read_site(kit: Path, name: str) -> Place:
    """A site's own file.

    Raises:
        InputError: every fault of it, one a line.
    """
    file = site_file(kit, name)
    if not file.is_file():
        raise InputError(
            f"{file}: expected the site file of {name}, which says where its data lie, found none; "
            "python scripts/federate.py join writes one to fill in"
        )
    section = Section(read_values(file, "site"), file)
    place = _read(section, kit, name)
    if not place.data_roots:
        section.faults.append("'data_root' is missing; name the folder with the site's dataset.json")
    section.refuse()
    return place


def read_server(kit: Path) -> Place:
    """Where the server keeps runs; a server without a file of its own keeps them in its startup kit.

    Raises:
        InputError: every fault of the file, one a line.
    """
    file = site_file(kit, "server")
    if not file.is_file():
        return Place("server", str(kit / RUNS))
    section = Section(read_values(file, "site"), file)
    place = _read(section, kit, "server")
    section.refuse()
    return place


def _read(file: Section, kit: Path, name: str) -> Place:
    file.expect(("data_root", "folder", "minimum", "privacy", "rehearsal", "earlier"))
    roots = file.places("data_root")
    file.faults += [
        f"'data_root' {root} is not a folder; check the path" for root in roots if not os.path.isdir(root)
    ]
    minimum = file.values.get("minimum", MINIMUM)
    if isinstance(minimum, bool) or not isinstance(minimum, int) or minimum < 1:
        file.faults.append(
            f"'minimum': expected the least number of patients in a statistic, found {shown(minimum)}"
        )
    return Place(
        name,
        folder=_folder(file, "folder") or str(kit / RUNS),
        data_roots=roots,
        minimum=minimum,
        demand=read_demand(file.section("privacy")),
        rehearsal=file.values.get("rehearsal") is True,
        earlier=_folder(file, "earlier"),
    )


def _folder(file: Section, key: str) -> str:
    """An absolute folder, relative ones beside the file."""
    text = file.text(key)
    place = os.path.normpath((file.source.parent / text).absolute()) if text else ""
    file.faults += path_faults(place, f"'{key}'")
    return place
