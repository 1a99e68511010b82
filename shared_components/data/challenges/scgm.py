"""The spinal cord grey matter challenge (four sites, four raters) as client data roots.

Published layout: training files ``site1-sc01-image.nii.gz`` with ``site1-sc01-mask-r1.nii.gz`` to
``site1-sc01-mask-r4.nii.gz``, and test images such as ``site1-sc11-image.nii.gz`` without masks. In the masks 1 is grey
and 2 white matter.

Source: Prados et al. 2017, Spinal cord grey matter segmentation challenge.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from shared_components.data.challenges.writing import (
    Description,
    Volume,
    drawn_splits,
    files_below,
    label_map,
    match_grids,
    open_image,
    refuse_existing,
    voxels,
    whole_roots,
    write_description,
    write_volume,
)
from shared_components.data.nifti import world_affine
from shared_components.errors import InputError
from shared_components.steps import steps

LABELS = {0: "background", 1: "grey matter", 2: "white matter"}
GREY = {0: "background", 1: "grey matter"}
_FILE = re.compile(r"(site\d+)-(sc\d+)-(?:image|mask-r(\d+))\.nii(?:\.gz)?", re.IGNORECASE)


class RatedSubject(NamedTuple):
    """A subject: site, name, image, and masks by rater."""

    site: str
    name: str
    image: Path
    masks: Mapping[int, Path]


def prepare_scgm(
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    masks: str | int = "majority",
    grey_only: bool = False,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    force: bool = False,
    progress: bool = False,
) -> list[Path]:
    """Write a client data root for every site, ``out/site1`` to ``out/site4``.

    The subjects with masks are split into training, validation and test; those without (the challenge's own test
    images, whose masks are not published) are unlabelled training images.

    Args:
        source: folder of the training files, or one that holds the training and the test folder.
        out: folder for the client data roots.
        masks: ``"majority"`` of the raters' votes (ties go to grey matter, then to white matter), ``"union"`` (grey
            matter where any rater sees it, else white matter alike), or the number of one rater.
        grey_only: grey matter against everything else.
        validation: fraction of a site's subjects for validation.
        test: fraction of a site's subjects for testing.
        seed: seed of the split.
        force: replace data roots that are there.
        progress: tell how far each site's subjects are.
    Returns:
        The client data roots.
    Raises:
        InputError: another folder structure, a rater who has no mask, a file that cannot be read, or a mask on
            another grid than its image.
    """
    source, out = Path(source), Path(out)
    if masks not in ("majority", "union") and (isinstance(masks, bool) or not isinstance(masks, int)):
        raise InputError(f"masks: expected majority, union or the number of a rater, found {masks!r}")
    sites: dict[str, list[RatedSubject]] = defaultdict(list)
    for subject in find_subjects(source):
        sites[subject.site].append(subject)
    refuse_existing(out, list(sites), force)
    with whole_roots(out, sites) as place:
        for site, subjects in sorted(sites.items()):
            labelled = [subject.name for subject in subjects if subject.masks]
            splits = drawn_splits(labelled, validation, test, f"{seed}/{site}")
            entries: dict[str, list[dict[str, str]]] = defaultdict(list)
            for subject in steps(subjects, site, "subject", progress):
                split = splits.get(subject.name, "training")
                entries[split].append(write_volume(place / site, _volume(subject, masks, grey_only)))
            described = Description(f"SCGM {site}", site, "MRI", GREY if grey_only else LABELS)
            write_description(place / site, described, entries)
    return [out / site for site in sorted(sites)]


def find_subjects(source: Path) -> list[RatedSubject]:
    """All subjects below ``source``, in order of their names.

    Raises:
        InputError: no images of the names published, a mask without an image, or two files of one name.
    """
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; name the folder of the challenge")
    images: dict[tuple[str, str], Path] = {}
    masks: dict[tuple[str, str], dict[int, Path]] = defaultdict(dict)
    for file in files_below(source):
        if not (match := _FILE.fullmatch(file.name)):
            continue
        subject, rater = (match[1].lower(), match[2].lower()), match[3]
        known: dict[Any, Path] = images if rater is None else masks[subject]
        key = subject if rater is None else int(rater)
        if key in known:
            raise InputError(f"{file}: a second file of that name beside {known[key]}; keep one of them")
        known[key] = file
    if not images:
        raise InputError(
            f"{source}: expected images like site1-sc01-image.nii.gz, found none; name the folder that holds them"
        )
    for subject, found in masks.items():
        if subject not in images:
            raise InputError(
                f"{next(iter(found.values()))}: its image {'-'.join(subject)}-image.nii.gz is missing"
            )
    return [RatedSubject(s[0], "-".join(s), images[s], masks.get(s, {})) for s in sorted(images)]


def _volume(subject: RatedSubject, masks: str | int, grey_only: bool) -> Volume:
    image = open_image(subject.image)
    label = _label(subject, masks) if subject.masks else None
    if grey_only and label is not None:
        label = (label == 1).astype(np.uint8)
    return Volume(subject.name, subject.name, voxels(image), world_affine(image), label)


def _label(subject: RatedSubject, masks: str | int) -> np.ndarray:
    if isinstance(masks, int) and masks not in subject.masks:
        raise InputError(
            f"{subject.image}: expected a mask of rater {masks}, found those of {', '.join(map(str, subject.masks))}; "
            "name one of these, or majority or union"
        )
    chosen = list(subject.masks.values()) if isinstance(masks, str) else [subject.masks[masks]]
    image, maps = open_image(subject.image), [open_image(path) for path in chosen]
    for one in maps:
        match_grids(one, image)
    arrays = [label_map(voxels(one), LABELS, one.get_filename()) for one in maps]
    return union(arrays) if masks == "union" else majority(arrays)


def majority(maps: Sequence[np.ndarray]) -> np.ndarray:
    """The class with most votes at each voxel; ties go to grey matter (1), then to white matter (2).

    Args:
        maps: the raters' label maps, of one shape, with the values 0, 1 and 2.
    """
    order = np.array([1, 2, 0], dtype=np.uint8)
    votes = np.stack([np.sum([one == value for one in maps], axis=0) for value in order])
    return order[votes.argmax(0)]  # argmax takes the first of equals


def union(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Grey matter (1) where any rater sees it, else white matter (2) where any does; maps as for majority."""
    grey, white = (np.any([one == value for one in maps], axis=0) for value in (1, 2))
    return np.select([grey, white], [1, 2], 0).astype(np.uint8)
