from __future__ import annotations

import math
import os
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Transform
from nibabel.orientations import axcodes2ornt

from shared_components.data.datalists import datalist
from shared_components.data.slices import SliceDataset, ToSlices, VolumeCache, height_intervals
from shared_components.errors import InputError
from shared_components.files import load_tensors
from shared_components.networks.condition import place_of
from tests.test_files import flipped

DOMAINS = ("t1", "t2", "pet")


@pytest.fixture
def items(data_root):
    return datalist(data_root[0], "training")


def dataset(items, **changed):
    settings = {"domains": DOMAINS, "size": 16, "spacing": 2.0} | changed
    return SliceDataset(items, **settings)


def test_a_slice_is_what_a_network_takes(items):
    slices = dataset(items)
    assert len(slices) == 12
    first = slices[0]
    assert {key: (value.dtype, tuple(value.shape)) for key, value in first.items()} == {
        "image": (torch.float32, (1, 16, 16)),
        "label": (torch.int64, (1, 16, 16)),
        "labelled": (torch.bool, ()),
        "domain": (torch.int64, ()),
        "position": (torch.float32, ()),
        "index": (torch.int64, ()),
        "volume": (torch.int64, ()),
        "interval": (torch.float32, (2,)),
    }
    assert first["domain"] == 1 and [int(slices[i]["index"]) for i in (0, 7)] == [0, 7]
    images = torch.stack([slices[i]["image"] for i in range(len(slices))])
    assert images.min() == -1
    assert images.max() == 1


def test_labels_go_with_their_slices_and_are_unknown_when_absent(items):
    slices = dataset(items)
    assert slices.labelled == list(range(6))
    assert slices.unlabelled == list(range(6, 12))
    assert [int(slices[i]["label"].sum()) for i in range(6)] == [0, 25, 25, 25, 0, 0]
    assert all(bool((slices[i]["label"] == -1).all()) for i in range(6, 12))
    assert [bool(slices[i]["labelled"]) for i in (0, 5, 6)] == [True, True, False]
    assert slices.subjects == ["s1", "s2"]


@pytest.fixture
def ten_slices(data_root, save_image):
    """A labelled item of ten slices; only slice 4 has foreground."""
    root, _ = data_root
    label = np.zeros((12, 10, 10), np.uint8)
    label[3:8, 2:7, 4] = 1
    noise = np.random.default_rng(5).normal(100, 20, (12, 10, 10)).astype(np.float32)
    image, label = save_image(root / "ten.nii.gz", noise), save_image(root / "ten_seg.nii.gz", label)
    return {"image": str(image), "label": str(label), "domain": "t2", "subject": "ten"}


def test_one_annotated_slice_of_ten_is_one_labelled_slice(ten_slices, save_image):
    slices = dataset([ten_slices | {"annotated": [4]}])
    assert slices.labelled == [4] and slices.unlabelled == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert [bool(slices[i]["labelled"]) for i in range(10)] == [i == 4 for i in range(10)]
    assert slices[4]["label"].sum() == 25 and slices[4]["label"].min() == 0  # what is padded is background
    assert bool((slices[3]["label"] == -1).all())
    assert dataset([ten_slices]).labelled == list(range(10))
    label = np.full((12, 10, 10), 255, np.uint8)
    label[..., 4] = 0
    label[3:8, 2:7, 4] = 1
    save_image(Path(ten_slices["label"]), label)
    ignoring = dataset([ten_slices | {"ignore": 255}])
    assert ignoring.labelled == [4]
    assert all(torch.equal(ignoring[i]["label"], slices[i]["label"]) for i in range(10))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRA", "AIL"])
def test_annotated_slices_are_those_of_the_file_however_its_axes_run(ten_slices, save_image, codes):
    """Slices across the file's third axis, which the network may see as rows or columns."""
    place, stored = Path(ten_slices["label"]).parent, {}
    turn = axcodes2ornt(tuple(codes))
    for key in ("image", "label"):
        image = nibabel.load(ten_slices[key]).as_reoriented(turn)
        stored[key] = str(
            save_image(place / f"{codes}_{key}.nii.gz", np.asarray(image.dataobj), image.affine)
        )
    label = nibabel.load(stored["label"])
    axis = [code in "IS" for code in nibabel.aff2axcodes(label.affine)].index(True)
    (number,) = np.flatnonzero(np.moveaxis(np.asarray(label.dataobj), axis, 0).any((1, 2)))
    item = ten_slices | stored | {"annotated": {"axis": axis, "slices": [int(number)]}}
    slices, plain = dataset([item]), dataset([ten_slices | {"annotated": [4]}])
    assert slices.labelled == [4]
    assert all(torch.equal(slices[i]["label"], plain[i]["label"]) for i in range(10))


def test_slices_across_the_networks_are_known_in_strips(ten_slices):
    slices = dataset([ten_slices | {"annotated": {"axis": 0, "slices": [3, 4]}}])
    assert slices.labelled == list(range(10))
    assert [int(value) for value in (slices[4]["label"] == 1).sum((0, 2))[4:12]] == [0, 5, 5, 0, 0, 0, 0, 0]
    assert bool((slices[4]["label"][:, [7, 8, 9], 3:13] == -1).all())


def test_unknown_pixels_survive_resampling(ten_slices):
    fine, plain = (
        dataset([ten_slices | {"annotated": known}], spacing=1.0, size=32) for known in ([4], list(range(10)))
    )
    assert fine.labelled == [4]
    assert torch.equal(fine[4]["label"], plain[4]["label"])


def test_a_subset_of_slices_has_the_annotated_ones_first(ten_slices):
    slices = dataset([ten_slices | {"annotated": [7]}], slices_per_volume=2)
    assert [where.slice for where in slices.index] == [4, 7] and slices.labelled == [1]
    few = dataset([ten_slices | {"annotated": [1, 2, 3, 4]}], slices_per_volume=2)
    assert [where.slice for where in few.index] == [2, 4] and few.labelled == [0, 1]


def test_a_cached_volume_is_renewed_when_other_slices_are_annotated(ten_slices, tmp_path):
    first = dataset([ten_slices | {"annotated": [4]}], cache="disk", cache_dir=tmp_path)
    other = dataset([ten_slices | {"annotated": [5, 6]}], cache="disk", cache_dir=tmp_path)
    assert first.labelled == [4] and other.labelled == [5, 6]


def test_a_slice_that_the_label_map_lacks_is_refused(ten_slices):
    with pytest.raises(InputError, match=r"ten_seg\.nii\.gz: 'annotated' names the slice 10, its axis 2 has"):
        dataset([ten_slices | {"annotated": [10]}])


def test_positions_are_relative_heights(items):
    slices = dataset(items)
    assert [float(slices[i]["position"]) * 12 for i in range(6)] == pytest.approx([1, 3, 5, 7, 9, 11])
    assert slices[2]["interval"].tolist() == pytest.approx([2 / 6, 3 / 6])


def test_a_single_slice_has_no_height(tmp_path, save_image):
    path = save_image(tmp_path / "flat.nii.gz", np.random.default_rng(0).uniform(0, 100, (12, 10, 1)))
    slices = dataset([{"image": str(path), "domain": "t1", "subject": "flat"}])
    assert len(slices) == 1
    assert bool(slices[0]["position"].isnan()) and bool(slices[0]["interval"].isnan().all())


def test_a_subset_of_slices_is_evenly_spaced_and_keeps_its_positions(items):
    slices = dataset(items, slices_per_volume=3)
    assert [where.slice for where in slices.index] == [1, 3, 5] * 2
    assert [float(slices[i]["position"]) * 12 for i in range(3)] == pytest.approx([3, 7, 11])
    assert [slices[i]["interval"].tolist() for i in range(3)] == [
        pytest.approx(interval) for interval in ([0, 5 / 12], [5 / 12, 9 / 12], [9 / 12, 1])
    ]
    assert len(dataset(items, slices_per_volume=99)) == 12


def test_empty_slices_can_be_left_out(tmp_path, save_image):
    half = np.zeros((12, 10, 6), np.float32)
    half[2:9, 2:9, 3:] = np.random.default_rng(0).uniform(50, 100, (7, 7, 3))
    path = save_image(tmp_path / "half.nii.gz", half)
    item = {"image": str(path), "domain": "t1", "subject": "half"}
    slices = dataset([item], min_foreground=0.05)
    assert [where.slice for where in slices.index] == [3, 4, 5]
    assert [float(slices[i]["position"]) * 12 for i in range(3)] == pytest.approx([7, 9, 11])
    assert slices[0]["interval"].tolist() == pytest.approx([0, 4 / 6])
    with pytest.raises(InputError, match=r"half\.nii\.gz: none of its 6 slices has a foreground of 90%"):
        dataset([item], min_foreground=0.9)


@pytest.mark.parametrize("cache", ["disk", "none"])
def test_every_cache_gives_the_same_slices(items, tmp_path, cache):
    kept = dataset(items)
    other = dataset(items, cache=cache, cache_dir=tmp_path / "cache")
    assert len(kept) == len(other)
    for i in (0, 7, 3, 11):
        assert all(torch.equal(kept[i][key], other[i][key]) for key in kept[i])


def test_in_memory_no_volume_is_read_twice(items):
    slices = dataset(items)
    for item in items:
        Path(item["image"]).unlink()
    assert slices[3]["image"].shape == (1, 16, 16)
    start = time.perf_counter()
    for _ in range(100):
        for i in range(12):
            slices[i]
    assert (time.perf_counter() - start) / 1200 < 1e-3  # seconds; decoding would take a hundred times as long


def test_the_disk_cache_is_used_again_and_renewed_when_a_file_or_setting_changes(items, tmp_path, save_image):
    cache = tmp_path / "cache"

    def entries(**changed):
        slices = dataset(items, cache="disk", cache_dir=cache, **changed)
        return slices, len(list(cache.iterdir()))

    before, count = entries()
    assert count == 2
    kept = [load_tensors(file) for file in cache.iterdir()]
    assert all(isinstance(volume["image"], torch.Tensor) for volume in kept), "decoded, not the files' names"
    assert entries()[1] == 2
    assert entries(size=20)[1] == 4
    new = np.random.default_rng(9).normal(100, 20, (12, 10, 6)).astype(np.float32)
    path = save_image(tmp_path / "north/images/s1.nii.gz", new)
    os.utime(path, (1, 1))
    after, count = entries()
    assert count == 5
    assert not torch.equal(before[0]["image"], after[0]["image"])


def test_voxels_in_a_file_beside_the_header_renew_the_cache(tmp_path):
    def first(value):
        voxels = np.random.default_rng(value).normal(100, 20, (12, 10, 6)).astype(np.float32)
        header = tmp_path / "x.hdr"
        kept = header.read_bytes() if header.exists() else None
        nibabel.save(nibabel.Nifti1Pair(voxels, np.diag([2.0, 2.0, 4.0, 1.0])), tmp_path / "x.img")
        if kept is not None:
            header.write_bytes(kept)
            os.utime(header, (1, 1))
        item = {"image": str(header), "domain": "t1", "subject": "s"}
        return dataset([item], cache="disk", cache_dir=tmp_path / "cache")[0]["image"]

    first(0)
    os.utime(tmp_path / "x.hdr", (1, 1))
    before = first(0)
    assert not torch.equal(before, first(1))


def test_rounded_label_values_survive(tmp_path):
    label = torch.tensor([0.0, 0.99999, 2.00001]).reshape(1, 1, 3, 1)
    slices = ToSlices()({"image": torch.zeros(1, 1, 3, 1), "label": label})
    assert slices["label"].flatten().tolist() == [0, 1, 2]


def test_a_domain_that_the_federation_lacks_is_refused(items):
    with pytest.raises(InputError, match=r"north/images/s1.*domain 't2', the federation has 't1', 'pet'"):
        dataset(items, domains=("t1", "pet"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cache": "ram"}, "cache: expected one of memory, disk, none, found 'ram'"),
        ({"cache": "disk"}, "needs cache_dir"),
        ({"slices_per_volume": 0}, "slices_per_volume: expected at least 1"),
    ],
)
def test_settings_of_no_sense_are_refused(items, changed, message):
    with pytest.raises(InputError, match=message):
        dataset(items, **changed)


def test_no_items_are_refused():
    with pytest.raises(InputError, match="no volumes"):
        dataset([])


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_a_damaged_file_is_named(items, tmp_path, cache):
    content = (tmp_path / "north/images/s2.nii.gz").read_bytes()
    (tmp_path / "north/images/s2.nii.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"s2\.nii\.gz: could not be read .*; copy it again from its source"):
        dataset(items, cache=cache, cache_dir=tmp_path / "cache")


def test_a_missing_file_is_named(items, tmp_path):
    Path(items[1]["image"]).unlink()
    with pytest.raises(InputError, match=r"s2\.nii\.gz: no such file"):
        dataset(items, cache="disk", cache_dir=tmp_path / "cache")


def test_a_label_on_another_grid_is_refused(items, save_image, tmp_path):
    save_image(tmp_path / "north/labels/s1.nii.gz", np.zeros((12, 10, 5), np.uint8))
    with pytest.raises(InputError, match=r"labels/s1\.nii\.gz: has \(12, 10, 5\) voxels"):
        dataset(items)


def test_a_size_that_the_strides_do_not_divide_is_refused(items):
    assert len(dataset(items, multiple=8)) == 12
    with pytest.raises(InputError, match=r"image_size: expected a multiple of 32 pixels.*found 16"):
        dataset(items, multiple=32)


def test_intervals_meet_in_the_middle_between_two_chosen_slices():
    assert height_intervals([0, 1, 2, 3], 4) == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]
    assert height_intervals([1, 5], 10) == [(0, 0.35), (0.35, 1)]
    assert height_intervals([3], 10) == [(0, 1)]
    assert all(math.isnan(height) for height in height_intervals([0], 1)[0])


@pytest.mark.parametrize("depth", range(2, 201))
def test_whatever_the_depth_every_learnt_position_is_trained(depth):
    """Heights drawn from the slices' intervals reach all positions, so that none that is drawn later is new."""
    lower, upper = torch.tensor(height_intervals(range(depth), depth), dtype=torch.float64).unbind(1)
    assert float(lower[0]) == 0 and float(upper[-1]) == 1 and torch.equal(lower[1:], upper[:-1])
    drawn = torch.lerp(lower[:, None], upper[:, None], torch.linspace(0, 1, 65, dtype=torch.float64))
    trained = place_of(drawn.flatten(), 16).amax(0)
    assert float(trained.min()) > 0.5


class Decode(Transform):
    """Stands for decoding: two tensors of a number, counted."""

    count = 0

    def __call__(self, item):
        Decode.count += 1
        return {"image": torch.full((2, 1, 3, 3), item["n"]), "label": torch.ones(2, dtype=torch.int16)}


@pytest.fixture
def decoded():
    Decode.count = 0
    return lambda: Decode.count


def test_a_damaged_volume_is_decoded_again_whatever_the_damage(tmp_path, decoded):
    volumes = VolumeCache([{"n": 1.5}, {"n": 2.5}], Compose([Decode()]), tmp_path / "cache")
    assert volumes[0]["image"].unique().tolist() == [1.5] and volumes[1]["image"].unique().tolist() == [2.5]
    assert volumes[0]["label"].dtype == torch.int16 and decoded() == 2
    file = min((tmp_path / "cache").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    whole = file.read_bytes()
    for number, damaged in enumerate((*flipped(whole, 60), whole[:100], b""), start=3):
        file.write_bytes(damaged)
        with pytest.warns(UserWarning, match=r"\.pt: expected a file of tensors .*; it is decoded again"):
            assert volumes[0]["image"].unique().tolist() == [1.5]
        assert decoded() == number
        assert file.read_bytes() == whole
