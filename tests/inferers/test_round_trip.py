"""A label map put in as the network's answer comes out on the file's grid, whatever the grid.

What in-plane resampling allows: slices stay as they are, and within one a boundary is placed to a fraction of the
coarser of two pixels, the file's and the network's. A disc d of the network's pixels across then keeps a Dice of about
1 - 0.4 / d: 0.98 takes d = 20. So the smaller class here is a disc of at least ``SMALLEST`` pixels; a structure of two
or three pixels cannot come through a coarser grid, of any implementation.
"""

from __future__ import annotations

import tempfile
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from scipy.spatial.transform import Rotation

from shared_components.inferers import (
    CaseDataset,
    LabelsOnFileGridd,
    WriteSegmentationd,
    inference_transforms,
)

SMALLEST = 24  # network pixels across the smaller class
CORE = 0.4  # its diameter, as a share of the slice's smaller side
AXES = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


@st.composite
def grids(draw) -> tuple[tuple[int, ...], np.ndarray, float]:
    """A file's shape and affine, slices along its last axis, and the network's pixel size (mm)."""
    spacing = draw(st.floats(0.8, 4.0))
    pixels = [draw(st.floats(0.4, 2.0)) * spacing for _ in range(2)]  # the file's, finer or coarser
    across = draw(st.floats(1.05, 1.6)) * SMALLEST / CORE * spacing  # mm
    shape = [round(across * draw(st.floats(1.0, 1.3)) / mm) for mm in pixels]
    order, signs = draw(st.sampled_from(AXES))
    angles = [draw(st.floats(-44, 44)) for _ in range(3)]
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine[:3, :3] = (
        turn @ np.eye(3)[:, list(order)] @ np.diag(signs) @ np.diag([*pixels, draw(st.floats(0.5, 9))])
    )
    affine[:3, 3] = [draw(st.floats(-200, 200)) for _ in range(3)]
    return (*shape, draw(st.integers(1, 6))), affine, spacing


def anatomy(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """A disc in a larger one, both off the middle, that drift from slice to slice."""
    pixels = np.linalg.norm(affine[:3, :2], axis=0)
    rows, columns, slices = np.indices(shape)
    width = (np.array(shape[:2]) * pixels).min()
    across = [(rows - 0.52 * shape[0]) * pixels[0], (columns - 0.47 * shape[1]) * pixels[1]]
    distance = np.hypot(across[0] + 0.02 * width * (slices % 2), across[1])
    return (distance < CORE * width).astype(np.uint8) + (distance < CORE / 2 * width)


def dice(found: np.ndarray, true: np.ndarray, label: int) -> float:
    return 2 * ((found == label) & (true == label)).sum() / ((found == label).sum() + (true == label).sum())


def put_in(labels: np.ndarray, item: dict) -> torch.Tensor:
    """The scores of a network that knows the labels: those of the file's voxel nearest to each of its own."""
    image = item["image"]
    source = np.asarray(image.meta["original_affine"])
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(labels.astype(np.int64)), 3).permute(3, 0, 1, 2)
    on_network = SpatialResample(mode="bilinear", padding_mode="border", dtype=torch.float64)(
        MetaTensor(one_hot.double(), affine=torch.from_numpy(source)),
        dst_affine=image.affine, spatial_size=image.shape[1:],
    )  # fmt: skip
    return on_network.as_tensor().float().clamp(1e-6).log()  # log-probabilities


@st.composite
def orientations(draw, affine: np.ndarray) -> str:
    """Codes that leave the slices what they are: the file's in-plane axes swapped or turned round."""
    codes = list(nib.aff2axcodes(affine))
    other = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
    codes = [other[code] if draw(st.booleans()) else code for code in codes]
    return "".join([codes[1], codes[0], codes[2]] if draw(st.booleans()) else codes)


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_a_label_map_put_in_as_the_prediction_comes_out(data):
    shape, affine, spacing = data.draw(grids())
    orientation = data.draw(st.one_of(st.none(), orientations(affine)))
    with tempfile.TemporaryDirectory() as folder:
        labels = anatomy(shape, affine)
        image = nib.Nifti1Image((labels * 100).astype(np.float32), affine)
        nib.save(image, Path(folder) / "image.nii")
        transforms = inference_transforms(32, spacing, orientation, multiple=8)
        item = CaseDataset([{"image": str(Path(folder) / "image.nii"), "case": "image"}], transforms)[0]
        WriteSegmentationd(folder)(LabelsOnFileGridd()(item | {"pred": put_in(labels, item)}))
        found = nib.load(Path(folder) / "image_seg.nii.gz")
        values = np.asarray(found.dataobj)
        assert np.array_equal(found.affine, nib.load(Path(folder) / "image.nii").affine)
        assert found.shape == shape
        assert min(dice(values, labels, value) for value in (0, 1, 2)) >= 0.98, orientation
