from __future__ import annotations

import os
import time

import numpy as np
import pytest
import torch

from shared_components.data.datalists import datalist
from shared_components.data.slices import SliceDataset, ToSlices
from shared_components.errors import InputError

DOMAINS = ("t1", "t2", "pet")


@pytest.fixture
def items(data_root):
    return datalist(data_root[0], "training")


def dataset(items, **changed):
    settings = {"domains": DOMAINS, "size": 16, "spacing": 2.0, "positions": 4} | changed
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
        "position": (torch.int64, ()),
    }
    assert first["domain"] == 1
    images = torch.stack([slices[i]["image"] for i in range(len(slices))])
    assert images.min() == -1
    assert images.max() == 1


def test_labels_go_with_their_slices_and_are_zero_when_absent(items):
    slices = dataset(items)
    assert slices.labelled == list(range(6))
    assert slices.unlabelled == list(range(6, 12))
    assert [int(slices[i]["label"].sum()) for i in range(12)] == [0, 25, 25, 25, 0, 0] + [0] * 6
    assert [bool(slices[i]["labelled"]) for i in (0, 5, 6)] == [True, True, False]
    assert slices.subjects == ["s1", "s2"]


def test_positions_are_bins_of_the_relative_height(items):
    slices = dataset(items)
    assert [int(slices[i]["position"]) for i in range(6)] == [0, 0, 1, 2, 2, 3]  # floor(4 i / 6)


def test_a_subset_of_slices_is_evenly_spaced_and_keeps_its_positions(items):
    slices = dataset(items, slices_per_volume=3)
    assert [where.slice for where in slices.index] == [1, 3, 5] * 2
    assert [int(slices[i]["position"]) for i in range(3)] == [0, 2, 3]
    assert len(dataset(items, slices_per_volume=99)) == 12


def test_empty_slices_can_be_left_out(tmp_path, save_image):
    half = np.zeros((12, 10, 6), np.float32)
    half[2:9, 2:9, 3:] = np.random.default_rng(0).uniform(50, 100, (7, 7, 3))
    path = save_image(tmp_path / "half.nii.gz", half)
    item = {"image": str(path), "domain": "t1", "subject": "half"}
    slices = dataset([item], min_foreground=0.05)
    assert [where.slice for where in slices.index] == [3, 4, 5]
    assert [int(slices[i]["position"]) for i in range(3)] == [2, 2, 3]
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
        os.remove(item["image"])
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
    assert entries()[1] == 2
    assert entries(size=20)[1] == 4
    new = np.random.default_rng(9).normal(100, 20, (12, 10, 6)).astype(np.float32)
    path = save_image(tmp_path / "north/images/s1.nii.gz", new)
    os.utime(path, (1, 1))
    after, count = entries()
    assert count == 5
    assert not torch.equal(before[0]["image"], after[0]["image"])


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
        ({"positions": 0}, "positions: expected at least 1"),
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
    os.remove(items[1]["image"])
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
