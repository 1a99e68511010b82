from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter

from shared_components.data import phantoms
from shared_components.data.contrast import FLOOR, with_contrast
from shared_components.data.random_looks import RandRemapIntensityd
from shared_components.data.volumes import volume_transforms


def cords(levels: tuple[float, float, float] = (-0.4, 0.1, 0.3), count: int = 1):
    """Grey matter (2) in white matter (1) in what surrounds them (0), air far away; levels of the three."""
    random = torch.Generator().manual_seed(0)
    label = torch.zeros(count, 1, 32, 32, dtype=torch.int64)
    label[:, :, 8:24, 8:24], label[:, :, 13:19, 12:20] = 1, 2
    image = torch.full(label.shape, -1.0)
    image[:, :, 3:29, 3:29] = levels[0]
    for number in (1, 2):
        image[label == number] = levels[number]
    return image + 0.02 * torch.randn(image.shape, generator=random), label


def contrast(image: torch.Tensor, label: torch.Tensor, one: int, two: int) -> float:
    near = maximum_filter((label > 0).numpy(), size=7)
    image, label = image.numpy(), label.numpy()
    found = [image[(label == number) & near] for number in (one, two)]
    pooled = (found[0].var() + found[1].var()) / 2 + FLOOR**2
    return abs(found[0].mean() - found[1].mean()) / np.sqrt(pooled)


PAIRS = ((0, 1), (0, 2), (1, 2))


def test_a_look_that_keeps_the_contrast_stays_as_it_is():
    image, label = cords()
    inverted = -image
    assert torch.equal(with_contrast(image, inverted, label, 0.9, 3), inverted)
    assert torch.equal(with_contrast(image, image, label, 1.0, 3), image)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_look_that_makes_two_classes_alike_is_mixed_back_as_little_as_keeps_them_apart(share):
    image, label = cords()
    alike = cords((-0.4, 0.2, 0.2))[0]
    found = with_contrast(image, alike, label, share, 3)
    before, after = ([contrast(one[0, 0], label[0, 0], *pair) for pair in PAIRS] for one in (image, found))
    assert all(b <= a * (1 + 1e-4) for a, b in zip(after, [share * b for b in before], strict=True))
    mixed = ((found - alike) / (image - alike))[label == 2].median()
    assert float(mixed * 16) == pytest.approx(round(float(mixed * 16)), abs=1e-3)
    less = torch.lerp(alike, image, mixed - 1 / 16)
    assert contrast(less[0, 0], label[0, 0], 1, 2) < share * before[2]


def test_noise_takes_contrast_too():
    image, label = cords()
    noisy = image + torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    found = with_contrast(image, noisy, label, 0.5, 3)
    assert (found - image).std() < 0.3 < (noisy - image).std()
    assert contrast(found[0, 0], label[0, 0], 1, 2) >= 0.5 * contrast(image[0, 0], label[0, 0], 1, 2) * (
        1 - 1e-4
    )


def test_each_slice_for_itself_and_unknown_or_single_classes_ask_for_nothing():
    image, label = cords(count=4)
    flat = torch.zeros_like(image)
    label[1] = -1  # nobody annotated it
    label[2] = 0
    label[3] = torch.where(label[3] == 2, -1, label[3])
    found = with_contrast(image, flat, label, 0.5, 3)
    assert torch.equal(found[1], flat[1]) and torch.equal(found[2], flat[2])
    assert not torch.equal(found[0], flat[0]) and not torch.equal(found[3], flat[3])
    alike = cords((-0.4, 0.2, 0.2), count=4)[0]
    kept = with_contrast(image, alike, label, 0.3, 3)
    assert torch.equal(kept[3], alike[3]) and not torch.equal(kept[0], alike[0])


def test_far_background_forbids_nothing():
    """Air as bright as the cord is a look like any other, as long as what lies around the cord differs from it."""
    image, label = cords()
    bright = torch.where(image < -0.8, 0.2, image)
    assert torch.equal(with_contrast(image, bright, label, 0.9, 3), bright)


def test_no_value_of_the_device_is_read():
    image, label = (part.to("meta") for part in cords(count=3))
    assert with_contrast(image, image, label, 0.5, 3).shape == image.shape


@pytest.fixture(scope="module")
def head() -> tuple[torch.Tensor, torch.Tensor]:
    """Slices of the shipped head, its brain as class 1."""
    folder = Path(phantoms.__file__).parent / "colin27"
    item = {"image": folder / "head_2mm.nii.gz", "label": folder / "brain_mask_2mm.nii.gz"}
    volume = volume_transforms(("image", "label"), 48, 4.5, "RAS", (0.5, 99.5))(item)
    chosen = [part[0, :, :, 24:64:2].permute(2, 0, 1)[:, None] for part in (volume["image"], volume["label"])]
    return chosen[0].as_tensor(), chosen[1].as_tensor().long()


def test_inverted_heads_pass_and_most_random_curves(head):
    image, label = head
    inverted = torch.where(image > -0.9, -0.8 - image, image)  # air stays dark
    assert torch.equal(with_contrast(image, -image, label, 0.9, 2), -image)
    assert torch.equal(with_contrast(image, inverted, label, 0.5, 2), inverted)
    curve = RandRemapIntensityd(prob=1.0).set_random_state(seed=0)
    looks = torch.cat(
        [curve.applied(image, torch.tensor(curve.draw())[None].repeat(20, 1)) for _ in range(20)]
    )
    before, classes = image.repeat(20, 1, 1, 1), label.repeat(20, 1, 1, 1)
    found = with_contrast(before, looks, classes, 0.5, 2)
    share = (found - looks).flatten(1).norm(dim=1) / (before - looks).flatten(1).norm(
        dim=1
    )  # that was mixed back
    assert 0.55 < float((share < 1e-4).float().mean()) < 0.95 and float(share.mean()) < 0.25
