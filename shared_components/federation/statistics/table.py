"""The statistics of a federation as a table of texts, and as rows of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shared_components.data.description import SPLITS
from shared_components.errors import printable
from shared_components.federation.statistics.merged import Count, Line, Summary
from shared_components.federation.statistics.published import SLICES, VOXELS, class_name, percentile_name
from shared_components.federation.statistics.volume_numbers import STATES

COLUMNS = ("client", "domain", "statistic", "volumes", "mean", "sd", "share")
LABELLED = STATES[:2]
NOTHING, WITHHELD = "–", "withheld"


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
