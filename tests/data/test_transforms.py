from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from shared_components.data.faults import UnfitFile
from shared_components.data.image_loader import LoadVolume
from shared_components.data.transforms import (
    SameGridd,
    SlicesAcrossd,
    as_volume,
)
from shared_components.data.volume_check import load_volume
from shared_components.errors import InputError
from shared_components.inferers import KeepLargestd, keep_largest


def meta(values: torch.Tensor, affine=None, name="s01.nii.gz") -> MetaTensor:
    return MetaTensor(
        values, affine=torch.eye(4) if affine is None else affine, meta={"filename_or_obj": name}
    )


def test_several_channels_are_refused_with_a_command():
    with pytest.raises(
        InputError,
        match=r"4-D: 7 volumes .* of 4×4×2 voxels.*; save each .*prepare_data.py split s01\.nii\.gz\)$",
    ):
        as_volume(meta(torch.ones(7, 4, 4, 2)))


def test_a_picture_with_colours_is_refused_in_the_words_of_the_check(tmp_path):
    file = tmp_path / "a.png"
    Image.new("RGB", (9, 9), "red").save(file)
    _, (fault,) = load_volume(file)
    assert fault.cure == "save it as 8- or 16-bit grey scale"
    with pytest.raises(UnfitFile) as raised:
        as_volume(LoadVolume()(file))
    assert raised.value.fault == fault


def test_a_label_takes_its_images_exact_affine():
    near = torch.eye(4, dtype=torch.float64)
    near[0, 3] = 1e-4
    data = {"image": meta(torch.ones(1, 4, 4, 2)), "label": meta(torch.ones(1, 4, 4, 2), near)}
    assert torch.equal(SameGridd(("image", "label"))(data)["label"].affine, data["image"].affine)


def test_a_label_elsewhere_or_of_another_shape_is_refused():
    far = torch.eye(4)
    far[2, 3] = 5
    image = meta(torch.ones(1, 4, 4, 2))
    with pytest.raises(InputError, match=r"l\.nii: lies elsewhere in space than its image s01\.nii\.gz"):
        SameGridd(("image", "label"))({"image": image, "label": meta(torch.ones(1, 4, 4, 2), far, "l.nii")})
    with pytest.raises(InputError, match=r"l\.nii: has \(4, 4, 3\) voxels"):
        SameGridd(("image", "label"))({"image": image, "label": meta(torch.ones(1, 4, 4, 3), None, "l.nii")})


def test_slices_of_one_line_are_refused():
    with pytest.raises(InputError, match="slices would be 1×4 voxels; set `orientation`"):
        SlicesAcrossd(("image",))({"image": meta(torch.ones(1, 1, 4, 6))})


def test_only_the_largest_part_of_the_named_labels_is_kept():
    labels = np.zeros((8, 8, 3), np.uint8)
    labels[0:3, 0:3] = 1
    labels[6, 6] = 1
    labels[3, 3, 2] = 1  # touches the large part by a corner
    labels[0, 6] = labels[7, 0] = 2
    kept = keep_largest(labels, [1, 5])
    assert kept[6, 6].max() == 0
    assert kept[3, 3, 2] == 1
    assert (kept == 1).sum() == 28
    assert (kept == 2).sum() == (labels == 2).sum()
    assert labels[6, 6].min() == 1
    transformed = KeepLargestd("pred", [1])({"pred": torch.from_numpy(labels)[None].float()})["pred"]
    assert np.array_equal(transformed[0].numpy(), kept)


def test_labels_that_are_one_organ_keep_their_largest_part_together():
    labels = np.zeros((8, 8, 1), np.uint8)
    labels[1, 1:5] = 1
    labels[2, 1:3] = 2  # touches the above
    labels[6, 1:4] = 2  # larger than the part of 2 above, but of no large organ
    labels[7, 7] = 3
    together = keep_largest(labels, [[1, 2]])
    assert (together[1:3] == labels[1:3]).all()
    assert together[6].max() == 0
    assert together[7, 7] == 3
    assert keep_largest(labels, [2])[2].max() == 0
    assert np.array_equal(keep_largest(together, [[1, 2]]), together)
