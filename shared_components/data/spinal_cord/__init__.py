"""Sixteen real volumes of the spinal cord from six hospitals, which the project ships, as client data roots."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared_components.data.challenges.writing import Description, refuse_existing, write_description
from shared_components.data.label_maps import ANNOTATED
from shared_components.errors import InputError
from shared_components.files import copy_file

__all__ = ["SITES", "make_spinal_cord"]


FOLDER = Path(__file__).parent
LABELS = {0: "background", 1: "white matter", 2: "grey matter"}
SITES = ("ceitec", "ucl", "nwu", "philips", "juntendo", "milan")
"""Names of the hospitals, of their data roots and of their domains."""


def make_spinal_cord(
    out: str | os.PathLike, labelled: Sequence[str] = ("ceitec",), force: bool = False, few: int = 0
) -> list[Path]:
    """Write a client data root for each of the six hospitals, ``out/ceitec`` to ``out/milan``.

    Each person was scanned twice in a session. At a hospital without labels run 2 is for training and run 1, with
    its label map, is the test. At one with labels run 1 trains with its label map and run 2 without; where there is
    a second session, it is for validation. So training and test images show the same person, whom no other volume of
    the data shows. Slices that nobody annotated are listed as such.

    Args:
        out: folder for the data roots.
        labelled: hospitals whose labels may be trained on.
        force: replace data roots that are there.
        few: this many evenly spaced annotated slices of each test volume are left out of the test. Beside the data root
            of each hospital without labels there is then ``out/<site>_few``, which trains with the labels of these
            slices; and where there is another session, ``out/<site>_session<number>`` for each, which trains with the
            labels of the others and has the test volume of this one: bounds for those who adapt without labels.
    Returns:
        The data roots, in the order of ``SITES``.
    Raises:
        InputError: an unknown hospital, a data root that is there already, or fewer slices than ``few`` asks for.
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
        own = [_Volume.of(row, 0 if site in labelled else few) for row in volumes[site]]
        _write(out / site, own, site in labelled)
        if few and site not in labelled:
            _write_bounds(out, site, own)
    return [out / site for site in SITES]


@dataclass(frozen=True)
class _Volume:
    """A line of the table.

    Attributes:
        row: the line.
        annotated: slices with a label.
        few: those of them that no test counts.
    """

    row: Mapping[str, str]
    annotated: tuple[int, ...]
    few: tuple[int, ...]

    @classmethod
    def of(cls, row: Mapping[str, str], few: int) -> _Volume:
        if not row["annotated_slices"]:
            return cls(row, (), ())
        first, last = map(int, row["annotated_slices"].split("-"))
        slices = tuple(range(first, last + 1))
        if few >= len(slices):
            raise InputError(
                f"few: expected fewer than the {len(slices)} slices of {row['file']}, found {few}"
            )
        return cls(row, slices, tuple(slices[(2 * i + 1) * len(slices) // (2 * few)] for i in range(few)))

    @property
    def tested(self) -> tuple[int, ...]:
        return tuple(number for number in self.annotated if number not in self.few)

    def entry(self, root: Path, slices: Sequence[int] = ()) -> dict:
        """Copy it, with its label map if ``slices`` of it are known; the entry of ``dataset.json``."""
        file = self.row["file"]
        entry: dict = {"image": f"images/{file}"}
        if slices:
            entry["label"] = f"labels/{file}"
            if len(slices) < int(self.row["voxels"].split("x")[2]):
                entry[ANNOTATED] = list(slices) if self.few else {"first": slices[0], "last": slices[-1]}
        for name in (entry[key] for key in ("image", "label") if key in entry):
            copy_file(FOLDER / name, root / name)
        return entry


def _write(root: Path, volumes: Sequence[_Volume], labelled: bool) -> None:
    """The data root of a hospital."""
    entries = defaultdict(list)
    for volume in volumes:
        split, known = _place(volume.row, labelled)
        entries[split].append(volume.entry(root, volume.tested if known else ()))
    _describe(root, volumes, entries)


def _place(row: Mapping[str, str], labelled: bool) -> tuple[str, bool]:
    """Split of a volume, and whether its label map goes along."""
    if not labelled:
        return ("training", False) if row["run"] == "2" else ("test", True)
    return ("training" if row["session"] == "1" else "validation"), row["run"] == "1"


def _write_bounds(out: Path, site: str, volumes: Sequence[_Volume]) -> None:
    """The data roots beside that of a hospital without labels; the first of them has no test of its own."""
    tests = [volume for volume in volumes if volume.annotated]
    root = out / f"{site}_few"
    _describe(root, volumes, {"training": [volume.entry(root, volume.few) for volume in volumes]})
    for test in tests if len(tests) > 1 else ():
        root = out / f"{site}_session{test.row['session']}"
        training = [volume.entry(root, volume.annotated) for volume in tests if volume is not test]
        _describe(root, volumes, {"training": training, "test": [test.entry(root, test.tested)]})


def _describe(root: Path, volumes: Sequence[_Volume], entries: Mapping[str, Sequence[Mapping]]) -> None:
    site = volumes[0].row["site"]
    described = Description(f"Spinal cord {site}", site.lower(), "MRI", LABELS)
    write_description(root, described, entries)
