from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.transforms import MapTransform, RandBiasFieldd, RandomizableTransform

from shared_components.data.random_looks import (
    RandBiasd,
    RandBlurd,
    RandConvolutiond,
    RandExposured,
    RandRemapIntensityd,
)

LOOKS = [RandRemapIntensityd, RandExposured, RandConvolutiond]


def slices(count: int = 6) -> torch.Tensor:
    """Two grey blocks in air, with texture."""
    random = torch.Generator().manual_seed(1)
    image = torch.full((count, 1, 24, 24), -1.0)
    image[:, :, 4:20, 4:12], image[:, :, 4:20, 12:20] = -0.2, 0.5
    texture = 0.05 * torch.randn(image.shape, generator=random)
    return torch.where(image > -1, image + texture, image)


def remapped(image: torch.Tensor, heights: torch.Tensor) -> torch.Tensor:
    return RandRemapIntensityd().applied(image[None], heights[None])[0]


@pytest.mark.parametrize("look", LOOKS)
def test_keeps_monais_contract_of_random_transforms(look):
    transform = look(("image", "other"), prob=0.5).set_random_state(seed=0)
    assert isinstance(transform, RandomizableTransform) and isinstance(transform, MapTransform)
    image = slices(1)[0]
    changed = 0
    for _ in range(40):
        found = transform({"image": image, "other": image, "label": image})
        assert torch.equal(found["image"], found["other"]) and found["label"] is image
        assert (found["image"] is not image) == transform._do_transform == (transform.drawn is not None)
        changed += transform._do_transform
    assert 10 < changed < 30
    one, two = (look().set_random_state(seed=4)({"image": image})["image"] for _ in range(2))
    assert torch.equal(one, two) and one.dtype == torch.float32
    with pytest.raises(KeyError):
        look("absent", prob=1.0)({"image": image})


def test_remap_is_linear_interpolation_between_nodes():
    heights = torch.tensor([0.5, -1.0, 1.0, 0.0])
    image = torch.linspace(-1, 1, 41)
    expected = np.interp(image.numpy(), np.linspace(-1, 1, 4), heights.numpy())
    np.testing.assert_allclose(remapped(image, heights).numpy(), expected, atol=1e-6)


def test_remap_by_its_own_nodes_is_the_identity_and_clamps():
    heights = torch.linspace(-1, 1, 6)
    image = torch.tensor([-5.0, -1.0, -0.3, 0.0, 0.9, 1.0, 5.0])
    torch.testing.assert_close(remapped(image, heights), image.clamp(-1, 1))


@pytest.mark.parametrize(("monotone", "expected"), [(1.0, {True}), (0.0, {False})])
def test_curves_are_monotone_as_often_as_asked(monotone, expected):
    transform = RandRemapIntensityd(nodes=8, monotone=monotone).set_random_state(seed=0)
    steps = [np.diff(transform.draw()) for _ in range(20)]
    assert {bool((s >= 0).all() or (s <= 0).all()) for s in steps} == expected
    if monotone:
        assert {bool((s >= 0).all()) for s in steps} == {True, False}  # rising and falling


def test_exposure_is_a_power_and_a_gain_above_air():
    image = torch.tensor([-1.0, -0.5, 0.0, 1.0]).reshape(1, 1, 1, 4)
    found = RandExposured().applied(image, torch.tensor([[2.0, 0.5]]))
    torch.testing.assert_close(found.flatten(), torch.tensor([-1.0, -0.9375, -0.75, 0.0]))
    same = RandExposured(gamma=1, gain=0).set_random_state(seed=0)({"image": image[0]})["image"]
    torch.testing.assert_close(same, image[0])


def test_exponents_are_as_often_above_1_as_below():
    transform = RandExposured(gamma=1.5, gain=0.2).set_random_state(seed=0)
    exponents, gains = np.array([transform.draw() for _ in range(2000)]).T
    assert 1 / 1.5 <= exponents.min() < 0.68 and 1.48 < exponents.max() <= 1.5
    assert abs(np.log(exponents).mean()) < 0.02 and gains.min() >= 0.8 and gains.max() <= 1.2


def convolved(image: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """What :class:`RandConvolutiond` makes of one image (H, W), pixel by pixel."""
    features, place = image[None] + 1, 0
    for number, (inner, outer) in enumerate(RandConvolutiond.LAYERS):
        kernel = drawn[place : place + outer * inner * 9].reshape(outer, inner, 3, 3)
        place += outer * inner * 9
        padded = np.pad(features, ((0, 0), (1, 1), (1, 1)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        features = np.einsum("ihwyx,oiyx->ohw", windows, kernel)
        if number < 3:
            features = features + drawn[108 + 2 * number : 110 + 2 * number, None, None]
            features = np.where(features > 0, features, 0.01 * features)
    return features[0]


def test_convolutions_are_those_of_the_formula():
    image = slices(1)
    drawn = RandConvolutiond().set_random_state(seed=2).draw()
    assert drawn.shape == (115,)
    found = RandConvolutiond().applied(image.double(), torch.tensor(drawn)[None])[0, 0]
    above = image[0, 0].double().numpy() + 1
    result = convolved(above - 1, drawn) - convolved(np.full((3, 3), -1.0), drawn)[1, 1]
    mixed = np.abs((1 - drawn[-1]) * above + drawn[-1] * result)
    expected = mixed * np.linalg.norm(above) / np.linalg.norm(mixed) - 1
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_convolutions_keep_air_and_norm_and_change_the_order_of_tissues():
    transform = RandConvolutiond().set_random_state(seed=0)
    image = F.pad(slices(1), [3] * 4, value=-1.0)
    inverted = 0
    for _ in range(100):
        found = transform({"image": image[0]})["image"]
        assert torch.allclose(found[:, :, :3], torch.tensor(-1.0), atol=1e-4) and float(found.min()) >= -1
        assert float((found + 1).norm()) == pytest.approx(float((image + 1).norm()), rel=1e-4)
        inverted += float(found[0, 9:21, 9:13].mean()) > float(found[0, 9:21, 17:21].mean())
    assert 5 < inverted < 60


def test_convolutions_of_air_alone_are_air():
    air = torch.full((1, 1, 8, 8), -1.0)
    drawn = torch.as_tensor(RandConvolutiond().set_random_state(seed=0).draw(), dtype=torch.float32)
    assert torch.equal(RandConvolutiond().applied(air, drawn[None]), air)


@pytest.mark.parametrize(
    "transform",
    [
        RandBlurd("image", prob=1.0, sigma_x=(1, 1), sigma_y=(1, 1)),
        RandBiasd("image", prob=1.0, degree=2, coeff_range=(0.3, 0.3)),
    ],
)
def test_blur_and_bias_field_leave_air_as_it_is(transform):
    found = transform({"image": slices(1)[0]})["image"]
    frame = torch.ones(24, 24, dtype=torch.bool)
    frame[1:-1, 1:-1] = False
    assert torch.allclose(found[0][frame], torch.tensor(-1.0), atol=1e-3)
    assert (found - slices(1)[0]).abs().max() > 0.1 and float(found.min()) >= -1


def test_the_bias_field_brightens_dark_tissue_where_it_brightens_bright():
    """Monai's own darkens what is below 0 there."""
    image = slices(1)[0]
    ours, monais = (
        kind("image", prob=1.0, degree=2, coeff_range=(0.1, 0.1))({"image": image})["image"]
        for kind in (RandBiasd, RandBiasFieldd)
    )
    dark = slice(6, 18), slice(6, 10)
    assert float((ours - image)[0][dark].min()) > 0 and float((monais - image)[0][dark].mean()) < 0
