from __future__ import annotations

import numpy as np
import pytest

from shared_components.report.case_volumes import Case
from shared_components.report.overlays import orthogonal_uri, outlines_uri
from shared_components.report.planes import orthogonal
from tests.report.pixels import pixels

AMBER, CYAN = (0xF5, 0x9E, 0x0B), (0x22, 0xD3, 0xEE)


def share(image: np.ndarray, colour) -> float:
    return float((np.abs(image[..., :3] - colour).max(axis=-1) < 40).mean())


def picture(predicted: bool, reference: bool, shape=(30, 40, 20)) -> np.ndarray:
    labels = np.zeros((1, *shape), int)
    labels[:, 8:20, 8:20, 5:15] = 1
    case = Case(
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
    dark = (image[..., 3] == 255) & (image[..., :3].max(axis=-1) == 0)
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
