from __future__ import annotations

import numpy as np
import pytest

from shared_components.report.case_volumes import Case
from shared_components.report.planes import across_slices, orthogonal, slice_axis, telling_frames


def case(shape, box=None, size=(1, 1, 1), frames=1, reference=None) -> Case:
    """A volume whose value is its height in the plane from the back (1) to the front (0), labelled in ``box``."""
    image = np.broadcast_to(np.linspace(1, 0, shape[1])[None, None, :, None], (frames, *shape))
    labels = np.zeros((frames, *shape), int)
    if box is not None:
        labels[(slice(None), *box)] = 1
    return Case(image, reference, {"ours": labels}, np.asarray(size, float))


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
    ("size", "axis"), [((1, 1, 1), 2), ((1, 1, 1.4), 2), ((3, 1, 1), 0), ((1.2, 8, 1.2), 1)]
)
def test_the_axis_across_slices_is_that_of_the_long_edge(size, axis):
    assert slice_axis(np.asarray(size, float)) == axis


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
