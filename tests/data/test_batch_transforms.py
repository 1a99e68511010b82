"""Each transform of a batch against MONAI's own, slice by slice, from the same random state."""

from __future__ import annotations

import pytest
import torch
from monai.data import set_track_meta
from monai.transforms import Compose, RandAffined, RandFlipd, RandGaussianNoised

from shared_components.data.augmentation import IN_BATCHES, SliceAugmentation
from shared_components.data.random_looks import (
    RandBiasd,
    RandBlurd,
    RandConvolutiond,
    RandExposured,
    RandRemapIntensityd,
)

BOTH = ("image", "label")
STEPS = {
    "affine": lambda: RandAffined(
        BOTH, prob=0.7, rotate_range=0.4, shear_range=(0.2, 0.2), scale_range=(0.2, 0.2),
        translate_range=(3, 3),
        mode=("bilinear", "nearest"), padding_mode="border", cache_grid=False,
    ),
    "flip rows": lambda: RandFlipd(BOTH, prob=0.5, spatial_axis=0),
    "flip columns": lambda: RandFlipd(BOTH, prob=0.5, spatial_axis=1),
    "remap": lambda: RandRemapIntensityd("image", prob=0.6),
    "exposure": lambda: RandExposured("image", prob=0.6),
    "convolution": lambda: RandConvolutiond("image", prob=0.6),
    "bias": lambda: RandBiasd("image", prob=0.5, degree=2, coeff_range=(0.0, 0.3)),
    "blur": lambda: RandBlurd("image", prob=0.6, sigma_x=(0.1, 2), sigma_y=(0.1, 2)),
}  # fmt: skip


def batch(count: int = 12, height: int = 24, width: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    image = torch.rand(count, 1, height, width, generator=random) * 2 - 1
    label = torch.randint(-1, 3, (count, 1, height, width), generator=random)
    return image, label


def by_slices(step, image, label):
    """MONAI's transform, one slice after the other."""
    set_track_meta(False)
    try:
        items = [step({"image": i, "label": one.float()}) for i, one in zip(image, label, strict=True)]
    finally:
        set_track_meta(True)
    return torch.stack([item["image"] for item in items]), torch.stack([item["label"] for item in items])


@pytest.mark.parametrize("name", STEPS)
def test_a_batch_gets_what_monai_gives_its_slices(name):
    image, label = batch()
    expected = by_slices(STEPS[name]().set_random_state(seed=5), image, label)
    step = STEPS[name]().set_random_state(seed=5)
    found = IN_BATCHES[type(step)](step, image, label)
    assert torch.allclose(found[0], expected[0].float(), atol=2e-5)
    assert (found[1] != expected[1].long()).float().mean() < 1e-3  # a label half way between two pixels
    assert found[1].dtype == label.dtype and found[0].dtype == image.dtype
    changed = (found[0] != image).flatten(1).any(1)
    assert 0 < int(changed.sum()) < len(image)


@pytest.mark.parametrize("looks", ["mild", "strong"])
def test_the_whole_augmentation_is_monais_compose(looks):
    augment = SliceAugmentation(looks=looks, noise=0.0, flip_axis=(0, 1), blur=(0.1, 2), convolution=0.5)
    image, label = batch()
    torch.manual_seed(1)
    found = augment(image, label)
    torch.manual_seed(1)
    steps: Compose = augment.transform.set_random_state(seed=int(torch.randint(2**31 - 1, ())))
    expected = by_slices(steps, image, label)
    assert torch.allclose(found[0], expected[0].float(), atol=1e-4)
    assert (found[1] != expected[1].long()).float().mean() < 1e-3


def test_noise_has_the_size_that_is_drawn():
    image, label = torch.zeros(400, 1, 16, 16), torch.zeros(400, 1, 16, 16)
    step = RandGaussianNoised("image", prob=0.5, std=0.4, sample_std=True).set_random_state(seed=0)
    found, same = IN_BATCHES[RandGaussianNoised](step, image, label)
    sizes = found.flatten(1).std(1)
    noisy = sizes[sizes > 0]
    assert torch.equal(same, label) and 150 < len(noisy) < 250
    assert float(noisy.mean()) == pytest.approx(0.2, abs=0.02) and float(noisy.max()) < 0.45
    assert abs(float(found.mean())) < 0.01
    fixed = RandGaussianNoised("image", prob=1.0, std=0.3, sample_std=False).set_random_state(seed=0)
    assert float(IN_BATCHES[RandGaussianNoised](fixed, image, label)[0].std()) == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("name", STEPS)
def test_no_value_of_the_device_is_read(name):
    """Tensors without values, of which none could be read."""
    image, label = (part.to("meta") for part in batch())
    step = STEPS[name]().set_random_state(seed=5)
    found = IN_BATCHES[type(step)](step, image, label)
    assert [part.shape for part in found] == [image.shape, label.shape]
    assert {part.device.type for part in found} == {"meta"}
