"""The statistics of several sites side by side, and all of them together; from what they published, and no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, NamedTuple

from shared_components.data.description import SPLITS
from shared_components.federation.statistics.published import rounded
from shared_components.federation.statistics.volume_numbers import STATES

ALL = "all"


class Count(NamedTuple):
    """Volumes that are told of, and the most patients whose volumes may be withheld beside them."""

    told: int = 0
    withheld: int = 0

    def __str__(self) -> str:
        if not self.withheld:
            return str(self.told)
        return f"≥ {self.told}" if self.told else f"< {self.withheld + 1}"

    def __add__(self, other: Count) -> Count:
        return Count(self.told + other.told, self.withheld + other.withheld)


class Summary(NamedTuple):
    """Mean and standard deviation of ``n`` volumes."""

    n: int
    mean: float
    sd: float


@dataclass(frozen=True)
class Line:
    """One line of the table: a domain of a site, or all of them.

    Attributes:
        client: its name, or :data:`ALL`.
        domain: its domain; empty for all.
        counts: split -> state -> volumes.
        measures: name -> summary.
        shares: of the scaled intensities in each bin, None where withheld; empty where nothing is published.
        volumes: that the shares stand for.
        failure: why there is nothing else; None if there is.
    """

    client: str
    domain: str
    counts: Mapping[str, Mapping[str, Count]] = field(default_factory=dict)
    measures: Mapping[str, Summary] = field(default_factory=dict)
    shares: Sequence[float | None] = ()
    volumes: int = 0
    failure: str | None = None

    def count(self, split: str, *states: str) -> Count:
        """Volumes of a split in any of some states."""
        return sum((self.counts[split][state] for state in states), Count())


def merged(sites: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """A line for each domain of each site, in order of their names, and one for all.

    Args:
        sites: client to what :func:`site_statistics` returned, or to ``{"failure": text}``.
    """
    lines = [line for client in sorted(sites) for line in _lines(client, sites[client])]
    told = [line for line in lines if line.failure is None]
    return [*lines, _together(told)] if told else lines


def _lines(client: str, site: Mapping[str, Any]) -> Iterator[Line]:
    if "failure" in site:
        yield Line(client, "", failure=str(site["failure"]))
        return
    for domain, found in sorted(site["domains"].items()):
        intensity = found.get("intensity", {})
        counts = {
            split: {state: _count(found["cells"][split][state], site["minimum"]) for state in STATES}
            for split in SPLITS
        }
        measures = {name: Summary(**summary) for name, summary in found["measures"].items()}
        yield Line(client, domain, counts, measures, intensity.get("shares", ()), intensity.get("n", 0))


def _count(cell: int | None, minimum: int) -> Count:
    return Count(0, minimum - 1) if cell is None else Count(cell)


def _together(lines: Sequence[Line]) -> Line:
    counts = {
        split: {state: sum((line.counts[split][state] for line in lines), Count()) for state in STATES}
        for split in SPLITS
    }
    names = dict.fromkeys(name for line in lines for name in line.measures)
    measures = {
        name: _pooled([line.measures[name] for line in lines if name in line.measures]) for name in names
    }
    shown = [line for line in lines if line.shares]
    return Line(ALL, "", counts, measures, _mixed(shown), sum(line.volumes for line in shown))


def _pooled(parts: Sequence[Summary]) -> Summary:
    """Mean and standard deviation of all volumes from those of their parts."""
    n = sum(part.n for part in parts)
    mean = sum(part.n * part.mean for part in parts) / n
    squares = sum((part.n - 1) * part.sd**2 + part.n * (part.mean - mean) ** 2 for part in parts)
    return Summary(n, rounded(mean), rounded(sqrt(squares / max(1, n - 1))))


def _mixed(lines: Sequence[Line]) -> list[float | None]:
    """Shares of all volumes; None in a bin that no site tells of."""
    mixed: list[float | None] = []
    for column in zip(*(line.shares for line in lines), strict=True):
        told = [(share, line.volumes) for share, line in zip(column, lines, strict=True) if share is not None]
        number = sum(volumes for _, volumes in told)
        mixed.append(sum(share * volumes for share, volumes in told) / number if told else None)
    total = sum(share or 0 for share in mixed)
    return [share if share is None else rounded(share / (total or 1)) for share in mixed]
