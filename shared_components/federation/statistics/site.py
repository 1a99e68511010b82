"""The statistics of one site, from its own data roots; what :func:`site_statistics` returns may leave it.

``local_statistics`` asks every client of this machine.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from monai.bundle import ConfigParser

from shared_components.data.client_root import ClientRoot
from shared_components.data.coverage import Frame
from shared_components.data.dataset_json import SPLITS
from shared_components.data.intensities import ordered
from shared_components.errors import InputError
from shared_components.federation.bundle_workflow import bundle_config
from shared_components.federation.federation import Federation
from shared_components.federation.lane import failure, of_each_client
from shared_components.federation.site_check import frame_of
from shared_components.federation.statistics.published import (
    MINIMUM,
    Reading,
    VolumeNumbers,
    published,
    volume_numbers,
)
from shared_components.steps import steps
from shared_components.value_rules import whole

BINS = 32
MOST_BINS = 256
PERCENTILES = (0.5, 99.5)  # of bundles that state none


@dataclass(frozen=True)
class Asked:
    """What a coordinator asks every site for; no path is in it.

    Attributes:
        reading: how volumes are read.
        minimum: patients that a number must stand for.
    """

    reading: Reading
    minimum: int = MINIMUM


def asked(federation: Federation, minimum: int = MINIMUM, bins: int = BINS) -> Asked:
    """What a federation's sites are asked for: their volumes as its bundle sees them.

    Raises:
        InputError: ``minimum`` or ``bins`` makes no sense.
    """
    for name, value, most in (("minimum", minimum, 1000), ("bins", bins, MOST_BINS)):
        if fault := whole(1, most).fault(f"--{name}", value):
            raise InputError(fault)
    parser = ConfigParser(bundle_config(federation))
    percentiles = parser.get_parsed_content("percentiles") if "percentiles" in parser else PERCENTILES
    frame = frame_of(federation) or Frame(1, None)
    return Asked(Reading(frame, ordered(percentiles), bins), minimum)


def site_statistics(
    data_roots: tuple[str, ...], asked: Asked, own_minimum: int = 1, progress: bool = False
) -> dict[str, Any]:
    """Read every volume of a site and give what may leave it.

    Args:
        data_roots: the site's own.
        asked: what the coordinator wants.
        own_minimum: the site's own; the larger of the two minima holds.
        progress: tell how far it is.
    Returns:
        ``minimum`` that was applied, and ``domains``: domain -> what :func:`published` returns.
    Raises:
        InputError: a data root is faulty, two of one domain differ in their classes, or a volume cannot be read.
    """
    minimum = max(asked.minimum, own_minimum)
    volumes: dict[str, list[VolumeNumbers]] = defaultdict(list)
    labels: dict[str, dict[int, str]] = {}
    for folder in data_roots:
        root = ClientRoot.load(folder)
        if labels.setdefault(root.domain, root.labels) != root.labels:
            raise InputError(
                f"{root.file}: expected the 'labels' {labels[root.domain]}, as the site's other data of domain "
                f"{root.domain} has them, found {root.labels}; use the same classes in both"
            )
        items = [(split, item) for split in SPLITS for item in root.items(split)]
        classes = [value for value in root.labels if value]
        for split, item in steps(items, f"looking at {folder}", "image", progress):
            volumes[root.domain].append(volume_numbers(item, split, classes, asked.reading))
    looked_up = asked.reading.looked_up
    return {
        "minimum": minimum,
        "domains": {
            domain: published(volumes[domain], labels[domain], looked_up, minimum) for domain in labels
        },
    }


def local_statistics(
    federation: Federation, asked: Asked, timeout: float | None = None
) -> dict[str, dict[str, Any]]:
    """Ask every client, several at a time; one that fails, dies or is too slow is named and the others go on.

    Args:
        federation: whose clients are asked.
        asked: for what.
        timeout: seconds that each may take; None: as long as it needs.
    Returns:
        Client to what :func:`site_statistics` returns, or to ``{"failure": text}``.
    """
    arguments = {name: (client.data_roots, asked) for name, client in federation.clients.items()}
    tasks = of_each_client(federation, site_statistics, arguments, "looking at the clients' volumes", timeout)
    return {
        name: task.result() if failure(task) is None else {"failure": failure(task)}
        for name, task in tasks.items()
    }
