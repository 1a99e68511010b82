"""Startup kits: what NVFlare provisions for server, clients and administrator, certificates included."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.leash import leashed
from shared_components.federation.nvflare.places import VARIABLE, plain_name
from shared_components.files import write_text

ADMIN = "admin@fedfoundry.org"
PORT = 8002
PORTS = range(20000, 32000)  # of rehearsals; systems take those of outgoing connections from above
RESOURCES = "resources.json"  # in a kit's folder ``local``; NVFlare reads it in the place of its default
TAKEN_IN_WITHIN = 60.0  # seconds for the sites to take a job in; NVFlare's own 10 are short on a busy machine
OUTCOME_WAIT = "NVFLARE_CLIENT_OUTCOME_WAIT_TIMEOUT"
"""Environment variable of a server: seconds for which a job that has ended waits for the last word of each site."""

PROCESS = "shared_components.federation.nvflare.kits_process"
HEAD = """\
# Who takes part, for NVFlare: nvflare provision -p {name} -w kits
# writes a startup kit for each, with certificates, into kits/{project}/prod_00.
# "name" of the server is its host name, under which every client must reach it at the port.
"""


def project(
    federation: Federation, server: str, port: int = PORT, guests: Sequence[str] = ()
) -> dict[str, Any]:
    """NVFlare's description of a project: the server, the federation's clients and guests, and one administrator."""
    return {
        "api_version": 3,
        "name": plain_name(federation.name),
        "description": f"federation {federation.name}",
        "participants": [
            {"name": server, "type": "server", "org": "fedfoundry", "fed_learn_port": port},
            *(
                {"name": name, "type": "client", "org": plain_name(name)}
                for name in (*federation.clients, *guests)
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
                "args": {"config_folder": "config"},
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
    environment["PYTHONPATH"] = str(
        Path(__file__).parents[3]
    )  # for the process that starts them, not for the kits
    with leashed(PROCESS, [str(log), *map(str, kits)], environment):
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


def is_server(kit: Path) -> bool:
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
