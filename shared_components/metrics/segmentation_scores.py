"""Scores of segmentations on file: Dice, Hausdorff distances (mm) and volumes (ml) per case and class."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.data.utils import to_affine_nd
from monai.metrics import compute_dice
from monai.metrics.utils import get_edge_surface_distance
from torch import Tensor

from shared_components.data.image_loader import LoadVolume
from shared_components.data.volume_check import value_faults
from shared_components.errors import InputError
from shared_components.metrics.score_tables import Row, write_scores
from shared_components.steps import steps

AFFINE_TOLERANCE = 1e-3  # mm per voxel, and mm of origin


def score_segmentations(
    predictions_dir: str | Path,
    cases: Sequence[Mapping[str, str]],
    labels: Mapping[int, str],
    output: str | Path | None = None,
    progress: bool = False,
) -> list[Row]:
    """Compare ``<predictions_dir>/<case>_seg.nii.gz`` with each case's label file.

    Where a class is missing: absent from both, Dice is 1 and the distances 0; absent from one of the two,
    Dice is 0 and the distances have no value (``nan``), which :func:`summarize` counts as *missed*.

    Of a 4-D time series each frame in which the label marks anything is a case of its own, ``<case>_t00``,
    ``<case>_t01``, … (the names of ``prepare_data.py split``); frames without are taken to be unlabelled.

    Args:
        predictions_dir: folder of the segmentations.
        cases: each ``{"case", "label"}``.
        labels: label value to class name; 0 is background and not scored.
        output: CSV to write, with a JSON summary beside it (``scores.csv`` and ``scores.json``).
        progress: tell how far it is.
    Returns:
        One row per case and class with the keys of ``score_tables.COLUMNS``.
    Raises:
        InputError: no cases, a case without label, a missing file, a segmentation on another grid than its
            label, values that are not in ``labels`` (0 and 255 for 0 and 1, say), or a time series whose label
            marks nothing in any frame. The first fault ends the scoring: no table lacks a case.
    """
    if not cases:
        raise InputError("scores: expected at least one labelled case, found none; give labelled volumes")
    with closing(steps(cases, "scoring", "case", progress)) as bar:  # before an error is told
        rows = [
            row
            for case in bar
            for row in score_case(Path(predictions_dir) / f"{case['case']}_seg.nii.gz", case, labels)
        ]
    if output is not None:
        write_scores(rows, output)
    return rows


def score_case(prediction: Path, case: Mapping[str, str], labels: Mapping[int, str]) -> list[Row]:
    """Rows of one case; arguments and errors as for :func:`score_segmentations`."""
    if not case.get("label"):
        raise InputError(
            f"case '{case['case']}': expected a label to score against, found none; score labelled cases"
        )
    predicted, affine = _read(prediction)
    reference, reference_affine = _read(Path(case["label"]))
    if predicted.shape != reference.shape or not np.allclose(affine, reference_affine, atol=AFFINE_TOLERANCE):
        raise InputError(
            f"{prediction}: expected the grid of {case['label']}, found shape {_shape(predicted)} for "
            f"{_shape(reference)}, affines up to {np.abs(affine - reference_affine).max():.3g} mm apart; "
            "segment that volume again"
        )
    for path, values in ((prediction, predicted), (Path(case["label"]), reference)):
        for fault in value_faults(path, values, {0, *map(int, labels)}):
            raise InputError(str(fault))
    voxel = nib.affines.voxel_sizes(affine)
    return [
        {"case": name, "label": int(value), "name": str(class_name)}
        | _class_scores(found == int(value), expected == int(value), voxel)
        for name, found, expected in _labelled_frames(str(case["case"]), predicted, reference, case["label"])
        for value, class_name in labels.items()
        if int(value) != 0
    ]


def _read(path: Path) -> tuple[Tensor, np.ndarray]:
    """Label values ``(T, X, Y, Z)`` and the affine, for any file that MONAI's readers open."""
    if not path.exists():
        raise InputError(f"{path}: expected a segmentation, found none; run the inference or mend the path")
    volume = LoadVolume()(path)
    values = volume.as_tensor()
    if values.ndim == 3:  # a 2-D image: one slice
        values = values[..., None]
    return values, to_affine_nd(3, np.asarray(volume.meta["original_affine"]).squeeze())


def _shape(volume: Tensor) -> tuple[int, ...]:
    """As the file states it: ``(X, Y, Z)``, or ``(X, Y, Z, T)`` of a time series."""
    return tuple(volume.shape[1:]) + (tuple(volume.shape[:1]) if len(volume) > 1 else ())


def _labelled_frames(
    case: str, predicted: Tensor, reference: Tensor, label: str | Path
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, prediction and label ``(X, Y, Z)`` of a volume, or of each frame of a series that has a label."""
    count = len(reference)
    shown = [t for t in range(count) if count == 1 or bool(reference[t].any())]
    if not shown:
        raise InputError(
            f"{label}: expected labels in at least one of {count} frames, found none; label a frame"
        )
    digits = max(2, len(str(count - 1)))
    for t in shown:
        found, expected = (part[t].numpy().astype(np.int32) for part in (predicted, reference))
        yield case if count == 1 else f"{case}_t{t:0{digits}d}", found, expected


def _class_scores(predicted: np.ndarray, reference: np.ndarray, voxel: np.ndarray) -> Row:
    millilitre = float(np.prod(voxel)) / 1000
    volumes = {"predicted_ml": predicted.sum() * millilitre, "reference_ml": reference.sum() * millilitre}
    if not predicted.any() and not reference.any():
        return {"dice": 1.0, "hd95_mm": 0.0, "hd_mm": 0.0} | volumes
    if not predicted.any() or not reference.any():
        return {"dice": 0.0, "hd95_mm": math.nan, "hd_mm": math.nan} | volumes
    pair = [torch.from_numpy(mask) for mask in _cropped(predicted, reference)]
    dice = compute_dice(*(mask[None, None].float() for mask in pair), include_background=True)
    hd95, largest = _hausdorff(*pair, spacing=voxel[: pair[0].ndim])
    return {"dice": dice.item(), "hd95_mm": hd95, "hd_mm": largest} | volumes


def _hausdorff(predicted: Tensor, reference: Tensor, spacing: np.ndarray) -> tuple[float, float]:
    """95th percentile and maximum of the distances (mm) between two surfaces, the larger of both directions.

    As MONAI's ``compute_hausdorff_distance``, which would search all distances anew for each of the two.
    """
    with warnings.catch_warnings():  # MONAI calls its own function with an argument that it deprecated
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy.*", category=FutureWarning)
        _, distances, _ = get_edge_surface_distance(
            predicted, reference, spacing=[float(size) for size in spacing], symmetric=True
        )
    return (
        max(torch.quantile(side, 0.95).item() for side in distances),
        max(side.max().item() for side in distances),
    )


def _cropped(predicted: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both masks cut to their common box and one voxel around it, where no score changes.

    A mask that reaches the volume's border gets an empty voxel there, so that its surface is closed. A single
    slice is cut as an image, ``(X, Y)``: its distances are those of contours.
    """
    if predicted.ndim == 3 and predicted.shape[2] == 1:
        predicted, reference = predicted[..., 0], reference[..., 0]
    either = predicted | reference
    box = []
    for axis in range(either.ndim):
        used = np.flatnonzero(either.any(axis=tuple(other for other in range(either.ndim) if other != axis)))
        box.append(slice(used[0], used[-1] + 1))
    return np.pad(predicted[tuple(box)], 1), np.pad(reference[tuple(box)], 1)
