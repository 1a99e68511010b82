"""Startup kits: what NVFlare provisions for server, clients and administrator, certificates included.

``join`` is for whoever gets one: a hospital fills in its own file, and has it and the data checked.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from shared_components.data.check import inspect_client_root
from shared_components.errors import InputError, counted
from shared_components.federation.data_check import faults_beside
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare import require_nvflare
from shared_components.federation.nvflare.leash import leashed
from shared_components.federation.nvflare.places import RUNS, VARIABLE, plain_name, read_site, site_file
from shared_components.files import write_text
from shared_components.value_rules import whole

ADMIN = "admin@fedfoundry.org"
PORT = 8002
PORT_RULE = whole(1, 65535)
PORTS = range(20000, 32000)  # of rehearsals; systems take those of outgoing connections from above
RESOURCES = "resources.json"  # in a kit's folder ``local``; NVFlare reads it in the place of its default
STREAMS = "allow_log_streaming"  # there, and in a project: a client's log goes to the server, with names of files in it
TAKEN_IN_WITHIN = 60.0  # seconds for the sites to take a job in; NVFlare's own 10 are short on a busy machine
OUTCOME_WAIT = "NVFLARE_CLIENT_OUTCOME_WAIT_TIMEOUT"
"""Environment variable of a server: seconds for which a job that has ended waits for the last word of each site."""

HEAD = """\
# Who takes part, for NVFlare: nvflare provision -p {name} -w kits
# writes a startup kit for each, with certificates, into kits/{project}/prod_00.
# "name" of the server is its host name, under which every client must reach it at the port.
"""
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
# With noise_multiplier or epsilon_at_most no source model leaves either that this site trains alone.
"""


def project(
    federation: Federation, server: str, port: int = PORT, guests: Sequence[str] = ()
) -> dict[str, Any]:
    """NVFlare's description of a project: the server, the federation's clients and guests, and one administrator.

    Raises:
        InputError: a client has the server's name, or there is no such port.
    """
    names = (*federation.clients, *guests)
    if server in names:
        raise InputError(f"client {server}: has the name of the server; name one of them otherwise")
    fault = PORT_RULE.fault("--port", port)
    if fault:
        raise InputError(fault)
    return {
        "api_version": 3,
        "name": plain_name(federation.name),
        "description": f"federation {federation.name}",
        STREAMS: False,  # of every client; NVFlare 2.9 does not heed a false at a client itself
        "participants": [
            {"name": server, "type": "server", "org": "fedfoundry", "fed_learn_port": port},
            *(
                {"name": name, "type": "client", "org": re.sub(r"\W", "_", name, flags=re.ASCII)}
                for name in names
            ),
            {"name": ADMIN, "type": "admin", "org": "fedfoundry", "role": "project_admin"},
        ],
        "builders": [
            {
                "path": "nvflare.lighter.impl.workspace.WorkspaceBuilder",
                "args": {"template_file": ["master_template.yml"]},
            },
            {
                "path": "nvflare.lighter.impl.static_file.StaticFileBuilder",
                # over NVFlare's own default, http, a site takes no message above 4 MiB (aiohttp's), a job among them
                "args": {"config_folder": "config", "scheme": "grpc"},
            },
            {"path": "nvflare.lighter.impl.cert.CertBuilder"},
            {"path": "nvflare.lighter.impl.signature.SignatureBuilder"},
        ],
    }


def write_project(
    federation: Federation, folder: Path, server: str, port: int = PORT, guests: Sequence[str] = ()
) -> Path:
    """Write ``project.yml`` for ``nvflare provision``."""
    content = project(federation, server, port, guests)
    head = HEAD.format(name="project.yml", project=content["name"])
    return write_text(folder / "project.yml", head + yaml.safe_dump(content, sort_keys=False))


def provision(project_file: Path, folder: Path) -> Path:
    """Let NVFlare make the kits; the folder with one for each participant.

    Raises:
        InputError: NVFlare does not take the project.
    """
    command = (sys.executable, "-m", "nvflare.lighter.provision", "-p", str(project_file), "-w", str(folder))
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    made = sorted(folder.glob("*/prod_*"))
    if result.returncode or not made:
        words = " ".join((result.stdout + result.stderr).split())[-300:]
        raise InputError(f"{project_file}: NVFlare made no startup kits of it ({words})")
    return made[-1]


def user_of(kit: Path) -> str:
    """The administrator whose startup kit it is.

    Raises:
        InputError: it is no administrator's kit.
    """
    return _owner(kit, "fed_admin.json", ("admin", "username"), "an administrator's", "the administrator")


def site_of(kit: Path) -> str:
    """The client whose startup kit it is.

    Raises:
        InputError: it is no client's kit.
    """
    return _owner(kit, "fed_client.json", ("client", "fqsn"), "a client's", "this site")


def _owner(kit: Path, name: str, keys: tuple[str, str], whose: str, who: str) -> str:
    """What a file of a startup kit says under two keys."""
    file = kit / "startup" / name
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))[keys[0]][keys[1]])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{kit}: expected {whose} startup kit, with {file.relative_to(kit)}, found none; "
            f"name the folder that was provisioned for {who}"
        ) from error


@contextmanager
def started(kits: list[Path], log: Path) -> Iterator[None]:
    """Server and clients, each in a process of its own that runs its startup kit; ended with the block."""
    environment = {key: value for key, value in os.environ.items() if key not in (VARIABLE, "PYTHONPATH")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    environment.setdefault("OMP_NUM_THREADS", "1")
    environment.setdefault(OUTCOME_WAIT, "20")  # NVFlare's own 900 are long where a machine is gone for good
    # for the process that starts them, not for the kits
    environment["PYTHONPATH"] = str(Path(__file__).parents[3])
    with leashed("kits", [str(log), *map(str, kits)], environment):
        yield


def keep_jobs(kit: Path) -> Path:
    """Let a server keep the jobs that it gets, and their results, in its own kit, and give sites time to take a job in.

    NVFlare's own place for them is one folder in ``/tmp``, where every server of a machine would run what was
    submitted to another one, and where others can read what jobs have made.

    Args:
        kit: the server's, where it is to stay: the place is noted as an absolute path.
    Returns:
        The file that says so.
    """
    from nvflare.lighter.utils import update_storage_locations

    update_storage_locations(str(kit / "local"), str(kit.absolute()))
    file = kit / "local" / RESOURCES
    values = json.loads(file.read_text(encoding="utf-8"))
    for server in values["servers"]:
        server["admin_timeout"] = TAKEN_IN_WITHIN
    return write_text(file, json.dumps(values, indent=1))


def _is_server(kit: Path) -> bool:
    """Whether it is a server's startup kit."""
    return (kit / "startup" / "fed_server.json").is_file()


def free_port() -> int:
    """A port of this machine that nobody listens at, and that the system gives to no outgoing connection."""
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        if is_free(port):
            return port
    raise InputError(
        f"no port of this machine from {PORTS[0]} to {PORTS[-1]} is free; end what listens there"
    )


def is_free(port: int) -> bool:
    """Whether nobody listens at a port of this machine."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("localhost", port))
        except OSError:
            return False
        return True


def join(kit: Path, federation: Federation | None = None, guests: Sequence[str] = ()) -> str:
    """Make a startup kit ready for its machine: a server's, or a client's with its site file; a line on what is next.

    Args:
        kit: the server's or a client's.
        federation: to check a client's data against.
        guests: sites that take part in no round of it.
    Raises:
        InputError: see :func:`write_template` and :func:`check_site`; a client's sends its log to the server; or
            NVFlare is not installed, for a server.
    """
    if _is_server(kit):
        require_nvflare()
        keep_jobs(kit)
        return f"{kit}: ready; start NVFlare with {kit / 'startup' / 'start.sh'}"
    written = write_template(kit)
    _refuse_streaming(kit)
    if written is not None:
        return f"{written}: fill it in, then run this command again"
    return check_site(kit, federation, guests)


def _refuse_streaming(kit: Path) -> None:
    """Raise where NVFlare would send a client's log to the server, as it does unless it is told not to."""
    files = [kit / "local" / name for name in (RESOURCES, f"{RESOURCES}.default")]
    file = next((file for file in files if file.is_file()), files[-1])
    try:
        streams = json.loads(file.read_text(encoding="utf-8")).get(STREAMS, True)
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{file}: expected what NVFlare has provisioned, found none ({error})") from error
    if streams is not False:
        raise InputError(
            f'{file}: expected "{STREAMS}": false, found {json.dumps(streams)}, with which its log goes to the '
            "server, names of files and patients in it; write false there"
        )


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
        InputError: every fault, one a line.
    """
    name = site_of(kit)
    place = read_site(kit, name)
    start = f"start NVFlare with {kit / 'startup' / 'start.sh'}"
    if federation is not None and name in guests:
        _refuse(name, faults_beside(federation, place.data_roots))
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
    _refuse(name, [str(fault) for report in reports for fault in report.faults])
    images = sum(report.subjects("training", None) for report in reports)
    return f"{name}: ready, with {images} training images; {start}"


def _refuse(name: str, faults: Sequence[str]) -> None:
    if faults:
        number = counted(len(faults), "problem")
        raise InputError("\n".join([f"{name}: {number} in this site's data", *faults]))
