"""The volumes of an inference run as a MONAI dataset whose faults name the file and the cure.

What stands before the network, which volumes are still to be segmented, and the list of those that were, which their
scores and their report need to know.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, DivisiblePadd, EnsureTyped, SpatialPadd

from shared_components.data.faults import UNREADABLE, read
from shared_components.data.frames import frame_count
from shared_components.data.grids import same_grid
from shared_components.data.image_loader import stored_grid
from shared_components.data.label_maps import ANNOTATED, IGNORE, known_text
from shared_components.data.volume_faults import file_faults, packing_faults, reading_fault, refuse
from shared_components.data.volumes import volume_transforms
from shared_components.errors import InputError, shown
from shared_components.files import remove_files
from shared_components.inferers.case_writers import probability_file
from shared_components.inferers.cases import CASE_LIST, OUTPUT_SUFFIX, Case, case_of
from shared_components.inferers.replaced import (
    FAULT,
    OF_ALL_SCORES,
    OTHERS,
    SCORES,
    earlier_outputs,
)
from shared_components.records import found_record, read_record, read_table, write_record, write_table


class CaseDataset(Dataset):
    """Cases of :func:`~shared_components.inferers.cases.find_cases`, transformed when asked for.

    Only ``image`` and ``case`` of each item are passed on: inference never sees a label. A 4-D NIfTI is one item
    a frame, in order, with ``frame`` and the number of ``frames`` beside: one frame at a time is read,
    preprocessed (by its own percentiles) and segmented, as if it were a file of its own.

    Args:
        data: the cases.
        transform: applied to ``{"image", "case"}`` (and ``"frame"``, ``"frames"``).
        keep_going: instead of raising, give an item of a bad file as ``{"image", "case", "fault"}``, of which
            ``fault`` is the error's text; :class:`~shared_components.inferers.CaseEvaluator` collects them.
    Raises:
        InputError: a NIfTI header is unreadable; when an item is read: the file cannot be read or is unfit (MONAI
            alone would wrap that in an error that shows the transform instead of the file).
    """

    def __init__(
        self, data: Sequence[Mapping[str, str]], transform: Callable, keep_going: bool = False
    ) -> None:
        self.keep_going = keep_going
        self._faults: dict[str, str] = {}  # of a time series, the first bad frame's
        super().__init__([item for case in data for item in self._frames(case)], transform)

    def _transform(self, index: int) -> dict:
        item = dict(self.data[index])
        if item["case"] not in self._faults:
            try:
                if not item.get("frame"):  # once a file
                    refuse(packing_faults(item["image"]))
                return read(self.transform, item)
            except InputError as error:
                self._note(item, error)
        return {"image": item["image"], "case": item["case"], FAULT: self._faults[item["case"]]}

    def _note(self, item: Mapping[str, str], error: InputError) -> None:
        fault = _one_line(item["image"], error)
        if not self.keep_going:
            raise InputError(fault) from error
        self._faults[item["case"]] = fault

    def _frames(self, case: Mapping[str, str]) -> list[dict]:
        item = {"image": case["image"], "case": case["case"]}
        try:
            refuse(file_faults(case["image"]))
            count = frame_count(case["image"])
        except InputError as error:
            self._note(item, error)
            return [item]
        return [item] if count == 1 else [item | {"frame": t, "frames": count} for t in range(count)]


def _one_line(path: str, error: InputError) -> str:
    """What a user reads of an error that reading ``path`` raised."""
    text = " ".join(str(error).split())
    return str(reading_fault(path, error)) if "could not be read (" in text else text


class ReadAheadLoader(DataLoader):
    """MONAI's ``DataLoader``, which has a thread prepare the next batch while this one is worked on.

    Reading, unzipping and resampling leave Python's lock free, so that a second core is used without a second
    process. MONAI's ``ThreadDataLoader`` does that too, but an error in its thread ends the run as if the data had.
    """

    def __iter__(self) -> Iterator:
        batches, end = super().__iter__(), object()
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(next, batches, end)
            while (batch := coming.result()) is not end:
                coming = reader.submit(next, batches, end)
                yield batch


def inference_transforms(
    size: int,
    spacing: float | None,
    orientation: str | None = "RAS",
    percentiles: Sequence[float] = (0.5, 99.5),
    multiple: int = 16,
) -> Compose:
    """Volume file to ``(1, H, W, D)`` in [-1, 1]; ``LabelsOnFileGridd`` (or ``Invertd``) takes a prediction back.

    Without its first step it takes an image in memory, as MONAI Deploy hands it over: a ``MetaTensor`` whose metadata
    state ``original_channel_dim``.

    Training crops slices to ``size``; here nothing is cropped, since what is cut off could not be segmented.
    Slices are padded to at least ``size`` (a volume no larger than training's looks as it did in training),
    then to a multiple of ``multiple``.

    Args:
        size: H and W of a training slice, pixels.
        spacing: in-plane pixel size, mm; ``None`` keeps the volume's.
        orientation: axis codes whose last letter is the slicing axis; ``None`` keeps the volume's.
        percentiles: intensities mapped to -1 and 1.
        multiple: what H and W must be divisible by, pixels; 1 when the inferer cuts windows of its own.
    """
    pad = {"keys": ("image",), "mode": "constant", "value": -1}
    load, channel_first, *steps = volume_transforms(
        ("image",), size, spacing, orientation, percentiles, crop=False, one_step=True, blank=False
    ).transforms
    return Compose(
        [
            load,
            channel_first,
            EnsureTyped(("image",), dtype=torch.float32),  # images of other programs may be integers
            *steps,
            SpatialPadd(spatial_size=(size, size, -1), **pad),
            DivisiblePadd(k=(multiple, multiple, 1), **pad),
        ]
    ).flatten()  # other programs look for the loader in the list: MONAI Deploy leaves it out


def pending_cases(
    cases: Sequence[Case], output_dir: str | Path, resume: bool, probabilities: bool = False
) -> list[Case]:
    """The cases without a whole output.

    Args:
        cases: all of them.
        output_dir: where their segmentations are or will be.
        resume: leave out cases whose segmentation is there, readable to its end and on the image's grid; otherwise all
            are pending.
        probabilities: so must files of class probabilities be.
    """
    if not resume:
        return list(cases)
    return [case for case in cases if not _is_done(case, Path(output_dir), probabilities)]


def _is_done(case: Case, output_dir: Path, probabilities: bool) -> bool:
    segmentation = output_dir / f"{case['case']}{OUTPUT_SUFFIX}.nii.gz"
    if not segmentation.is_file():
        return False
    try:
        frames = frame_count(case["image"])
        shape, affine = stored_grid(case["image"])
    except UNREADABLE:  # a bad image is reported when it is read
        return False
    items: list[Mapping] = (
        [case] if frames == 1 else [case | {"frame": t, "frames": frames} for t in range(frames)]
    )
    files = [output_dir / probability_file(item) for item in items] if probabilities else []
    return _is_whole(segmentation, shape, affine) and all(
        _is_whole(file, shape[:3], affine, axes=3) for file in files
    )


def _is_whole(output: Path, shape: Sequence[int], affine: np.ndarray, axes: int | None = None) -> bool:
    """Whether an output can be read to its end, and its first ``axes`` (``None``: all) are those of a grid."""
    if any(True for _ in chain(file_faults(output), packing_faults(output))):
        return False
    found, placed = stored_grid(output)
    return same_grid(found[:axes], placed, shape, affine)


def write_case_list(cases: Sequence[Case], labels: Mapping[int, str], output_dir: str | Path) -> Path:
    """Write ``<output_dir>/cases.json``: class names, each case's image, label (if any) and segmentation.

    What earlier runs have left in the folder stays on the list, as long as its files are there and its classes are the
    same: a report of the folder shows all that is in it. Of the rest the names are kept, by which the next run knows
    what it may replace: another run may be at work on them now.
    """
    path = Path(output_dir) / CASE_LIST
    names = {str(value): str(name) for value, name in labels.items()}
    listed = [case | {"segmentation": f"{case['case']}{OUTPUT_SUFFIX}.nii.gz"} for case in cases]
    own = {case["case"] for case in cases}
    kept = [case for case in _earlier_cases(path, names) if case["case"] not in own]
    told = own | {case["case"] for case in kept}
    content = {"labels": names, "cases": kept + listed}
    others = sorted(
        name for name, failed in earlier_outputs(path.parent).items() if not failed and name not in told
    )
    return write_record(path, content | ({OTHERS: others} if others else {}))


def _earlier_cases(path: Path, labels: Mapping[str, str]) -> list[Case]:
    """Those of a list whose image and segmentation are there; none where the classes are others."""
    content = found_record(path) or {}
    if content.get("labels") != labels:
        return []
    return [
        case
        for case in content.get("cases", ())
        if {"image", "case", "segmentation"} <= case.keys()
        and Path(case["image"]).exists()
        and (path.parent / case["segmentation"]).is_file()
    ]


def drop_scores(output_dir: str | Path, cases: Collection[str]) -> None:
    """Take out of ``<output_dir>/scores.csv`` the rows of cases that are segmented anew, and what was made of all rows.

    The summary, the pictures and the comparison that an evaluation wrote beside it go, if a row does; without rows the
    table goes too. A table that cannot be read stays: its readers tell of it.

    Args:
        output_dir: the run's folder.
        cases: names of the cases.
    """
    folder = Path(output_dir)
    table = folder / SCORES
    try:
        rows = read_table(table, "evaluate again")
    except InputError:
        return
    listed = {case["case"] for case in (found_record(folder / CASE_LIST) or {}).get("cases", ())}
    kept = [row for row in rows if case_of(row.get("case", ""), {*cases, *listed}) not in cases]
    if len(kept) == len(rows):
        return
    remove_files(*(path for name in OF_ALL_SCORES for path in folder.glob(name)))
    if kept:
        write_table(table, list(kept[0]), kept)
    else:
        remove_files(table)


def drop_outputs(output_dir: str | Path, cases: Sequence[Case]) -> None:
    """Remove what earlier runs have written for cases, or for frames of them.

    Args:
        output_dir: the run's folder.
        cases: the items.
    """
    folder = Path(output_dir)
    names = {
        name for case in cases for name in (f"{case['case']}{OUTPUT_SUFFIX}.nii.gz", probability_file(case))
    }
    remove_files(*(folder / name for name in names))


def note_faults(output_dir: str | Path, faults: Mapping[str, str]) -> None:
    """Add to ``<output_dir>/cases.json``, if there is one, why cases were not segmented, for the report to tell.

    Args:
        output_dir: the run's folder.
        faults: name of a case to the text of its fault.
    """
    path = Path(output_dir) / CASE_LIST
    if not path.is_file():
        return
    content = read_record(path, "run the inference again")
    for case in content["cases"]:
        if case["case"] in faults:
            case[FAULT] = faults[case["case"]]
    write_record(path, content)


def noted_faults(output_dir: str | Path) -> dict[str, str]:
    """What :func:`note_faults` wrote; nothing where there is no list that can be read."""
    try:
        cases, _ = read_case_list(output_dir)
    except InputError:
        return {}
    return {case["case"]: case[FAULT] for case in cases if FAULT in case}


def read_case_list(output_dir: str | os.PathLike) -> tuple[list[Case], dict[int, str]]:
    """Cases, ``segmentation`` as a whole path, and class names of the run that wrote into ``output_dir``.

    A case with ``fault`` was not segmented, and that is why.

    Raises:
        InputError: no such list, it is damaged, or it names a segmentation outside its folder.
    """
    path = Path(output_dir) / CASE_LIST
    if not path.is_file():
        raise InputError(f"{path}: expected an inference run's case list, found none; name its folder")
    content = read_record(path, "run the inference again")
    try:
        labels = {int(value): str(name) for value, name in content["labels"].items()}
        cases = [dict(case) for case in content["cases"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected a case list, found {error!r}; run the inference again") from error
    for case in cases:
        _refuse_strange(path, case)
    return [case | {"segmentation": str(path.parent / case["segmentation"])} for case in cases], labels


def _refuse_strange(path: Path, case: Case) -> None:
    """Refuse an entry that no run writes, or by which a file outside the folder would pass for a run's own."""
    for key in ("case", "segmentation", *({"image", "label", FAULT} & case.keys())):
        if not isinstance(case.get(key), str):
            raise InputError(
                f"{path}: expected a text as '{key}', found {shown(case.get(key))}; run the inference again"
            )
    try:
        known_text(case)
    except InputError as error:
        raise InputError(f"{path}: '{ANNOTATED}' of {shown(case['case'])}: {error}") from error
    if not isinstance(case.get(IGNORE), int | None):
        raise InputError(
            f"{path}: expected a whole number as '{IGNORE}', found {shown(case[IGNORE])}; run the inference again"
        )
    folder = os.path.abspath(path.parent)
    if not Path(os.path.abspath(path.parent / case["segmentation"])).is_relative_to(folder):
        raise InputError(
            f"{path}: expected segmentations in its own folder, found {shown(case['segmentation'])}; copy that file "
            "into the folder and name it by its place there"
        )
