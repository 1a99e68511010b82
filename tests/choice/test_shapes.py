"""Shapes of label maps, and how far they are from known ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shared_components.choice.shapes import (
    FARTHEST,
    SPREADS,
    Known,
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


def test_what_cannot_be_had_is_left_out():
    nothing = shapes(np.zeros((3, 8, 8), np.int64), [1], None)
    assert nothing == {"1 empty": 1.0, "1 parts": 0.0, "1 overlap": 0.0}
    apart = shapes(box(), [1], 1.0, places=[0, 2, 4, 6])
    assert set(apart) == {"1 area", "1 parts", "1 largest", "1 outline"}
    assert shapes(box(), [1], 1.0, places=[0, 1, 5, 8])["1 overlap"] == 1
    assert "1 overlap" not in shapes(box(depth=1), [1], 1.0)


def test_pixels_may_be_oblong():
    found = shapes(box(), [1], [2.0, 0.5])
    assert found["1 area"] == pytest.approx(math.log(16 + 1))
    assert found["1 outline"] == pytest.approx(math.log((8 * 2.0 + 8 * 0.5) ** 2 / 16))


def test_alike_is_plausible_and_nonsense_is_not(tmp_path):
    write_shapes([Known(box()), Known(box(side=5)), Known(box())], [1], 1.0, tmp_path / "shapes.json")
    known = read_shapes([tmp_path / "shapes.json"])
    speckle = np.random.default_rng(0).integers(0, 2, (4, 16, 16))
    alike = implausibility([shapes(box(), [1], 1.0)], known)
    nothing = implausibility([shapes(np.zeros_like(box()), [1], 1.0)], known)
    assert alike < 0.2
    assert 1 < implausibility([shapes(speckle, [1], 1.0)], known) < FARTHEST
    assert nothing > 1


def test_slices_that_nobody_annotated_change_little(tmp_path):
    size = np.array([3, 5, 7, 8, 8, 7, 5, 3])
    whole = np.concatenate([box(depth=1, side=side) for side in size])
    write_shapes([Known(whole[::2], places=[0, 2, 4, 6])], [1], 1.0, tmp_path / "shapes.json")
    assert implausibility([shapes(whole, [1], 1.0)], read_shapes([tmp_path / "shapes.json"])) < 0.3


def test_of_few_patients_coarse_numbers_alone_leave_a_site(tmp_path):
    write_shapes([Known(box()), Known(box(side=5))], [1], 1.0, tmp_path / "few.json")
    write_shapes([Known(box()), Known(box(side=5)), Known(box(side=6))], [1], 1.0, tmp_path / "three.json")
    few, three = read_shapes([tmp_path / "few.json", tmp_path / "three.json"])
    assert all(one["deviation"] == 0 for one in few.values())
    assert all(
        (one["mean"] / SPREADS[n.split()[1]] * 2) % 1 == pytest.approx(0, abs=1e-3) for n, one in few.items()
    )
    exact = [math.log(side**2 + 1) for side in (4, 5, 6)]
    assert three["1 area"]["mean"] == pytest.approx(np.mean(exact), abs=1e-4)
    assert three["1 area"]["deviation"] == pytest.approx(np.std(exact), abs=1e-4)


def test_the_nearest_of_several_clients_counts(tmp_path):
    for name, side in (("a", 4), ("b", 10)):
        write_shapes([Known(box(side=side))] * 3, [1], 1.0, tmp_path / f"{name}.json")
    both = read_shapes([tmp_path / "a.json", tmp_path / "b.json"])
    assert implausibility([shapes(box(side=10), [1], 1.0)], both) == pytest.approx(0, abs=1e-3)


def test_where_no_slice_is_known_as_a_whole_nothing_is_implausible(tmp_path):
    write_shapes([], [1], 1.0, tmp_path / "shapes.json")
    assert implausibility([shapes(box(), [1], 1.0)], read_shapes([tmp_path / "shapes.json"])) == 0


def test_what_is_no_file_of_shapes_or_of_other_classes_is_refused(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match=r"make it again with shapes\.yaml"):
        read_shapes([tmp_path / "broken.json"])
    (tmp_path / "other.json").write_text('{"scores": {}}')
    with pytest.raises(InputError, match="expected means and deviations of shapes, found none"):
        read_shapes([tmp_path / "other.json"])
    write_shapes([Known(box(value=2))], [2], 1.0, tmp_path / "two.json")
    with pytest.raises(InputError, match="expected those of these classes, found class 2"):
        implausibility([shapes(box(), [1], 1.0)], read_shapes([tmp_path / "two.json"]))
