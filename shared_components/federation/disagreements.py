"""In what the reports of several sites differ, though it must be the same at all of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from shared_components.errors import printable, shown
from shared_components.federation.site_check import SiteReport

MATTER = ("fedfoundry", "monai", "torch", "pytorch-ignite", "numpy")
"""Packages that a client's numbers depend on: their versions agree but for the patch."""

LABELS, DOMAINS, BUNDLE = "labels", "domains", "bundle version"
FILE = "the federation file"


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
