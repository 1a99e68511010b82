"""Scores of segmentations on file: Dice, Hausdorff distances (mm) and volumes (ml) per case and class."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.utils import to_affine_nd
from monai.metrics import compute_dice
from monai.metrics.utils import get_edge_surface_distance, get_mask_edges
from scipy import ndimage
from scipy.spatial import KDTree
from torch import Tensor

from shared_components.data.faults import UNREADABLE, UnfitFile
from shared_components.data.grids import along_axes_of, grid_fault
from shared_components.data.image_loader import LoadVolume
from shared_components.data.label_maps import IGNORE, mark_unknown, value_faults, whole
from shared_components.data.volume_faults import file_faults, packing_faults, reading_fault, refuse
from shared_components.errors import InputError
from shared_components.inferers.case_dataset import noted_faults
from shared_components.inferers.cases import OUTPUT_SUFFIX
from shared_components.metrics.score_files import Row, plot_scores, write_scores
from shared_components.steps import steps


def score_segmentations(
    predictions_dir: str | Path,
    cases: Sequence[Mapping[str, Any]],
    labels: Mapping[int, str],
    output: str | Path | None = None,
    progress: bool = False,
    plots: bool = False,
) -> list[Row]:
    """Compare ``<predictions_dir>/<case>_seg.nii.gz``, or ``<case>.nii.gz``, with each case's label file.

    Where a class is missing: absent from both, Dice is 1 and the distances 0; absent from one of the two,
    Dice is 0 and the distances have no value (``nan``), which :func:`summarize` counts as *missed*.

    Of a 4-D time series each frame in which the label marks anything is a case of its own, ``<case>_t00``,
    ``<case>_t01``, … (the names of ``prepare_data.py split``); frames without are taken to be unlabelled.

    Where a case says which slices or voxels were annotated, the others are left out of all numbers, in both volumes;
    of annotated slices that stand alone, such as every third one, the distances are those of contours.

    Args:
        predictions_dir: folder of the segmentations.
        cases: each ``{"case", "label"}``, with ``annotated`` and ``ignore`` where not all of the label is known (see
            :mod:`shared_components.data.label_maps`).
        labels: label value to class name; 0 is background and not scored.
        output: CSV to write, with a JSON summary beside it (``scores.csv`` and ``scores.json``).
        progress: tell how many cases are scored.
        plots: draw a picture a class beside the CSV.
    Returns:
        One row per case and class with the keys of ``score_tables.COLUMNS``.
    Raises:
        InputError: no cases; or, once all other cases are scored and written, a line for each that could not be: it has
            no label, a missing or damaged file, a segmentation on another grid than its label, values that are not in
            ``labels`` (0 and 255 for 0 and 1, say), or is a time series whose label marks nothing in any frame.
    """
    rows, faults = score_cases(predictions_dir, cases, labels, progress)
    if output is not None and rows:
        write_scores(rows, output)
    if plots and output is not None and rows:
        plot_scores({"segmentation": output}, Path(output).parent)
    if faults:
        raise InputError(told_faults(faults, len(cases)))
    return rows


def score_cases(
    predictions_dir: str | Path,
    cases: Sequence[Mapping[str, Any]],
    labels: Mapping[int, str],
    progress: bool = False,
) -> tuple[list[Row], list[str]]:
    """Rows of the cases that can be scored, and a line for each of the others.

    Arguments as of :func:`score_segmentations`. Where inference has noted why a case was not segmented, that is the
    line: a segmentation that lies there is of an earlier run.

    Raises:
        InputError: no cases.
    """
    if not cases:
        raise InputError("scores: expected at least one labelled case, found none; give labelled volumes")
    noted = noted_faults(predictions_dir)
    rows: list[Row] = []
    faults: list[str] = []
    with closing(steps(cases, "scoring", "case", progress)) as bar:  # closed before an error is told
        for case in bar:
            try:
                if str(case["case"]) in noted:
                    raise InputError(noted[str(case["case"])])
                rows += score_case(_prediction(Path(predictions_dir), case), case, labels)
            except InputError as error:
                faults.append(" ".join(str(error).split()))
    return rows, faults


def _prediction(folder: Path, case: Mapping[str, Any]) -> Path:
    """Of a case: the file that inference of this project writes, else one with the case's name alone."""
    ours, plain = folder / f"{case['case']}{OUTPUT_SUFFIX}.nii.gz", folder / f"{case['case']}.nii.gz"
    own = [Path(case[key]).resolve() for key in ("image", "label") if case.get(key)]
    return plain if plain.is_file() and not ours.exists() and plain.resolve() not in own else ours


def told_faults(faults: Sequence[str], total: int) -> str:
    """The error's text: a single case's fault as it is, of several cases one line each."""
    if total == 1:
        return faults[0]
    return "\n".join([f"{len(faults)} of {total} cases were not scored:", *faults])


def score_case(prediction: Path, case: Mapping[str, Any], labels: Mapping[int, str]) -> list[Row]:
    """Rows of one case; arguments and errors as for :func:`score_segmentations`."""
    if not case.get("label"):
        raise InputError(
            f"case '{case['case']}': expected a label to score against, found none; score labelled cases"
        )
    predicted, affine = _read(prediction)
    reference, reference_affine = _read(Path(case["label"]))
    predicted, affine = _along_axes_of(predicted, affine, reference_affine)
    fault = grid_fault(_shape(predicted), affine, _shape(reference), reference_affine)
    if fault:
        raise InputError(
            f"{prediction}: expected the grid of {case['label']}: {fault}; resample it onto that grid, nearest "
            "neighbour, or segment that volume again"
        )
    classes: set[int] = {0, *map(int, labels)}
    ignore = case.get(IGNORE)
    refuse(value_faults(prediction, predicted, classes))
    refuse(value_faults(Path(case["label"]), reference, classes, ignore))
    reference = mark_unknown(reference, case)
    axes = reference_affine[:3, :3]
    return [
        {"case": name, "label": int(value), "name": str(class_name)}
        | _class_scores(found == int(value), expected == int(value), axes, across)
        for name, found, expected, across in _labelled_frames(
            str(case["case"]), predicted, reference, case["label"]
        )
        for value, class_name in labels.items()
        if int(value) != 0
    ]


def _read(path: Path) -> tuple[Tensor, np.ndarray]:
    """Label values ``(T, X, Y, Z)`` and the affine, mm, for any file that is a volume or a time series."""
    if not path.exists():
        raise InputError(f"{path}: expected a segmentation, found none; run the inference or mend the path")
    refuse(file_faults(path))
    refuse(packing_faults(path))
    try:
        volume = LoadVolume()(path)
    except UNREADABLE as error:
        raise UnfitFile(reading_fault(path, error)) from error
    values = volume.as_tensor()
    if values.ndim == 3:  # a 2-D image: one slice
        values = values[..., None]
    return values, to_affine_nd(3, np.asarray(volume.affine, dtype=np.float64))


def _along_axes_of(values: Tensor, affine: np.ndarray, other: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """``(T, X, Y, Z)`` whose axes run as another grid's: the same anatomy may be stored in other axes."""
    turned, affine = along_axes_of(np.moveaxis(values.numpy(), 0, -1), affine, other)
    return torch.from_numpy(np.moveaxis(turned, -1, 0).copy()), affine


def _shape(volume: Tensor) -> tuple[int, ...]:
    """As the file states it: ``(X, Y, Z)``, or ``(X, Y, Z, T)`` of a time series."""
    return tuple(volume.shape[1:]) + (tuple(volume.shape[:1]) if len(volume) > 1 else ())


def _labelled_frames(
    case: str, predicted: Tensor, reference: Tensor, label: str | Path
) -> Iterator[tuple[str, np.ndarray, np.ndarray, int | None]]:
    """Name and :func:`_known_part` of a volume, or of each frame of a series that has a label."""
    count = len(reference)
    shown = [t for t in range(count) if count == 1 or bool((whole(reference[t]) > 0).any())]
    if not shown:
        raise InputError(
            f"{label}: expected labels in at least one of {count} frames, found none; label a frame"
        )
    digits = max(2, len(str(count - 1)))
    for t in shown:
        found, expected = (whole(part[t]).numpy().astype(np.int32) for part in (predicted, reference))
        yield case if count == 1 else f"{case}_t{t:0{digits}d}", *_known_part(found, expected, label)


def _known_part(
    predicted: np.ndarray, reference: np.ndarray, label: str | Path
) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Both volumes cut to the box that somebody annotated, and background where the reference is unknown in it.

    Returns:
        Both, and the axis across the slices where these stand alone, see :func:`_lone_slices`.
    Raises:
        InputError: nothing of the label map ``label`` is annotated.
    """
    known = reference >= 0
    if known.all():
        return predicted, reference, None
    if not known.any():
        raise InputError(f"{label}: nothing of it is annotated; leave its case out")
    sides = (np.flatnonzero(known.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3))
    box = tuple(slice(side[0], side[-1] + 1) for side in sides)
    cut = [np.where(known[box], part[box], 0) for part in (predicted, reference)]
    return cut[0], cut[1], _lone_slices(known[box], known.shape)


def _lone_slices(known: np.ndarray, shape: tuple[int, ...]) -> int | None:
    """The axis across which slices between known ones are unknown, or there are but two of many; else None.

    Between such slices a mask has no surface that anybody knows: what is seen of it are contours.

    Args:
        known: whether each voxel of the box is.
        shape: of the whole volume.
    """
    for axis in range(3):
        seen = known.any(axis=tuple({0, 1, 2} - {axis}))
        if not seen.all() or len(seen) == 2 < shape[axis]:
            return axis
    return None


def _class_scores(
    predicted: np.ndarray, reference: np.ndarray, axes: np.ndarray, across: int | None = None
) -> Row:
    """Scores of two masks ``(X, Y, Z)`` on a grid with these ``axes``, ``(3, 3)``: a voxel's edges as columns, mm.

    Distances are those of contours where there is but one slice, or where slices ``across`` an axis stand alone.
    """
    millilitre = abs(float(np.linalg.det(axes))) / 1000
    volumes = {"predicted_ml": predicted.sum() * millilitre, "reference_ml": reference.sum() * millilitre}
    if not predicted.any() and not reference.any():
        return {"dice": 1.0, "hd95_mm": 0.0, "hd_mm": 0.0} | volumes
    if not predicted.any() or not reference.any():
        return {"dice": 0.0, "hd95_mm": math.nan, "hd_mm": math.nan} | volumes
    # of a single slice: the axis across it
    flat = [axis for axis in range(3) if predicted.shape[axis] == 1][-1:]
    masks = _cropped(*(mask.squeeze(tuple(flat)) for mask in (predicted, reference)))
    pair = [torch.from_numpy(mask) for mask in masks]
    dice = compute_dice(*(mask[None, None].float() for mask in pair), include_background=True)
    hd95, largest = hausdorff(pair[0], pair[1], np.delete(axes, flat, axis=1), None if flat else across)
    return {"dice": dice.item(), "hd95_mm": hd95, "hd_mm": largest} | volumes


def _cropped(predicted: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both masks cut to their common box and one voxel around it, where no score changes.

    A mask that reaches the volume's border gets an empty voxel there, so that its surface is closed. A single
    slice, whichever axis runs across it, comes as an image: its distances are those of contours.
    """
    either = predicted | reference
    box = []
    for axis in range(either.ndim):
        used = np.flatnonzero(either.any(axis=tuple(other for other in range(either.ndim) if other != axis)))
        box.append(slice(used[0], used[-1] + 1))
    return np.pad(predicted[tuple(box)], 1), np.pad(reference[tuple(box)], 1)


def hausdorff(
    predicted: Tensor, reference: Tensor, axes: np.ndarray, across: int | None = None
) -> tuple[float, float]:
    """95th percentile and maximum of the distances (mm) between two surfaces, the larger of both directions.

    As MONAI's ``compute_hausdorff_distance``, which would search all distances anew for each of the two, and takes
    every grid's axes to be at right angles.

    Args:
        predicted: a mask ``(X, Y, Z)``, or ``(X, Y)`` of a slice, that reaches no border.
        reference: the other.
        axes: a voxel's edges as columns, mm, ``(3, 3)`` or ``(3, 2)``.
        across: an axis across which slices stand alone: their contours are taken in place of surfaces.
    """
    if across is not None:
        edges = [_contours(mask.numpy(), across) for mask in (predicted, reference)]
        return _tail(_distances(edges, axes))
    with warnings.catch_warnings():  # MONAI calls its own function with an argument that it deprecated
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy.*", category=FutureWarning)
        if _sheared(axes):
            distances = _distances(get_mask_edges(predicted, reference, crop=False), axes)
        else:
            spacing = [float(size) for size in np.linalg.norm(axes, axis=0)]
            _, distances, _ = get_edge_surface_distance(predicted, reference, spacing=spacing, symmetric=True)
    return _tail(distances)


def _tail(distances: Sequence[Tensor]) -> tuple[float, float]:
    return (
        max(torch.quantile(side, 0.95).item() for side in distances),
        max(side.max().item() for side in distances),
    )


def _contours(mask: np.ndarray, across: int) -> np.ndarray:
    """Voxels of each slice that have a neighbour outside in their slice."""
    inside = np.moveaxis(ndimage.generate_binary_structure(2, 1)[..., None], -1, across)
    return mask & ~ndimage.binary_erosion(mask, inside)


def _sheared(axes: np.ndarray) -> bool:
    """Whether a grid's axes are not at right angles: a tilted gantry's."""
    units = axes / np.linalg.norm(axes, axis=0)
    return not np.allclose(units.T @ units, np.eye(axes.shape[1]), atol=1e-3)


def _distances(edges: Sequence[np.ndarray], axes: np.ndarray) -> list[Tensor]:
    """Distances from each surface's voxels to the other surface, mm, on any grid."""
    here, there = (np.argwhere(np.asarray(edge)) @ axes.T for edge in edges)
    return [torch.from_numpy(KDTree(b).query(a)[0]) for a, b in ((here, there), (there, here))]
