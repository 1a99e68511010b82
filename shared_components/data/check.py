"""The check of a client's data root: every fault in one list, before anything trains."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared_components.data.client_root import Entry, read_entries
from shared_components.data.coverage import Frame, Reach, image_reach
from shared_components.data.dataset_json import DATASET_FILE, SPLITS, is_label_value, read_description
from shared_components.data.faults import Fault
from shared_components.data.patients import likely_patients, shared_patients
from shared_components.data.root_notes import Seen
from shared_components.data.volume_check import ImageGrid, check_image, check_label, grid_of
from shared_components.steps import steps


@dataclass(frozen=True)
class RootReport:
    """What the check found.

    Attributes:
        root: the data root.
        domain: its domain's name, empty when not stated.
        faults: every fault.
        images: the entries whose image is sound, with the image's grid.
        notes: what stops nothing and is worth knowing.
        reaches: each sound image, as a path from the root, to how far its foreground reaches, where that was asked for.
        annotated: of each split's label maps, the annotated slices and all slices.
    """

    root: str
    domain: str
    faults: list[Fault]
    images: list[tuple[Entry, ImageGrid]] = field(default_factory=list)
    notes: list[Fault] = field(default_factory=list)
    reaches: dict[str, Reach] = field(default_factory=dict)
    annotated: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def subjects(self, split: str, labelled: bool | None = None) -> int:
        """Number of sound images of a split, of the labelled ones only on request."""
        chosen = [entry for entry, _ in self.images if entry.split == split]
        return sum(labelled is None or entry.labelled == labelled for entry in chosen)


def check_client_root(
    root: str | os.PathLike,
    *,
    labels: Mapping[int, str] | Mapping[str, str] | None = None,
    domains: Collection[str] | str | None = None,
    training: bool = True,
    orientation: str | None = "RAS",
) -> list[Fault]:
    """Every fault of a data root; empty if it can be trained on.

    Args:
        root: the folder with ``dataset.json``.
        labels: the federation's label values and class names, which the root's must equal; ``None``: any.
        domains: the domain names (or the one) that the root may have; ``None``: any.
        training: whether it must have training images; one for tests alone need not.
        orientation: axis codes of the bundle's config, slices along the last; ``None`` for the files' own axes.
    """
    return inspect_client_root(
        root, labels=labels, domains=domains, training=training, orientation=orientation
    ).faults


def inspect_client_root(
    root: str | os.PathLike,
    *,
    labels: Mapping[int, str] | Mapping[str, str] | None = None,
    domains: Collection[str] | str | None = None,
    training: bool = True,
    orientation: str | None = "RAS",
    progress: bool = False,
    frame: Frame | None = None,
) -> RootReport:
    """As :func:`check_client_root`, with what an overview needs; ``progress`` tells how far it is, and with a
    ``frame`` each image's foreground and what is labelled are measured."""
    content, faults = read_description(root)
    file = str(Path(root) / DATASET_FILE)
    if not content:
        return RootReport(str(root), "", faults)
    if training and content.get("training") == []:
        cure = "add images that may be trained on, labelled or not; where a study has this data root for tests alone, "
        cure += "name it under its 'unseen:', not among the clients"
        faults.append(Fault(file, "'training' is empty", cure))
    domains = (domains,) if isinstance(domains, str) else domains
    faults += _federation_faults(file, content, labels, domains)
    entries, unfit = read_entries(root, content)
    faults += unfit
    values = _values(content.get("labels"))
    images: list[tuple[Entry, ImageGrid]] = []
    seen = Seen(orientation, frame)
    reaches: dict[str, Reach] = {}
    for entry in steps(entries, f"checking {root}", "image", progress):
        image, unfit = check_image(entry.image, orientation)
        if image is not None and not unfit:
            images.append((entry, grid_of(image)))
            seen.image(entry.image, image)
            if frame is not None:
                reaches[os.path.relpath(entry.image, root)] = image_reach(image, frame)
        if entry.label is not None:
            found, label_faults = check_label(entry.label, image, values, entry.known, frame)
            unfit = unfit + label_faults
            seen.label(entry, None if label_faults else found)
        faults += unfit
    faults += [*_copies(images), *seen.faults(file)]
    notes = [*seen.notes(file, content.get("labels"), values), *_like_one_patient(file, entries)]
    domain = str(content.get("domain", ""))
    return RootReport(str(root), domain, faults, images, notes, reaches, seen.annotated)


def _values(labels: Any) -> set[int] | None:
    """The label values, unless the table itself is faulty and reported."""
    if not isinstance(labels, dict) or not all(map(is_label_value, labels)):
        return None
    return {int(value) for value in labels}


def _federation_faults(
    file: str,
    content: dict[str, Any],
    labels: Mapping[int, str] | Mapping[str, str] | None,
    domains: Collection[str] | None,
) -> Iterator[Fault]:
    domain = content.get("domain")
    if domains is not None and domain is not None and domain not in domains:
        fault = f"'domain' is {domain!r}, the federation expects {' or '.join(map(repr, domains))}"
        yield Fault(file, fault, "correct 'domain' here or the domains of the federation's file")
    mine = content.get("labels")
    if labels is None or _values(mine) is None:
        return
    wanted = {int(value): str(name) for value, name in labels.items()}
    if {int(value): name for value, name in mine.items()} != wanted:
        fault = f"'labels' are {_table(mine)}, the federation's are {_table(wanted)}"
        yield Fault(file, fault, "use the federation's classes: renumber the label maps if need be")


def _table(labels: Mapping[Any, str]) -> str:
    return ", ".join(
        f"{value}: {name}" for value, name in sorted(labels.items(), key=lambda pair: int(pair[0]))
    )


def _like_one_patient(file: str, entries: Collection[Entry]) -> Iterator[Fault]:
    """Folders and names that look like images of one patient in two splits, where no entry says whose they are."""
    splits = {entry.subject: entry.split for entry in entries if entry.patient is None}
    files = {entry.subject: entry.image for entry in entries if entry.patient is None}
    shared = shared_patients(likely_patients(files))
    apart = {patient: images for patient, images in shared.items() if len({splits[i] for i in images}) > 1}
    if apart:
        patient, images = next(iter(apart.items()))
        named = " and ".join(f"{image} ({splits[image]})" for image in images[:4])
        more = f", and so for {len(apart) - 1} more" if len(apart) > 1 else ""
        fault = f"{named} look like images of one patient, {patient}{more}"
        yield Fault(file, fault, "keep them in one split, or give every entry its 'patient' if they are not")


def _copies(images: list[tuple[Entry, ImageGrid]]) -> Iterator[Fault]:
    same: dict[str, list[Entry]] = defaultdict(list)
    for entry, grid in images:
        same[grid.digest].append(entry)
    for entries in same.values():
        files = {(entry.image.stat().st_dev, entry.image.stat().st_ino) for entry in entries}
        if len(files) == len(entries) > 1:  # one file named twice is reported already
            others = ", ".join(f"{entry.image} ({entry.split})" for entry in entries[1:])
            fault = f"({entries[0].split}) has the same voxels as {others}: one subject under two names"
            yield Fault(str(entries[0].image), fault, "keep one of them")


def overview(reports: Collection[RootReport]) -> str:
    """A table of sound data roots: subjects and labelled subjects a split, voxel sizes, shapes, axes."""
    header = ("data root", "domain", *SPLITS, "voxels (mm)", "shape", "axes")
    rows = [header, *(_row(report) for report in reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _row(report: RootReport) -> tuple[str, ...]:
    counts = [_count(report, split) for split in SPLITS]
    grids = [grid for _, grid in report.images]
    spacing = " × ".join(_span(sizes) for sizes in zip(*(grid.spacing for grid in grids), strict=True))
    shape = " × ".join(_span(sizes) for sizes in zip(*(grid.shape for grid in grids), strict=True))
    axes = ", ".join(sorted({grid.axes for grid in grids}))
    return (report.root, report.domain, *counts, spacing, shape, axes)


def _count(report: RootReport, split: str) -> str:
    annotated, slices = report.annotated.get(split, (0, 0))
    part = f", {annotated} of {slices} slices" if annotated < slices else ""
    return f"{report.subjects(split)} ({report.subjects(split, labelled=True)} labelled{part})"


def _span(sizes: Collection[float]) -> str:
    low, high = (f"{size:.3g}" if isinstance(size, float) else str(size) for size in (min(sizes), max(sizes)))
    return low if low == high else f"{low}–{high}"
