from __future__ import annotations

import numpy as np
import pytest

from shared_components.report.case_volumes import CaseVolumes
from shared_components.report.overlays import (
    across_slices,
    orthogonal,
    orthogonal_uri,
    outlines_uri,
    slice_axis,
    telling_frames,
)
from tests.report.pixels import pixels

AMBER, CYAN = (0xF5, 0x9E, 0x0B), (0x22, 0xD3, 0xEE)


def share(image: np.ndarray, colour) -> float:
    return float((np.abs(image[..., :3] - colour).max(axis=-1) < 40).mean())


def picture(predicted: bool, reference: bool, shape=(30, 40, 20)) -> np.ndarray:
    labels = np.zeros((1, *shape), int)
    labels[:, 8:20, 8:20, 5:15] = 1
    case = CaseVolumes(
        np.zeros((1, *shape)),
        np.roll(labels, 4, 1) if reference else None,
        {"": labels * predicted},
        np.ones(3),
    )
    return pixels(orthogonal_uri(orthogonal(case, 0), [1]))


def test_classes_are_filled_and_outlined_and_the_label_outlined():
    both, alone, nothing = picture(True, True), picture(True, False), picture(False, False)
    assert share(both, AMBER) > 1e-3 and share(both, CYAN) > 1e-3
    assert share(alone, AMBER) > 1e-3 and share(alone, CYAN) == 0
    assert share(nothing, AMBER) == 0
    faint = (both[..., 0] > 30) & (both[..., 0] < 80) & (both[..., 2] < 20)  # amber at FILLING on black
    assert faint.mean() > 0.05


@pytest.mark.parametrize("shape", [(30, 40, 20), (10, 10, 100), (200, 20, 4)])
def test_planes_are_to_scale(shape):
    image = picture(False, False, shape)
    dark = (image[..., 3] == 255) & (image[..., :3].max(axis=-1) < 12)
    columns = np.flatnonzero(dark.any(axis=0))
    starts = [columns[0], *columns[1:][np.diff(columns) > 1]]
    ends = [*columns[:-1][np.diff(columns) > 1], columns[-1]]
    panels = [dark[:, start : end + 1] for start, end in zip(starts, ends, strict=True)]
    sizes = [(np.ptp(np.flatnonzero(panel.any(axis=1))) + 1, panel.shape[1]) for panel in panels]
    x, y, z = shape
    assert len(sizes) == 3
    for size, extent in zip(sizes, [(y, x), (z, x), (z, y)], strict=True):
        assert np.allclose(size, np.asarray(extent) * sizes[0][1] / x, rtol=0.02, atol=3)


def test_outlines_are_drawn_in_the_colours_of_reference_and_class():
    planes = np.zeros((2, 30, 30))
    reference, predicted = np.zeros((2, 2, 30, 30), int)
    reference[:, 4:12, 4:12] = 1
    predicted[:, 18:26, 18:26] = 1

    both = pixels(outlines_uri(planes, reference, {"ours": predicted}, [1]))
    alone = pixels(outlines_uri(planes, None, {"ours": predicted}, [1]))
    assert share(both, CYAN) > 1e-3
    assert share(both, AMBER) > 1e-3
    assert share(alone, CYAN) == 0


def case(shape, box=None, size=(1, 1, 1), frames=1, reference=None) -> CaseVolumes:
    """A volume whose value is its height in the plane from the back (1) to the front (0), labelled in ``box``."""
    image = np.broadcast_to(np.linspace(1, 0, shape[1])[None, None, :, None], (frames, *shape))
    labels = np.zeros((frames, *shape), int)
    if box is not None:
        labels[(slice(None), *box)] = 1
    return CaseVolumes(image, reference, {"ours": labels}, np.asarray(size, float))


def test_planes_cross_what_is_labelled_with_the_front_up():
    planes = across_slices(case((10, 12, 20), np.s_[4:6, 4:6, 8:15]), frame=0, count=3)
    assert planes.image.shape == (3, 12, 10) and planes.aspect == 1
    assert planes.image[0, 0, 0] == 0 and planes.image[0, -1, 0] == 1
    assert planes.predictions["ours"].any(axis=(1, 2)).all()


def test_planes_are_cut_to_a_margin_around_what_is_labelled():
    planes = across_slices(case((90, 80, 10), np.s_[40:60, 10:20, 2:8], size=(1, 2, 8)), frame=0)
    assert planes.image.shape[1:] == (10 + 2 * 7, 20 + 2 * 15)  # 15 mm, more than 0.3 of the extent
    assert planes.pixel == (2, 1)
    assert planes.predictions["ours"][0].sum() == 20 * 10


def test_planes_without_labels_are_whole_and_spread():
    planes = across_slices(case((10, 12, 9)), frame=0, count=4)
    assert planes.image.shape == (4, 12, 10)


def test_thick_slices_are_seen_as_they_were_taken():
    planes = across_slices(case((4, 12, 10), size=(5, 1, 2)), frame=0, count=2)
    assert planes.image.shape == (2, 10, 12)
    assert planes.aspect == 2


@pytest.mark.parametrize(
    ("size", "shape", "axis"),
    [
        ((1, 1, 1), (40, 40, 40), 2),
        ((1, 1, 1.4), (40, 40, 20), 2),
        ((3, 1, 1), (40, 40, 40), 0),
        ((1.2, 8, 1.2), (40, 40, 40), 1),
        ((1, 1, 1), (1, 160, 160), 0),
        ((1, 1, 5), (160, 1, 160), 1),
        ((1, 1, 1), (160, 160, 1), 2),
        ((1.4, 1, 1), (4, 200, 200), 0),
        ((1, 1, 1), (60, 200, 200), 2),
    ],
)
def test_the_axis_across_slices_is_that_of_the_long_edge_or_of_few_slices(size, shape, axis):
    assert slice_axis(np.asarray(size, float), shape) == axis


def test_a_sagittal_slice_is_shown_in_its_own_plane():
    planes = across_slices(case((1, 30, 20), np.s_[:, 3:9, 4:8]), frame=0)
    assert planes.image.shape[0] == 1 and min(planes.image.shape[1:]) > 1
    assert outlines_uri(planes.image, None, {"": np.zeros_like(planes.image, int)}, [1])


def test_orthogonal_planes_are_those_in_which_most_is_labelled():
    example = case((10, 12, 20), np.s_[4:6, 4:6, 8:15], size=(1, 2, 3))
    example.predictions["ours"][0, 5, 5, 3] = (
        1  # more in x = 5, y = 5; z stays at the first of the equal ones
    )
    axial, coronal, sagittal = orthogonal(example, 0)
    assert [view.name for view in (axial, coronal, sagittal)] == ["axial", "coronal", "sagittal"]
    labels = example.predictions["ours"][0]
    shown = [view.planes.predictions["ours"][0] for view in (axial, coronal, sagittal)]
    assert np.array_equal(shown[0], np.rot90(labels[:, :, 8]))
    assert np.array_equal(shown[1], np.rot90(labels[:, 5]))
    assert np.array_equal(shown[2], np.rot90(labels[5]))
    assert axial.sides == ("L", "R", "A", "P") and coronal.sides == ("L", "R", "S", "I")
    assert sagittal.sides == ("P", "A", "S", "I")
    assert [view.planes.pixel for view in (axial, coronal, sagittal)] == [(2, 1), (3, 1), (3, 2)]


def test_orthogonal_planes_of_nothing_are_the_middle_ones():
    views = orthogonal(case((10, 12, 20)), 0)
    assert [view.planes.image.shape[1:] for view in views] == [(12, 10), (20, 10), (20, 12)]


def test_frames_that_experts_labelled_are_shown():
    reference = np.zeros((5, 4, 4, 3), int)
    reference[[1, 3, 4]] = 1
    assert telling_frames(case((4, 4, 3), frames=5, reference=reference)) == [1, 3]


def test_else_the_frames_of_the_most_and_the_least():
    example = case((4, 4, 3), np.s_[1:3, 1:3, 1:2], frames=4)
    example.predictions["ours"][2] = 1
    example.predictions["ours"][3] = 0
    assert telling_frames(example) == [2, 3]
    assert telling_frames(case((4, 4, 3))) == [0]
