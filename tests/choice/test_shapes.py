"""Shapes of label maps, and how far they are from known ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared_components.choice.shapes import (
    FARTHEST,
    SPREADS,
    implausibility,
    read_shapes,
    shapes,
    write_shapes,
)
from shared_components.errors import InputError


def box(depth: int = 4, size: int = 16, side: int = 4, value: int = 1) -> np.ndarray:
    volume = np.zeros((depth, size, size), np.int64)
    volume[:, 4 : 4 + side, 4 : 4 + side] = value
    return volume


def test_a_square_has_the_shapes_of_a_square():
    found = shapes(box(), [1], 0.5)
    assert set(found) == {f"1 {what}" for what in SPREADS}
    assert found["1 area"] == pytest.approx(math.log(16 * 0.25 + 1))
    assert found["1 empty"] == 0
    assert found["1 parts"] == pytest.approx(math.log(2))
    assert found["1 largest"] == 1
    assert found["1 outline"] == pytest.approx(math.log((16 * 0.5) ** 2 / (16 * 0.25)))
    assert found["1 overlap"] == 1


def test_parts_and_empty_slices_are_seen():
    volume = box()
    volume[0] = 0
    volume[1, 12:14, 12:14] = 1
    found = shapes(volume, [1], 1.0)
    assert found["1 empty"] == 0.25
    assert found["1 parts"] == pytest.approx(math.log1p(4 / 4))
    assert found["1 largest"] == pytest.approx((16 / 20 + 1 + 1) / 3)
    assert found["1 overlap"] == pytest.approx((0 + 32 / 36 + 1) / 3)


def test_several_classes_are_described_together_too_and_the_unknown_is_no_class():
    volume = box()
    volume[:, 5, 5] = 2
    volume[0] = -1
    found = shapes(volume, [1, 2], 1.0)
    assert found["all area"] == pytest.approx(math.log(16 * 3 / 4 + 1))
    assert found["2 empty"] == 0.25


def test_nothing_at_all_has_shapes():
    found = shapes(np.zeros((3, 8, 8), np.int64), [1], None)
    assert all(math.isfinite(value) for value in found.values())
    assert found["1 empty"] == 1


def test_alike_is_plausible_and_nonsense_is_not(tmp_path):
    write_shapes([box(), box(side=5)], [1], 1.0, tmp_path / "shapes.json")
    known = read_shapes([tmp_path / "shapes.json"])
    speckle = np.random.default_rng(0).integers(0, 2, (4, 16, 16))
    alike = implausibility([shapes(box(), [1], 1.0)], known)
    nothing = implausibility([shapes(np.zeros_like(box()), [1], 1.0)], known)
    assert alike < 0.2 < 1 < implausibility([shapes(speckle, [1], 1.0)], known) < FARTHEST
    assert nothing > 1


def test_the_nearest_of_several_clients_counts(tmp_path):
    for name, side in (("a", 4), ("b", 10)):
        write_shapes([box(side=side)], [1], 1.0, tmp_path / f"{name}.json")
    both = read_shapes([tmp_path / "a.json", tmp_path / "b.json"])
    assert implausibility([shapes(box(side=10), [1], 1.0)], both) == pytest.approx(0, abs=1e-3)


def test_without_labels_there_are_no_shapes(tmp_path):
    with pytest.raises(InputError, match="expected at least one label map to describe"):
        write_shapes([], [1], 1.0, tmp_path / "shapes.json")
    with pytest.raises(InputError, match=r"make it again with shapes\.yaml"):
        (tmp_path / "shapes.json").write_text("{")
        read_shapes([tmp_path / "shapes.json"])
