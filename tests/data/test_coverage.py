from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import ResizeWithPadOrCrop

from shared_components.data.coverage import (
    Frame,
    Reach,
    advice,
    coverage,
    foreground,
    image_reach,
    label_reach,
    proposal,
    together,
)
from shared_components.errors import InputError

RANDOM = np.random.default_rng(0)


def volume(
    shape=(60, 40, 10), box=((10, 50), (10, 30), (2, 8)), spacing=(1.0, 1.0, 4.0), air=0.0
) -> MetaTensor:
    """Noisy air of 0 to 50 around a box of 900 to 1100."""
    voxels = RANDOM.uniform(0, 50, shape).astype(np.float32)
    voxels[tuple(slice(*edge) for edge in box)] += 900
    if air != 0:
        voxels[voxels < 100] = air
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    return MetaTensor(voxels[None], affine=affine)


@pytest.mark.parametrize("size", [8, 20, 24, 39, 40, 41])
def test_share_outside_is_that_of_the_crop_that_training_takes(size):
    image = volume()
    inside = foreground(image.as_tensor()[0])
    kept = ResizeWithPadOrCrop((size, size, -1))(torch.from_numpy(inside)[None].float())
    expected = 1 - float(kept.sum()) / inside.sum()
    found = image_reach(image, Frame(size, None, None)).outside(size)
    assert found == pytest.approx(expected, abs=0.04)  # the middle of an odd crop lies half a pixel aside


def test_reach_counts_pixels_of_the_spacing_in_the_plane_of_the_orientation():
    image = volume()  # 40 × 20 × 24 mm along R, A and S, in the middle of each axis
    assert image_reach(image, Frame(1, 1.0)).needed(1) == 40
    assert image_reach(image, Frame(1, 2.0)).needed(1) == 21  # pixel centres 39 mm apart
    assert image_reach(image, Frame(1, (4.0, 1.0))).needed(1) == 20
    # sagittal: 20 × 24 mm, 20 between centres
    assert image_reach(image, Frame(1, 1.0, "ASR")).needed(1) == 21
    assert image_reach(image, Frame(1, None, "native")).needed(1) == 40


def test_what_is_labelled_is_measured_as_foreground_is():
    image = volume()
    label = MetaTensor(torch.from_numpy(foreground(image.as_tensor()[0]))[None].float(), affine=image.affine)
    for frame in (Frame(1, 1.0), Frame(1, 2.0), Frame(1, 1.0, "ASR"), Frame(1, None, "native")):
        assert label_reach(label, frame).needed(1) == image_reach(image, frame).needed(1)
    assert label_reach(0 * label, Frame(8, 1.0)).outside(8) == 0


@pytest.mark.parametrize("air", [-1000.0, float("nan")])
def test_air_of_other_values_is_no_foreground(air):
    image = volume(air=air)
    assert image_reach(image, Frame(1, 1.0)).needed(1) == 40


def test_large_volumes_are_sampled_with_the_same_result():
    image = volume((300, 200, 8), ((50, 250), (50, 150), (1, 7)))
    assert image_reach(image, Frame(1, 1.0)).needed() == pytest.approx(200, abs=6)


def test_foreground_is_found_by_hand():
    voxels = torch.tensor([0.0, 0.1, 0.2, 5.0, 5.1, 5.2]).reshape(1, 2, 3)
    assert foreground(voxels).tolist() == [[[False, False, False], [True, True, True]]]


def test_a_dim_body_around_bright_organs_is_foreground():
    """As in nuclear images: air, a body of a seventh of the organ's intensity, an organ."""
    generator = torch.Generator().manual_seed(0)
    values = torch.zeros(20, 20, 20)
    values[3:17, 3:17, 3:17] = 33
    body = values > 0
    values[8:12, 8:12, 8:12] = 150
    values += 1.3 * torch.randn(values.shape, generator=generator)
    assert torch.equal(torch.from_numpy(foreground(values)), body)


def test_foreground_of_large_values_and_of_one_value():
    assert foreground(torch.tensor([0.0, 0, 0, 3e29, 3e29, 3e29])).tolist() == [False] * 3 + [True] * 3
    assert foreground(torch.full((2, 2, 2), 7.0)).all()


def test_reaches_together_are_their_mean():
    both = together([Reach(np.array([0, 1.0])), Reach(np.array([0, 0, 0, 1.0]))])
    assert both.shares.tolist() == [0, 0.5, 0, 0.5]
    assert (both.outside(1), both.outside(2), both.outside(3)) == (0.5, 0.5, 0)
    assert (both.needed(0.5), both.needed()) == (1, 3)


def test_sentence_names_the_share_and_the_worst_image():
    reaches = {"a.nii": Reach(np.array([0, 0, 1.0])), "b.nii": Reach(np.array([0, 0, 0.6, 0, 0.4]))}
    assert coverage(reaches, Frame(2, 1.5)) == (
        "20 % of what is brighter than air lies outside image_size 2 px × spacing 1.5 mm = 3 mm (40 % in b.nii)"
    )
    assert coverage(reaches, Frame(4, (1.0, 2.0))) == (
        "image_size 4 px × spacing [1, 2] mm = 4 × 8 mm take in nearly all of what is brighter than air"
    )


def filled(pixels: int) -> list[Reach]:
    return [Reach(np.eye(1, pixels + 1, pixels)[0])]


@pytest.mark.parametrize(
    ("pixels", "frame", "expected"),
    [
        (40, Frame(48, 4.5), None),
        (60, Frame(48, 4.5), "spacing: 5.7, or image_size: 64 (slower)"),
        (60, Frame(48, None), "image_size: 64"),
        (60, Frame(48, (4.5, 2.0)), "spacing: [5.7, 2.5], or image_size: 64 (slower)"),
        (12, Frame(48, 4.0), "spacing: 1 (finer: the images need only 12 of the 48 px)"),
    ],
)
def test_values_that_would_do_better(pixels, frame, expected):
    assert proposal(filled(pixels), frame) == expected


def test_proposed_spacing_takes_the_image_in():
    image, small = volume(), Frame(16, 1.0)
    assert proposal([image_reach(image, small)], small) == "spacing: 2.5, or image_size: 48 (slower)"
    assert image_reach(image, Frame(16, 2.5)).outside(16) <= 0.05


def test_advice_without_a_federation_file():
    text = advice({"a.nii": filled(100)[0], "b.nii": filled(180)[0]})
    assert "up to 180 mm (b.nii)" in text
    assert "{image_size: 48, spacing: 3.8}" in text and "{image_size: 64, spacing: 2.9}" in text
    assert "overrides: {orientation: ASR, image_size: 48, " in advice({"a.nii": filled(100)[0]}, "ASR")
    assert "overrides: {orientation: native, image_size: 48, " in advice({"a.nii": filled(100)[0]}, None)


def test_nonsense_is_refused():
    with pytest.raises(InputError, match="spacing: expected one or two positive numbers"):
        image_reach(volume(), Frame(48, -1.0))


def test_a_sparse_image_is_looked_at_in_every_voxel():
    voxels = torch.zeros(1, 130, 130, 40)
    voxels[0, 61:63, 61:63] = 7  # between the voxels that are looked at first
    assert image_reach(MetaTensor(voxels, affine=torch.eye(4)), Frame(1, None)).needed(1) == 8  # centred
