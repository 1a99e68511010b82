"""The check of every client before anything trains: its data, and in what the clients' reports disagree."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from shared_components.data.check import RootReport, inspect_client_root
from shared_components.data.client_root import read_entries
from shared_components.data.coverage import Frame, Reach
from shared_components.data.dataset_json import read_description
from shared_components.data.volumes import slice_axes
from shared_components.errors import InputError, counted, printable, shown
from shared_components.federation.federation import Federation
from shared_components.federation.lane import failure, of_each_client
from shared_components.federation.site_check import (
    FAULTS,
    SiteCheck,
    SiteReport,
    coverage_lines,
    frame_of,
    site_check,
)
from shared_components.yaml_files import read_configs

MUCH = 300_000_000  # bytes of images, from which on it pays to start processes for the check
CURE = "install the same versions and copy the same bundle to every client, or, for versions alone, set versions: warn"
MATTER = ("fedfoundry", "monai", "torch", "pytorch-ignite", "numpy")
"""Packages that a client's numbers depend on: their versions agree but for the patch."""
LABELS, DOMAINS, BUNDLE = "labels", "domains", "bundle version"
FILE = "the federation file"
NEEDED = "require_labels"  # id of a bundle's config that cannot train where nobody has labels


def check_clients(federation: Federation, more: Mapping[str, str] | None = None) -> None:
    """Check each client as its site would, and whether their reports agree; tell what is worth knowing of sound ones.

    Args:
        federation: whose clients.
        more: what is to be looked at beside them, by what it is called, such as ``"unseen D"``, to its data root:
            data of no client's domain, on which models are tried. They need no training images.
    Raises:
        InputError: every fault of every client, and every difference between them, one a line.
    """
    checks = _checked(federation)
    frame = frame_of(federation)
    others = {name: _inspect(federation, root, frame, True) for name, root in (more or {}).items()}
    faults = [f"client {name}: {fault}" for name, check in checks.items() for fault in check.faults]
    faults += [f"{name}: {fault}" for name, report in others.items() for fault in _faults(report, federation)]
    reports = {name: check.report for name, check in checks.items()}
    faults += _without_labels(federation, reports)
    found = _differences_of(federation, reports)
    if federation.labels is not None:
        # what differs from the file's is a fault of the client's, told with file and cure
        found = [difference for difference in found if difference.what != LABELS]
    _refuse(federation, faults, [difference for difference in found if difference.what != DOMAINS])
    for line in _remarks([*checks.items(), *others.items()], frame):
        print(line, flush=True)


def faults_beside(federation: Federation, roots: Sequence[str]) -> list[str]:
    """What is wrong with data roots of no client, as :func:`check_clients` finds it."""
    frame = frame_of(federation)
    reports = [_inspect(federation, root, frame, progress=False) for root in roots]
    return [str(fault) for report in reports for fault in _faults(report, federation)]


def _faults(report: RootReport, federation: Federation) -> Iterator[object]:
    return iter((*report.faults, *_seen_domain(report.root, federation.domains)))


def check_reports(federation: Federation, reports: Mapping[str, SiteReport]) -> None:
    """The same for clients that are elsewhere, of which only their reports are known.

    Raises:
        InputError: clients have faults, which their sites list in full, or differ.
    """
    faults = [
        f"client {name}: {_faults_by_kind(report.faults)}; they stand, with their cures, in {FAULTS} of its own folder"
        for name, report in reports.items()
        if report.faults
    ]
    faults += _without_labels(federation, reports)
    _refuse(federation, faults, _differences_of(federation, reports))


def _without_labels(federation: Federation, reports: Mapping[str, SiteReport]) -> list[str]:
    """That no client has a label to train on, where a training by itself would be refused for that."""
    counts = [report.volumes.get("training", (0, 0)) for report in reports.values()]
    if any(labelled for _, labelled in counts) or NEEDED not in read_configs(federation.config_files):
        return []
    images = counted(sum(number for number, _ in counts), "training image")
    return [f"labels: expected some at one client at least, found none of {images}; add label maps there"]


def _differences_of(federation: Federation, reports: Mapping[str, SiteReport]) -> list[Difference]:
    """In what clients differ from the federation file or from most of the others."""
    domains = {name: client.domains for name, client in federation.clients.items()}
    return disagreements(reports, federation.labels, domains, warn=federation.versions == "warn")


def _refuse(federation: Federation, faults: Sequence[str], found: Sequence[Difference]) -> None:
    """Raise if anything stops the federation, and print what does not."""
    stopping = [str(difference) for difference in found if difference.stops]
    lines = [*faults, *stopping]
    if lines:
        number = counted(len(lines), "problem")
        cure = [CURE] if any(each.stops and each.what in (BUNDLE, *MATTER) for each in found) else []
        raise InputError("\n".join([f"{federation.name}: {number} in the clients' data", *lines, *cure]))
    for difference in found:
        print(f"note: {difference}", flush=True)


def _faults_by_kind(faults: Mapping[str, int]) -> str:
    """``3 faults: 2 in images, 1 in dataset.json``."""
    parts = ", ".join(f"{number} in {kind}" for kind, number in sorted(faults.items()))
    return f"{counted(sum(faults.values()), 'problem')}: {parts}"


def _checked(federation: Federation) -> dict[str, SiteCheck]:
    """Every client's check; several at a time where they have much to read."""
    if not federation.workers or len(federation.clients) == 1 or _bytes(federation) < MUCH:
        return {name: site_check(federation, name, progress=True) for name in federation.clients}
    arguments = {name: (federation, name) for name in federation.clients}
    tasks = of_each_client(federation, site_check, arguments, "checking the clients' data")
    failures = [f"client {name}: {failure(task)}" for name, task in tasks.items() if failure(task)]
    if failures:
        raise InputError("\n".join([f"{federation.name}: the check of the clients' data failed", *failures]))
    return {name: task.result() for name, task in tasks.items()}


def _bytes(federation: Federation) -> int:
    roots = [root for client in federation.clients.values() for root in client.data_roots]
    entries = [entry for root in roots for entry in read_entries(root, read_description(root)[0])[0]]
    return sum(Path(entry.image).stat().st_size for entry in entries if os.path.isfile(entry.image))


def _inspect(federation: Federation, root: str, frame: Frame | None, progress: bool) -> RootReport:
    orientation = "RAS" if frame is None else slice_axes(frame.orientation)
    return inspect_client_root(
        root,
        labels=federation.labels,
        training=False,
        orientation=orientation,
        progress=progress,
        frame=frame,
    )


def _remarks(found: Sequence[tuple[str, SiteCheck | RootReport]], frame: Frame | None) -> Iterator[str]:
    """What stops nothing: notes on the data, and which part of the images no network will see."""
    reaches: dict[str, dict[str, Reach]] = {}
    for name, check in found:
        yield from (f"{name}: note: {note}" for note in check.notes)
        reaches.setdefault(name, {}).update(check.reaches)
    if frame is not None:
        yield from coverage_lines(reaches, frame)


def _seen_domain(root: str, domains: Sequence[str]) -> Iterator[str]:
    """Say so if a data root of no client is of one of the federation's ``domains``."""
    content, _ = read_description(root)
    if content.get("domain") in domains:
        yield (
            f"{root}: its domain {content['domain']!r} is one of the federation's, whose images are trained on; "
            "correct 'domain' there, or leave it out"
        )


class Difference(NamedTuple):
    """How a client differs from the others or from the federation file.

    Attributes:
        client: its name.
        what: the name of what differs.
        found: at the client.
        expected: of it, in words.
        stops: whether nothing may start.
    """

    client: str
    what: str
    found: str
    expected: str
    stops: bool = True

    def __str__(self) -> str:
        return f"client {self.client}: {self.what} {self.found}, where {self.expected}"


def disagreements(
    reports: Mapping[str, SiteReport],
    labels: Mapping[int, str] | None = None,
    domains: Mapping[str, Sequence[str]] | None = None,
    warn: bool = False,
) -> list[Difference]:
    """Every difference, sorted by client.

    What the federation file states is compared with that; the rest with what most clients have (of equally many, the
    first by name). Versions that differ in the patch alone stop nothing, nor does any with ``warn``.

    Args:
        reports: client to its report.
        labels: the federation's label values and class names; None: those of most clients.
        domains: client to the domain of each of its data roots, or the one of all of them; None: not compared.
        warn: other versions are told of, and stop nothing.
    """
    found = [
        *_labels(reports, labels),
        *_domains(reports, domains or {}),
        *_seen(reports),
        *_versions(reports, warn),
    ]
    return sorted(found, key=lambda difference: difference.client)


def _labels(reports: Mapping[str, SiteReport], labels: Mapping[int, str] | None) -> Iterator[Difference]:
    stated = {name: _table(report.labels) for name, report in reports.items() if report.labels}
    if labels is None:
        yield from _unlike_most(LABELS, stated)
        return
    wanted = _table({str(value): name for value, name in labels.items()})
    for name, table in stated.items():
        if table != wanted:
            yield Difference(name, LABELS, table, f"{FILE} has {wanted}")


def _domains(reports: Mapping[str, SiteReport], domains: Mapping[str, Sequence[str]]) -> Iterator[Difference]:
    for name, expected in domains.items():
        found = reports[name].domains if name in reports else expected
        alike = len(expected) == 1 and set(found) == set(expected)
        if list(found) != list(expected) and not alike:
            mine, its = (", ".join(map(printable, each)) or "none" for each in (found, expected))
            yield Difference(name, DOMAINS, mine, f"{FILE} has {its}")


def _seen(reports: Mapping[str, SiteReport]) -> Iterator[Difference]:
    for key in dict.fromkeys(key for report in reports.values() for key in report.seen):
        values = {
            name: _text(report.seen[key]) if key in report.seen else "none"
            for name, report in reports.items()
        }
        yield from _unlike_most(key, values)


def _versions(reports: Mapping[str, SiteReport], warn: bool) -> Iterator[Difference]:
    yield from _unlike_most(BUNDLE, {name: report.bundle for name, report in reports.items()}, not warn)
    for package in dict.fromkeys(package for report in reports.values() for package in report.versions):
        whole = {name: report.versions.get(package, "not installed") for name, report in reports.items()}
        stops = package in MATTER and not warn
        minor = {name: ".".join(version.split(".")[:2]) for name, version in whole.items()}
        usual = _most(minor)
        for difference in _unlike_most(package, whole):
            yield difference._replace(stops=stops and minor[difference.client] != usual)


def _unlike_most(what: str, values: Mapping[str, str], stops: bool = True) -> Iterator[Difference]:
    """The clients whose value is not that of most."""
    if len(set(values.values())) < 2:
        return
    usual = _most(values)
    others = [name for name, value in values.items() if value == usual]
    having = f"{others[0]} has {usual}" if len(others) == 1 else f"{', '.join(sorted(others))} have {usual}"
    for name, value in values.items():
        if value != usual:
            yield Difference(name, what, value, having, stops)


def _most(values: Mapping[str, str]) -> str:
    counts = Counter(values[name] for name in sorted(values))
    return max(counts, key=counts.__getitem__)  # of equally many the one that came first


def _table(labels: Mapping[str, str]) -> str:
    pairs = sorted(labels.items(), key=lambda pair: (len(pair[0]), pair[0]))
    return printable(f"{{{', '.join(f'{value}: {name}' for value, name in pairs)}}}")


def _text(value: Any) -> str:
    return printable(value) if isinstance(value, str) else shown(json.loads(json.dumps(value)))
