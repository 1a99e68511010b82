"""Scores of segmentations on file: Dice, 95 % Hausdorff distance (mm) and volumes (ml) per case and class."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance
from monai.transforms import LoadImage
from tqdm import tqdm

from shared_components.errors import InputError
from shared_components.files import write_text

COLUMNS = ("case", "label", "name", "dice", "hd95_mm", "predicted_ml", "reference_ml")
AFFINE_TOLERANCE = 1e-3  # mm per voxel, and mm of origin

Row = dict[str, object]


def score_segmentations(
    predictions_dir: str | Path,
    cases: Sequence[Mapping[str, str]],
    labels: Mapping[int, str],
    output: str | Path | None = None,
    progress: bool = False,
) -> list[Row]:
    """Compare ``<predictions_dir>/<case>_seg.nii.gz`` with each case's label file.

    Where a class is missing: absent from both, Dice is 1 and the distance 0; absent from one of the two,
    Dice is 0 and the distance has no value (``nan``), which :func:`summarize` counts as *missed*.

    Args:
        predictions_dir: folder of the segmentations.
        cases: each ``{"case", "label"}``.
        labels: label value to class name; 0 is background and not scored.
        output: CSV to write, with a JSON summary beside it (``scores.csv`` and ``scores.json``).
        progress: show a bar over cases.
    Returns:
        One row per case and class with the keys of ``COLUMNS``.
    Raises:
        InputError: no cases, a case without label, a missing file, or a segmentation on another grid than its
            label.
    """
    if not cases:
        raise InputError("scores: expected at least one labelled case, found none; give labelled volumes")
    rows = [
        row
        for case in tqdm(cases, desc="scoring", unit="case", disable=not progress)
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
            f"{prediction}: expected the grid of {case['label']}, found shape {predicted.shape} for "
            f"{reference.shape}, affines up to {np.abs(affine - reference_affine).max():.3g} mm apart; "
            "segment that volume again"
        )
    voxel = nib.affines.voxel_sizes(affine)
    return [
        {"case": case["case"], "label": int(value), "name": str(name)}
        | _class_scores(predicted == int(value), reference == int(value), voxel)
        for value, name in labels.items()
        if int(value) != 0
    ]


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Label values ``(X, Y, Z)`` and the affine, for any file that MONAI's readers open."""
    if not path.exists():
        raise InputError(f"{path}: expected a segmentation, found none; run the inference or mend the path")
    volume = LoadImage(image_only=True, ensure_channel_first=True)(path)
    return np.rint(volume[0].numpy()).astype(np.int32), volume.meta["original_affine"].squeeze()


def _class_scores(predicted: np.ndarray, reference: np.ndarray, voxel: np.ndarray) -> Row:
    millilitre = float(np.prod(voxel)) / 1000
    volumes = {"predicted_ml": predicted.sum() * millilitre, "reference_ml": reference.sum() * millilitre}
    if not predicted.any() and not reference.any():
        return {"dice": 1.0, "hd95_mm": 0.0} | volumes
    if not predicted.any() or not reference.any():
        return {"dice": 0.0, "hd95_mm": math.nan} | volumes
    pair = [torch.from_numpy(mask)[None, None] for mask in _cropped(predicted, reference)]
    dice = compute_dice(pair[0].float(), pair[1].float(), include_background=True)
    with warnings.catch_warnings():  # MONAI calls its own function with an argument that it deprecated
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy.*", category=FutureWarning)
        distance = compute_hausdorff_distance(
            *pair, include_background=True, percentile=95, spacing=[float(size) for size in voxel]
        )
    return {"dice": dice.item(), "hd95_mm": distance.item()} | volumes


def _cropped(predicted: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both masks cut to their common box and one voxel around it, where no score changes.

    A mask that reaches the volume's border gets an empty voxel there, so that its surface is closed.
    """
    either = predicted | reference
    box = []
    for axis in range(either.ndim):
        used = np.flatnonzero(either.any(axis=tuple(other for other in range(either.ndim) if other != axis)))
        box.append(slice(used[0], used[-1] + 1))
    return np.pad(predicted[tuple(box)], 1), np.pad(reference[tuple(box)], 1)


def summarize(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over cases, per class and for ``mean`` (the mean over a case's classes).

    Returns:
        Class name to ``{"cases", "dice_mean", "dice_sd", "hd95_mean", "hd95_sd", "missed"}``; distances (mm)
        are over the cases that have one, ``missed`` counts the others; ``nan`` where no case is left, and for
        the deviation of a single case.
    """
    names = list(dict.fromkeys(str(row["name"]) for row in rows))
    summary = {
        name: _statistics(
            [float(row["dice"]) for row in rows if row["name"] == name],
            [float(row["hd95_mm"]) for row in rows if row["name"] == name],
        )
        for name in names
    }
    cases = list(dict.fromkeys(str(row["case"]) for row in rows))
    by_case = [[row for row in rows if row["case"] == case] for case in cases]
    summary["mean"] = _statistics(
        [float(np.mean([float(row["dice"]) for row in group])) for group in by_case],
        [float(np.mean([float(row["hd95_mm"]) for row in group])) for group in by_case],
    )
    return summary


def _statistics(dice: list[float], distances: list[float]) -> dict[str, float]:
    known = [distance for distance in distances if math.isfinite(distance)]
    return {
        "cases": len(dice),
        "dice_mean": _mean(dice),
        "dice_sd": _deviation(dice),
        "hd95_mean": _mean(known),
        "hd95_sd": _deviation(known),
        "missed": len(distances) - len(known),
    }


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _deviation(values: list[float]) -> float:
    """Sample standard deviation (n - 1)."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def write_scores(rows: Sequence[Row], output: str | Path) -> Path:
    """Write rows as CSV, and their summary as JSON beside it (numbers that have no value as ``null``)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()}
        for row in rows
    )
    path = write_text(output, text.getvalue())
    summary = {
        name: {key: None if math.isnan(value) else value for key, value in statistics.items()}
        for name, statistics in summarize(rows).items()
    }
    write_text(path.with_suffix(".json"), json.dumps(summary, indent=2) + "\n")
    return path


def read_scores(path: str | Path) -> list[Row]:
    """Read back the rows of :func:`write_scores`.

    Raises:
        InputError: no such file, or a column is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a table of scores, found no file; run the evaluation first")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = [column for column in COLUMNS if rows and column not in rows[0]]
    if missing:
        raise InputError(
            f"{path}: expected columns {', '.join(COLUMNS)}, found no '{missing[0]}'; evaluate again"
        )
    numbers = COLUMNS[3:]
    return [row | {"label": int(row["label"])} | {key: float(row[key]) for key in numbers} for row in rows]
