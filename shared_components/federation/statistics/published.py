"""What of a site's numbers leaves it: nothing that stands for fewer patients than a minimum.

Withholding a small number is of no use where a larger one gives it away: of 12 volumes 11 have labels, so one has
none. Therefore the volumes of a withheld cell are left out of *everything* that is published, totals, means and
histograms alike; all of it follows from the published cells alone, and no difference of two of its numbers can tell
more. The sum over several sites is made of what these publish, and tells nothing of what they do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from shared_components.data.description import SPLITS
from shared_components.federation.statistics.volume_numbers import STATES, VolumeNumbers

MINIMUM = 3
DIGITS = 4  # significant ones of a published mean

Cells = dict[str, dict[str, int | None]]


def published(
    volumes: Sequence[VolumeNumbers],
    labels: Mapping[int, str],
    looked_up: Sequence[float],
    minimum: int = MINIMUM,
) -> dict[str, Any]:
    """The statistics of one domain at one site that may leave it; plain numbers and texts.

    Args:
        volumes: all of the domain.
        labels: label value to class name.
        looked_up: percentiles at which intensities were looked up.
        minimum: patients that a published number must stand for.
    Returns:
        ``cells``: split -> state -> volumes, None where withheld. ``measures``: name -> ``n``, ``mean`` and ``sd``
        over the volumes of published cells; one that stands for too few patients is left out. ``intensity``: ``n``
        and ``shares`` of the scaled intensities, None in a bin that voxels of too few patients fall into; left out
        where no cell is published.
    """
    cells: Cells = {split: {} for split in SPLITS}
    kept: list[VolumeNumbers] = []
    for split in SPLITS:
        for state in STATES:
            cell = [volume for volume in volumes if (volume.split, volume.state) == (split, state)]
            shown = not cell or _patients(cell) >= minimum
            cells[split][state] = len(cell) if shown else None
            kept += cell if shown else []
    found: dict[str, Any] = {"cells": cells, "measures": {}}
    if kept:
        found["measures"] = dict(_measures(kept, labels, looked_up, minimum))
        found["intensity"] = {"n": len(kept), "shares": _shares(kept, minimum)}
    return found


def _patients(volumes: Sequence[VolumeNumbers]) -> int:
    return len({volume.patient for volume in volumes})


def percentile_name(percentile: float) -> str:
    """Name of the measure for a percentile of the intensities as stored."""
    return f"intensity, percentile {percentile:g}"


def class_name(name: str) -> str:
    """Name of the measure for the volume of a class."""
    return f"volume of {name}, ml"


VOXELS = ("voxel in a slice, first, mm", "voxel in a slice, second, mm", "voxel from slice to slice, mm")
SLICES = "slices"
ANNOTATED = "annotated slices"


def _measures(
    kept: Sequence[VolumeNumbers], labels: Mapping[int, str], looked_up: Sequence[float], minimum: int
) -> Iterator[tuple[str, dict[str, float]]]:
    for axis, name in enumerate(VOXELS):
        yield name, _summary([volume.spacing[axis] for volume in kept])
    yield SLICES, _summary([volume.slices for volume in kept])
    for place, percentile in enumerate(looked_up):
        yield percentile_name(percentile), _summary([volume.percentiles[place] for volume in kept])
    mapped = [volume for volume in kept if volume.state != "unlabelled"]
    if mapped:
        yield ANNOTATED, _summary([volume.annotated for volume in mapped])
    labelled = [volume for volume in kept if volume.state == "labelled"]
    for value, name in labels.items():
        carriers = _patients([volume for volume in labelled if volume.millilitres.get(value)])
        if value and labelled and not 0 < carriers < minimum:
            yield class_name(name), _summary([volume.millilitres[value] for volume in labelled])


def _summary(values: Sequence[float]) -> dict[str, float]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"n": len(values), "mean": rounded(float(np.mean(values))), "sd": rounded(spread)}


def rounded(value: float) -> float:
    """A number with :data:`DIGITS` significant digits: more of them would tell single values apart."""
    return float(f"{value:.{DIGITS}g}")


def _shares(kept: Sequence[VolumeNumbers], minimum: int) -> list[float | None]:
    """Mean share of each bin among the published ones, so that they leave nothing to a withheld one."""
    shares = np.stack([volume.shares for volume in kept])  # (volumes, bins)
    patients = [_patients([v for v, share in zip(kept, column, strict=True) if share]) for column in shares.T]
    shown = np.asarray([not 0 < number < minimum for number in patients])
    means = np.where(shown, shares.mean(0), 0)
    means = means / max(means.sum(), np.finfo(float).tiny)
    return [rounded(float(mean)) if open_ else None for mean, open_ in zip(means, shown, strict=True)]
