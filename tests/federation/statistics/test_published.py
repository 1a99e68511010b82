from __future__ import annotations

import json

import numpy as np
import pytest

from shared_components.data.coverage import Frame
from shared_components.errors import InputError
from shared_components.federation.statistics.published import Reading, class_name, published, volume_numbers
from tests.federation.statistics.volumes import item, save, volume

LABELS = {0: "background", 1: "brain", 2: "lesion"}
PERCENTILES = (0.5, 50.0, 99.5)
LESION = class_name("lesion")


def told(volumes, minimum=3):
    return published(volumes, LABELS, PERCENTILES, minimum)


def patients(number: int, *arguments, first: int = 0, **numbers):
    return [volume(f"p{first + n}", *arguments, **numbers) for n in range(number)]


def test_cells_means_and_shares_by_hand():
    volumes = [
        volume("a", slices=2, shares=np.array([1.0, 0.0])),
        volume("b", slices=4, shares=np.array([0.5, 0.5])),
        volume("c", slices=9, shares=np.array([0.0, 1.0])),
    ]
    found = told(volumes, minimum=2)
    assert found["cells"]["training"] == {"labelled": 0, "partly labelled": 0, "unlabelled": 3}
    assert found["measures"]["slices"] == {"n": 3, "mean": 5.0, "sd": 3.606}  # sqrt((9 + 1 + 16) / 2)
    assert found["intensity"] == {"n": 3, "shares": [0.5, 0.5]}
    assert LESION not in found["measures"]
    json.dumps(found)


def test_equal_values_do_not_deviate():
    found = told(patients(6, spacing=(0.1 + 0.2, 0.7, 1.1)))
    assert [measure["sd"] for measure in found["measures"].values()] == [0.0] * len(found["measures"])


@pytest.mark.parametrize(("number", "shown"), [(0, 0), (1, None), (2, None), (3, 3)])
def test_cells_of_fewer_patients_are_withheld_and_empty_ones_are_not(number, shown):
    found = told(patients(5) + patients(number, "labelled", first=5))
    assert found["cells"]["training"] == {"labelled": shown, "partly labelled": 0, "unlabelled": 5}


def test_a_patient_counts_once():
    assert told([volume("a"), volume("a"), volume("b")])["cells"]["training"]["unlabelled"] is None


def test_no_published_number_depends_on_a_withheld_volume():
    """Else the difference to what was published would give it away."""
    shown = patients(11, "labelled")
    odd = {"slices": 99, "shares": np.array([0.9, 0.1]), "spacing": (9.0, 9.0, 9.0), "percentiles": (5, 6, 7)}
    few = [volume("x", **odd), volume("y", "labelled", "test", **odd, millilitres={1: 99, 2: 99})]
    found, without = told(shown + few), told(shown)
    assert found["measures"] == without["measures"] and found["intensity"] == without["intensity"]
    assert found["measures"]["slices"]["n"] == 11
    hidden = {
        (split, state) for split, row in found["cells"].items() for state, n in row.items() if n is None
    }
    assert hidden == {("training", "unlabelled"), ("test", "labelled")}


def test_nothing_is_told_of_a_site_with_two_patients():
    found = told(patients(2))
    assert found["measures"] == {} and "intensity" not in found


@pytest.mark.parametrize(("carriers", "mean"), [(0, 0.0), (2, None), (3, 3.0)])
def test_the_volume_of_a_class_that_few_patients_have_is_withheld(carriers, mean):
    volumes = patients(5 - carriers, "labelled", millilitres={1: 10.0, 2: 0.0})
    volumes += patients(carriers, "labelled", first=5, millilitres={1: 10.0, 2: 5.0})
    found = told(volumes)["measures"]
    assert found.get(LESION, {"mean": None})["mean"] == mean
    assert found[class_name("brain")] == {"n": 5, "mean": 10.0, "sd": 0.0}


def test_a_withheld_bin_follows_from_no_other():
    bright = np.array([0.5, 0.3, 0.2])
    volumes = [volume("a", shares=bright), *patients(4, first=1, shares=np.array([0.5, 0.5, 0.0]))]
    assert told(volumes)["intensity"]["shares"] == [0.5208, 0.4792, None]  # 0.5 and 0.46 of their sum 0.96
    shares = told(volumes, minimum=1)["intensity"]["shares"]
    assert shares == [0.5, 0.46, 0.04]


def test_sparse_maps_are_a_cell_of_their_own():
    sparse = patients(3, "partly labelled", first=5, annotated=2)
    found = told(patients(5, "labelled") + sparse)
    assert found["cells"]["training"] == {"labelled": 5, "partly labelled": 3, "unlabelled": 0}
    assert found["measures"]["annotated slices"]["n"] == 8
    assert found["measures"][LESION]["n"] == 5


READING = Reading(Frame(8, None, "RAS"), (0.0, 100.0), bins=4)


def test_numbers_of_a_volume_by_hand(tmp_path):
    image = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)  # 0 to 119, each once
    label = np.zeros((4, 5, 6), np.uint8)
    label[:2, :, 0] = 1  # 10 voxels
    label[3, 0, :3] = 2  # 3 voxels
    numbers = volume_numbers(item(tmp_path, image, label, spacing=(1, 2, 3)), "training", [1, 2, 3], READING)
    assert (numbers.split, numbers.state, numbers.slices, numbers.annotated) == ("training", "labelled", 6, 6)
    assert numbers.spacing == pytest.approx((1, 2, 3))
    assert numbers.percentiles == pytest.approx((0, 59.5, 119))
    np.testing.assert_allclose(numbers.shares, [0.25] * 4)  # 30 voxels in each quarter of the range
    assert numbers.millilitres == pytest.approx({1: 0.06, 2: 0.018, 3: 0})  # voxels of 6 mm³


def test_the_slice_axis_is_the_bundles(tmp_path):
    sagittal = Reading(Frame(8, None, "ASR"), (0.0, 100.0), bins=4)
    found = item(tmp_path, np.random.default_rng(0).random((4, 5, 6)), spacing=(1, 2, 3))
    numbers = volume_numbers(found, "test", [1], sagittal)
    assert numbers.slices == 4 and numbers.spacing == pytest.approx((2, 3, 1))
    assert (numbers.state, numbers.annotated, numbers.millilitres) == ("unlabelled", 0, {})


def test_a_sparse_label_map_has_slices_and_no_volume(tmp_path):
    label = np.zeros((4, 5, 6), np.uint8)
    label[:, :, 2] = 1
    found = item(tmp_path, np.random.default_rng(0).random((4, 5, 6)), label) | {"annotated": [2, 3]}
    numbers = volume_numbers(found, "training", [1], READING)
    assert (numbers.state, numbers.annotated, numbers.millilitres) == ("partly labelled", 2, {})


def test_ignored_voxels_are_of_no_class(tmp_path):
    label = np.zeros((4, 5, 6), np.uint8)
    label[0] = 1  # 30 voxels
    label[0, 0, 0] = 255
    found = item(tmp_path, np.random.default_rng(0).random((4, 5, 6)), label) | {"ignore": 255}
    numbers = volume_numbers(found, "training", [1], READING)
    assert numbers.state == "labelled" and numbers.millilitres == pytest.approx({1: 0.029})


def test_a_damaged_image_is_named(tmp_path):
    found = item(tmp_path, np.random.default_rng(0).random((4, 5, 6)))
    save(tmp_path / "other.nii.gz", np.zeros((2, 2, 2)))
    (tmp_path / "image.nii.gz").write_bytes((tmp_path / "other.nii.gz").read_bytes()[:60])
    with pytest.raises(InputError, match=r"image\.nii\.gz"):
        volume_numbers(found, "training", [1], READING)
