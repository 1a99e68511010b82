"""The shipped head, untouched, as inference and evaluation of a bundle see it."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import affine_transform

from shared_components.benchmarks import BUNDLES, REPOSITORY
from shared_components.benchmarks.runs import Runs, check_failures
from shared_components.benchmarks.tables import read_table
from shared_components.data.dataset_json import dataset_head, write_dataset
from shared_components.study.stage import Stage

SHIPPED = REPOSITORY / "shared_components" / "data" / "phantoms" / "colin27"
KINDS = ("2mm", "1mm_lps_oblique")
TURN = 12  # degrees about x, of the oblique copy
SHAPE = np.array([200, 236, 210])  # voxels of 1 mm, of the oblique copy


def segment_real_head(
    ckpt_path: str | Path | None, output_dir: str | Path, bundle: str = "adaptation"
) -> list[str]:
    """Segment the head and its copy with the bundle's own configs.

    Args:
        ckpt_path: a model of T1 heads; None: the bundle's demo weights.
        output_dir: folder of the copies, segmentations and scores.
        bundle: folder in ``bundles``.
    Returns:
        A line of the brain's Dice and HD95 per volume.
    """
    folder = Path(output_dir).resolve()
    write_copies(folder / "data")
    runs = Runs(folder)
    with runs.alone():
        check_failures(runs.run([_stage(ckpt_path, folder, bundle)]))
    return [
        f"{bundle}, {row['case']}: Dice {float(row['dice']):.3f}, HD95 {float(row['hd95_mm']):.1f} mm"
        for row in read_table(folder / bundle / "scores.csv")
    ]


def _stage(ckpt_path: str | Path | None, folder: Path, bundle: str) -> Stage:
    """Inference and evaluation."""
    data, configs = str(folder / "data"), ("common.yaml", "inference.yaml", "evaluate.yaml")
    model = str(Path(ckpt_path).resolve()) if ckpt_path else None
    own = {"dataset_dir": data, "ckpt_path": model} if model else {"dataset_dir": data}
    return Stage(
        "real head",
        bundle,
        str(BUNDLES / bundle),
        configs if model else (*configs, "demo.yaml"),
        own,
        folder / bundle,
        reads=(data, model) if model else (data,),
    )


def write_copies(folder: Path) -> None:
    """The shipped head and mask as they are, and rotated at 1 mm, stored LPS; with a dataset.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, order in (("head_2mm.nii.gz", 1), ("brain_mask_2mm.nii.gz", 0)):
        (folder / file).write_bytes((SHIPPED / file).read_bytes())
        copy = _oblique_copy(nib.load(SHIPPED / file), order)
        nib.save(copy, folder / file.replace("2mm", "1mm_lps_oblique"))
    items = [{"image": f"head_{kind}.nii.gz", "label": f"brain_mask_{kind}.nii.gz"} for kind in KINDS]
    head = dataset_head("real head", "t1", "MRI", {0: "background", 1: "brain"})
    write_dataset(folder, head | {"training": [], "validation": [], "test": items})


def _oblique_copy(image: nib.Nifti1Image, order: int) -> nib.Nifti1Image:
    """The image about its own middle; ``order`` of the interpolation."""
    data = np.asanyarray(image.dataobj)
    angle = np.deg2rad(TURN)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    direction = turn @ np.diag([-1.0, -1.0, 1.0])
    middle = image.affine @ np.append((np.array(data.shape) - 1) / 2, 1)
    affine = np.eye(4)
    affine[:3, :3] = direction
    affine[:3, 3] = middle[:3] - direction @ ((SHAPE - 1) / 2)
    to_source = np.linalg.inv(image.affine) @ affine
    copy = affine_transform(data, to_source[:3, :3], to_source[:3, 3], output_shape=tuple(SHAPE), order=order)
    return nib.Nifti1Image(copy, affine)
