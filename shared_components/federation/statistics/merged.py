"""The statistics of several sites side by side, and of all together, as lines, a table of texts and rows of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, NamedTuple

from shared_components.data.dataset_json import SPLITS
from shared_components.errors import printable, shown
from shared_components.federation.statistics.published import (
    SLICES,
    STATES,
    VOXELS,
    class_name,
    percentile_name,
    rounded,
    rounded_deviation,
)

ALL = "all"
COLUMNS = ("client", "domain", "statistic", "volumes", "mean", "sd", "share")
LABELLED = STATES[:2]
LARGEST = 1e100  # of a number that can be squared
NOTHING, WITHHELD = "–", "withheld"


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
    lines = [line for client in sorted(sites) for line in _lines(client, _counted(sites[client]))]
    told = [line for line in lines if line.failure is None]
    return [*lines, _together(told)] if told else lines


def _counted(site: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a site has told; a failure in its place where no sum can be made of it."""
    for found in site.get("domains", {}).values():
        shares = {name: found[name] for name in ("intensity",) if name in found}
        for name, told in {**found["measures"], **shares}.items():
            numbers = [told.get("mean"), told.get("sd"), *told.get("shares", ())]
            if told["n"] < 1 or any(abs(number) > LARGEST for number in numbers if number is not None):
                return {"failure": f"{printable(name)}: expected numbers of volumes, found {shown(told)}"}
    return site


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
    return Summary(n, rounded(mean), rounded_deviation(sqrt(squares / max(1, n - 1)), mean))


def _mixed(lines: Sequence[Line]) -> list[float | None]:
    """Shares of all volumes; None in a bin that no site tells of."""
    mixed: list[float | None] = []
    for column in zip(*(line.shares for line in lines), strict=True):
        told = [(share, line.volumes) for share, line in zip(column, lines, strict=True) if share is not None]
        number = sum(volumes for _, volumes in told)
        mixed.append(sum(share * volumes for share, volumes in told) / number if told else None)
    total = sum(share or 0 for share in mixed)
    return [share if share is None else rounded(share / (total or 1)) for share in mixed]


def classes_of(lines: Sequence[Line]) -> list[str]:
    """Names of the classes whose volume any line tells."""
    before, after = class_name("\0").split("\0")
    names = dict.fromkeys(name for line in lines for name in line.measures)
    return [n[len(before) : -len(after)] for n in names if n.startswith(before) and n.endswith(after)]


def cells(lines: Sequence[Line], looked_up: Sequence[float]) -> tuple[list[str], list[list[str]]]:
    """Titles of the columns, and the texts of each line that has not failed.

    Args:
        lines: of :func:`merged`.
        looked_up: percentiles of the intensities.
    """
    classes = classes_of(lines)
    intensities = " / ".join(f"{percentile:g}" for percentile in looked_up)
    heads = ["client", "domain", *SPLITS, "voxels (mm)", "slices", f"intensity (percentiles {intensities})"]
    rows = []
    for line in (line for line in lines if line.failure is None):
        row = [printable(line.client), printable(line.domain), *(_split(line, split) for split in SPLITS)]
        row.append(_several(line, VOXELS, " × "))
        row.append(_one(line, SLICES, STATES))
        row.append(_several(line, [percentile_name(percentile) for percentile in looked_up], " / "))
        row += [_one(line, class_name(name), STATES[:1]) for name in classes]
        rows.append(row)
    return [*heads, *(f"{printable(name)} (ml)" for name in classes)], rows


def table(lines: Sequence[Line], looked_up: Sequence[float]) -> str:
    """The table as text: a line for each domain of each site and one for all, and what a reader must know."""
    heads, rows = cells(lines, looked_up)
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    ruled = [heads, ["-" * width for width in widths], *rows]
    texts = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in ruled
    ]
    return "\n".join([*texts, *remarks(lines)])


def remarks(lines: Sequence[Line]) -> list[str]:
    """Which sites have told nothing, and what is withheld."""
    failures = [f"client {line.client}: {line.failure}" for line in lines if line.failure is not None]
    hidden = any(
        count.withheld for line in lines for split in line.counts.values() for count in split.values()
    )
    if hidden:
        failures.append(
            "< n: volumes of fewer than n patients, withheld at their site and in no other number of this table"
        )
    return failures


def _split(line: Line, split: str) -> str:
    """``15 (12 labelled)``."""
    labelled = [
        f"{line.count(split, state)} {state}" for state in LABELLED if line.count(split, state) != Count()
    ]
    total = str(line.count(split, *STATES))
    return f"{total} ({', '.join(labelled)})" if labelled else total


def _several(line: Line, names: Sequence[str], between: str) -> str:
    if any(name not in line.measures for name in names):
        return _absent(line, STATES)
    return between.join(_number(line.measures[name]) for name in names)


def _one(line: Line, name: str, states: Sequence[str]) -> str:
    return _number(line.measures[name]) if name in line.measures else _absent(line, states)


def _absent(line: Line, states: Sequence[str]) -> str:
    """Whether there is nothing to tell, or something that is withheld."""
    none = all(line.count(split, *states) == Count() for split in SPLITS)
    return NOTHING if none else WITHHELD


def _number(summary: Summary) -> str:
    return _digits(summary.mean, 3) + (f" ± {_digits(summary.sd, 2)}" if summary.sd else "")


def _digits(value: float, digits: int) -> str:
    """Significant digits, without an exponent where a reader needs none: 1080, not 1.08e+03."""
    return f"{float(f'{value:.{digits}g}'):g}"


def rows(lines: Sequence[Line]) -> Iterator[dict[str, object]]:
    """Everything that the sites published, a number a row, with :data:`COLUMNS`."""
    for line in lines:
        place = {"client": line.client, "domain": line.domain}
        if line.failure is not None:
            yield {**place, "statistic": f"failed: {printable(line.failure)}"}
            continue
        for split, states in line.counts.items():
            for state, count in states.items():
                yield {**place, "statistic": f"{split}, {state}", "volumes": str(count)}
        for name, summary in line.measures.items():
            numbers = {"volumes": summary.n, "mean": summary.mean, "sd": summary.sd}
            yield {**place, "statistic": name, **numbers}
        width = 2 / max(1, len(line.shares))
        for number, share in enumerate(line.shares):
            name = f"scaled intensity from {number * width - 1:.4g} to {(number + 1) * width - 1:.4g}"
            shown = WITHHELD if share is None else share
            yield {**place, "statistic": name, "volumes": line.volumes, "share": shown}
