from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from shared_components.errors import InputError
from shared_components.inferers.synthesis import LatentDataset, WriteSyntheticd, slice_affine, write_volume


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "ASL"])
def test_axes_steps_and_centre_of_the_affine(orientation):
    affine = slice_affine(2.0, 5.0, orientation, (10, 8, 6))
    assert nib.aff2axcodes(affine) == tuple(orientation)
    np.testing.assert_allclose(nib.affines.voxel_sizes(affine), (2.0, 2.0, 5.0))
    np.testing.assert_allclose(nib.affines.apply_affine(affine, (4.5, 3.5, 2.5)), 0, atol=1e-12)


@pytest.mark.parametrize("orientation", [None, "native"])
def test_what_is_not_known_counts_as_1_mm_and_ras(orientation):
    found = slice_affine(None, 3.0, orientation, (4, 4, 2))
    np.testing.assert_array_equal(found, slice_affine(1.0, 3.0, "RAS", (4, 4, 2)))


def test_volumes_are_written_in_mm(tmp_path):
    affine = slice_affine(2.0, 5.0, "LPS", (3, 4, 5))
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    image = nib.load(write_volume(tmp_path / "new" / "v.nii.gz", array, affine))
    np.testing.assert_array_equal(image.get_fdata(), array)
    np.testing.assert_allclose(image.affine, affine)
    assert image.header.get_xyzt_units()[0] == "mm" and image.get_data_dtype() == np.float32


def test_same_volume_same_bytes(tmp_path):
    array = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    files = [write_volume(tmp_path / name / "v.nii.gz", array, np.eye(4)) for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_latents_depend_on_seed_and_number_alone():
    whole, part = LatentDataset("t1", 4, z_dim=6), LatentDataset("t2", 2, z_dim=6, first=2)
    assert (len(whole), len(part)) == (4, 2)
    assert torch.equal(whole[3]["image"], part[1]["image"])
    assert (whole[3]["case"], part[1]["case"]) == ("t1_0003", "t2_0003")
    others = [LatentDataset("t1", 4, z_dim=6, seed=1)[3]["image"], whole[2]["image"]]
    assert not any(torch.equal(whole[3]["image"], other) for other in others)


def test_latents_are_standard_normal_and_draw_nothing_from_outside():
    state = torch.get_rng_state()
    latents = torch.stack([LatentDataset("t1", 50, z_dim=100)[n]["image"] for n in range(50)])
    assert torch.equal(state, torch.get_rng_state())
    assert abs(latents.mean()) < 0.05 and abs(latents.std() - 1) < 0.05


@pytest.mark.parametrize(("volumes", "first"), [(0, 0), (2, -1)])
def test_numbers_that_make_no_sense_are_refused(volumes, first):
    with pytest.raises(InputError, match="volumes: expected at least 1, from 0 on"):
        LatentDataset("t1", volumes, z_dim=2, first=first)


def test_writer_names_the_file_after_the_case(tmp_path):
    pred = torch.rand(1, 4, 4, 3) * 2 - 1
    data = WriteSyntheticd(tmp_path, 2.0, 5.0, "RAS")({"pred": pred, "case": "t2_0007"})
    image = nib.load(tmp_path / "t2_0007_synthetic.nii.gz")
    assert data["path"] == str(tmp_path / "t2_0007_synthetic.nii.gz")
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), pred[0].numpy())
