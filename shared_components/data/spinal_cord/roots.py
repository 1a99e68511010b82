"""The six hospitals of the shipped spinal cords as client data roots."""

from __future__ import annotations

import csv
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared_components.data.annotations import ANNOTATED
from shared_components.data.challenges.writing import Description, refuse_existing, write_description
from shared_components.errors import InputError
from shared_components.files import write_atomically

FOLDER = Path(__file__).parent
LABELS = {0: "background", 1: "white matter", 2: "grey matter"}
SITES = ("ceitec", "ucl", "nwu", "philips", "juntendo", "milan")
"""Names of the hospitals, of their data roots and of their domains."""


def make_spinal_cord(
    out: str | os.PathLike, labelled: Sequence[str] = ("ceitec",), force: bool = False
) -> list[Path]:
    """Write a client data root for each of the six hospitals, ``out/ceitec`` to ``out/milan``.

    Each person was scanned twice in a session. At a hospital without labels run 2 is for training and run 1, with
    its label map, is the test. At one with labels run 1 trains with its label map and run 2 without; where there is
    a second session, its run 1 is for validation. So training and test images show the same person, whom no other
    volume of the data shows. Slices that nobody annotated are listed as such.

    Args:
        out: folder for the data roots.
        labelled: hospitals whose labels may be trained on.
        force: replace data roots that are there.
    Returns:
        The data roots, in the order of ``SITES``.
    Raises:
        InputError: an unknown hospital, or a data root that is there already.
    """
    strange = [site for site in labelled if site not in SITES]
    if strange:
        raise InputError(f"labelled: expected some of {', '.join(SITES)}, found {strange[0]!r}")
    out = Path(out)
    refuse_existing(out, SITES, force)
    volumes = defaultdict(list)
    with (FOLDER / "volumes.csv").open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            volumes[row["site"].lower()].append(row)
    for site in SITES:
        entries = defaultdict(list)
        for row in volumes[site]:
            split, known = _place(row, site in labelled)
            entries[split].append(_copied(out / site, row, known))
        described = Description(f"Spinal cord {volumes[site][0]['site']}", site, "MRI", LABELS)
        write_description(out / site, described, entries)
    return [out / site for site in SITES]


def _place(row: Mapping[str, str], labelled: bool) -> tuple[str, bool]:
    """Split of a volume, and whether its label map goes along."""
    if row["run"] == "2":
        return "training", False
    if not labelled:
        return "test", True
    return ("training" if row["session"] == "1" else "validation"), True


def _copied(root: Path, row: Mapping[str, str], known: bool) -> dict:
    """Copy a volume, and its label map where it is ``known``; its entry of ``dataset.json``."""
    entry: dict = {"image": f"images/{row['file']}"}
    if known:
        entry["label"] = f"labels/{row['file']}"
        first, last = map(int, row["annotated_slices"].split("-"))
        if last + 1 < int(row["voxels"].split("x")[2]):
            entry[ANNOTATED] = {"first": first, "last": last}
    for file in (entry[key] for key in ("image", "label") if key in entry):
        write_atomically(root / file, lambda place, source=FOLDER / file: shutil.copyfile(source, place))
    return entry
