"""What whoever gets a startup kit does: a hospital fills in its own file, and has it and the data checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared_components.data.check import inspect_client_root
from shared_components.errors import InputError
from shared_components.federation.data_check import problems_beside
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.kits import is_server, keep_jobs, site_of
from shared_components.federation.nvflare.places import RUNS, read_site, site_file
from shared_components.federation.nvflare.requirement import require_nvflare
from shared_components.files import write_text

TEMPLATE = """\
# The site file of {name}: what this site knows by itself. It stays here; no job names it or reads anything else of
# this machine by it.

# Folder with this site's images and dataset.json, which
#   python scripts/prepare_data.py make-datalist FOLDER --domain … --labels …
# writes; several as a list: [/data/ward-a, /data/ward-b]. Relative paths begin at this file's folder.
data_root:

# Folder in which this site keeps, for each federation, what its client must remember between rounds: optimiser,
# private weights, random state. By default {runs}, in the startup kit.
# folder: /var/lib/fedfoundry

# What this site demands before any update of its model leaves: a job whose section privacy is weaker is refused, and
# no update leaves that would take this site's epsilon, over all jobs together, above the limit. Each line is optional.
# privacy:
#   max_norm: 1.0           # updates are clipped to an L2 norm of this or less
#   noise_multiplier: 0.8   # their noise has at least so many times the clip as standard deviation
#   epsilon_at_most: 8      # at this delta:
#   delta: 1.0e-5
"""


def join(kit: Path, federation: Federation | None = None, guests: Sequence[str] = ()) -> str:
    """Make a startup kit ready for its machine: a server's, or a client's with its site file; a line on what is next.

    Args:
        kit: the server's or a client's.
        federation: to check a client's data against.
        guests: sites that take part in no round of it.
    Raises:
        InputError: see :func:`write_template` and :func:`check_site`; or NVFlare is not installed, for a server.
    """
    if is_server(kit):
        require_nvflare()
        keep_jobs(kit)
        return f"{kit}: ready; start NVFlare with {kit / 'startup' / 'start.sh'}"
    written = write_template(kit)
    if written is not None:
        return f"{written}: fill it in, then run this command again"
    return check_site(kit, federation, guests)


def write_template(kit: Path) -> Path | None:
    """Write the site file of a client's startup kit, to be filled in; None if there is one already.

    Raises:
        InputError: it is no client's kit, or cannot be written to.
    """
    name = site_of(kit)
    file = site_file(kit, name)
    if file.exists():
        return None
    return write_text(file, TEMPLATE.format(name=name, runs=kit.absolute() / RUNS))


def check_site(kit: Path, federation: Federation | None = None, guests: Sequence[str] = ()) -> str:
    """Check a site's file and data, against a federation if one is given; a line that says what is there.

    Raises:
        InputError: every problem, one a line.
    """
    name = site_of(kit)
    place = read_site(kit, name)
    start = f"start NVFlare with {kit / 'startup' / 'start.sh'}"
    if federation is not None and name in guests:
        _refuse(name, problems_beside(federation, place.data_roots))
        return f"{name}: ready, takes part in no training; {start}"
    domains: list[str | None] = [None] * len(place.data_roots)
    if federation is not None:
        if name not in federation.clients:
            raise InputError(
                f"{name}: this kit's site is no client of {federation.name}; its clients are "
                f"{', '.join(federation.clients)}"
            )
        stated = federation.clients[name].domains
        domains = list(stated) * len(place.data_roots) if len(stated) == 1 else list(stated)
        if len(domains) != len(place.data_roots):
            raise InputError(
                f"{site_file(kit, name)}: expected {len(domains)} data roots, one for each domain that the federation "
                f"file names for {name}, found {len(place.data_roots)}"
            )
    reports = [
        inspect_client_root(
            root,
            labels=None if federation is None else federation.labels,
            domains=None if domain is None else [domain],
            progress=True,
        )
        for root, domain in zip(place.data_roots, domains, strict=True)
    ]
    _refuse(name, [str(problem) for report in reports for problem in report.faults])
    images = sum(report.subjects("training", None) for report in reports)
    return f"{name}: ready, with {images} training images; {start}"


def _refuse(name: str, problems: Sequence[str]) -> None:
    if problems:
        number = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError("\n".join([f"{name}: {number} in this site's data", *problems]))
