from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import distributed

from shared_components.errors import InputError
from shared_components.networks.discriminator_augmentation import (
    EXACT,
    INTENSITIES,
    TRANSFORMS,
    DiscriminatorAugmentation,
    brightness,
    contrast,
    move,
    noise,
    random_affine,
    resampled,
    shift,
)


def augmentation(p: float = 0.0, **settings) -> DiscriminatorAugmentation:
    made = DiscriminatorAugmentation(**{"target": 0.6, "images": 500_000} | settings)
    made.p.fill_(p)
    return made


def images(batch: int = 6) -> torch.Tensor:
    return torch.rand(batch, 1, 12, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_at_0_it_is_the_identity_bit_for_bit():
    shown = augmentation()(images())
    assert torch.equal(shown.view(torch.int32), images().view(torch.int32))
    assert not torch.equal(augmentation(0.8)(images()), images())


@pytest.mark.parametrize("settings", [{"target": None}, {"transforms": []}])
def test_switched_off_it_draws_nothing_and_changes_nothing(settings):
    off, given = augmentation(0.8, **settings), images()
    before = torch.get_rng_state()
    assert off(given) is given and not off.active
    off.observe(torch.ones(4, 1), 4)
    assert torch.equal(torch.get_rng_state(), before) and float(off.p) == pytest.approx(0.8)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transformation_is_chosen_by_its_name_and_passes_gradients(name):
    torch.manual_seed(1)
    given = images(32).requires_grad_(True)
    shown = augmentation(0.8, transforms=[name])(given)
    assert shown.shape == given.shape and not torch.equal(shown, given)
    shown.square().sum().backward()
    assert bool((given.grad.flatten(1).abs().sum(1) > 0).all()) and bool(given.grad.isfinite().all())


def test_without_flips_and_turns_left_stays_left():
    given = torch.linspace(-1, 1, 16).expand(64, 1, 16, 16).contiguous()
    shown = augmentation(0.8, transforms=["shift", "scale", "translation", "brightness", "contrast"])(given)
    halves = shown[..., 8:].mean((1, 2, 3)) - shown[..., :8].mean((1, 2, 3))
    assert float(halves.min()) > 0


def test_p_follows_the_overfitting_at_the_configured_pace_between_0_and_the_limit():
    made = augmentation(images=160, every=2)
    knows, guesses = torch.ones(8, 1), torch.tensor([[1.0], [-1.0]] * 4)
    seen = []
    for update in range(1, 21):
        made.observe(knows if update <= 18 else guesses, update)
        seen.append(float(made.p))
    assert seen[:4] == pytest.approx([0.0, 0.1, 0.1, 0.2])  # 16 of 160 images every second update
    assert seen[15:18] == pytest.approx([0.8] * 3) and seen[19] == pytest.approx(0.7)
    falling = augmentation(0.05, images=160, every=1)
    for update in range(1, 3):
        falling.observe(guesses, update)
    assert float(falling.p) == 0 and float(falling.seen) == 0


def test_p_follows_the_images_of_all_processes(monkeypatch):
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    other = torch.tensor([-8.0, 8.0])  # the other process's eight images are all taken for drawn ones
    monkeypatch.setattr(distributed, "all_reduce", lambda sums: sums.add_(other))
    made = augmentation(0.5, target=0.4, images=160, every=1)
    made.observe(torch.ones(8, 1), 1)  # this one's for real ones: of all together as many as not
    assert float(made.p) == pytest.approx(0.5 - 16 / 160)
    assert (float(made.signs), float(made.seen)) == (0.0, 0.0)


def test_at_the_target_p_stays():
    made = augmentation(0.3, target=0.5, every=1)
    made.observe(torch.tensor([[1.0], [1.0], [1.0], [-1.0]]), 1)
    assert float(made.p) == pytest.approx(0.3)


def test_its_state_is_p_and_what_was_seen_since():
    made = augmentation(0.2)
    made.observe(torch.ones(4, 1), 1)
    other = augmentation()
    other.load_state_dict(made.state_dict())
    assert (float(other.p), float(other.signs), float(other.seen)) == (pytest.approx(0.2), 4.0, 4.0)


@pytest.mark.parametrize("names", [["flip", "cutout"], ["flip", "flip"]])
def test_unknown_and_repeated_names_are_refused(names):
    with pytest.raises(
        InputError, match=r"transforms: expected names among flip, turn, .*no two alike, found"
    ):
        DiscriminatorAugmentation(names, target=0.6, images=500_000)


SINGLE = EXACT | INTENSITIES
ALWAYS, NEVER = torch.tensor(1.0), torch.tensor(0.0)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def picture(batch: int = 4, size: int = 24) -> torch.Tensor:
    """Smooth slices without symmetry."""
    x = torch.linspace(-1, 1, size)
    waves = torch.stack([torch.sin(3 * x[:, None] + n + 2 * x[None] * (n + 1)) for n in range(batch)])
    return (0.5 * waves + 0.3 * x[None, :, None])[:, None]


def of_single_pixels(size: int = 5, batch: int = 256) -> torch.Tensor:
    return torch.arange(size**2, dtype=torch.float32).reshape(1, 1, size, size).repeat(batch, 1, 1, 1)


@pytest.mark.parametrize("name", SINGLE)
def test_nothing_changes_a_bit_at_probability_0(name):
    images = picture()
    assert torch.equal(SINGLE[name](images, NEVER), images)
    assert torch.equal(move(images, NEVER), images)


@pytest.mark.parametrize(("name", "ways"), [("flip", 4), ("turn", 4)])
def test_flips_and_turns_come_in_all_ways_alike_and_move_pixels_as_they_are(name, ways):
    images = of_single_pixels()
    changed = SINGLE[name](images, ALWAYS)
    assert torch.equal(changed.flatten(1).sort().values, images.flatten(1))
    found, counts = torch.unique(changed.flatten(1), dim=0, return_counts=True)
    assert len(found) == ways and counts.min() > 256 / ways / 2
    image = images[0, 0].numpy()
    known = {np.rot90(image, n).tobytes() for n in range(4)} if name == "turn" else {
        one.tobytes() for one in (image, image[::-1], image[:, ::-1], image[::-1, ::-1])
    }  # fmt: skip
    assert {one.numpy().tobytes() for one in changed[:, 0]} == known


def test_shifts_are_whole_pixels_up_to_an_eighth_mirrored_at_the_border():
    image = torch.rand(1, 1, 16, 16)
    padded = np.pad(image[0, 0].numpy(), 2, mode="symmetric")
    known = {(y, x): padded[y : y + 16, x : x + 16].copy() for y in range(5) for x in range(5)}
    shifted = shift(image.repeat(400, 1, 1, 1), ALWAYS)
    found = {next(k for k, v in known.items() if np.array_equal(v, one)) for one in shifted[:, 0].numpy()}
    assert len(found) == 25


def test_of_a_half_probability_half_the_samples_are_changed():
    images = picture(1).repeat(400, 1, 1, 1)
    for change in (brightness, contrast, noise, move):
        changed = (change(images, torch.tensor(0.5)) != images).flatten(1).any(1).float().mean()
        expected = 1 - 0.5**4 if change is move else 0.5  # of four, at least one
        assert float(changed) == pytest.approx(expected, abs=0.08), change


@pytest.mark.parametrize("p", [0.3, 0.8])
def test_a_sample_is_turned_with_probability_p(p):
    matrix, offset, chosen = random_affine(torch.tensor(p), 4000, ["rotation"])
    turned = (matrix - torch.eye(2)).abs().amax((1, 2)) > 0
    assert torch.equal(turned, chosen) and float(chosen.float().mean()) == pytest.approx(p, abs=0.03)
    assert torch.allclose(matrix @ matrix.transpose(1, 2), torch.eye(2).expand(4000, 2, 2), atol=1e-5)
    assert float(offset.abs().max()) == 0


def test_distributions_are_those_of_the_publication():
    matrix, _, _ = random_affine(ALWAYS, 8000, ["scale"])
    assert float(matrix[:, 0, 0].log2().std()) == pytest.approx(0.2, abs=0.01)
    assert float(matrix[:, 0, 0].log2().mean()) == pytest.approx(0.0, abs=0.01)
    matrix, _, _ = random_affine(ALWAYS, 8000, ["anisotropy"])
    assert torch.allclose(torch.linalg.det(matrix), torch.ones(8000), atol=1e-5)
    assert float(matrix[:, 0, 0].log2().std()) == pytest.approx(0.2, abs=0.01)
    _, offset, _ = random_affine(ALWAYS, 8000, ["translation"])
    assert float(offset.std()) == pytest.approx(2 * 0.125, abs=0.01)  # of the size, in half sizes
    black = torch.zeros(8000, 1, 1, 1)
    assert float(brightness(black, ALWAYS).std()) == pytest.approx(0.2, abs=0.01)
    grey = contrast(black + 1, ALWAYS).log2()
    assert float(grey.std()) == pytest.approx(0.5, abs=0.02)
    noisy = noise(torch.zeros(4000, 1, 4, 4), ALWAYS)
    assert float(noisy.square().mean().sqrt()) == pytest.approx(0.1, abs=0.005)


def resampled_by(images, matrix, offset=(0.0, 0.0)):
    matrices = torch.tensor(matrix).expand(len(images), 2, 2)
    return resampled(images, matrices, torch.tensor(offset).expand(len(images), 2))


def test_resampling_shows_what_an_exact_movement_shows():
    images = picture(size=32)
    inside = (..., slice(4, -4), slice(4, -4))
    same = resampled_by(images, [[1.0, 0.0], [0.0, 1.0]])
    assert torch.allclose(same[inside], images[inside], atol=5e-3)
    turned = resampled_by(images, [[0.0, -1.0], [1.0, 0.0]])  # x and y of a quarter's turn
    assert torch.allclose(turned[inside], images.rot90(1, (2, 3))[inside], atol=5e-3)
    moved = resampled_by(images, [[1.0, 0.0], [0.0, 1.0]], (2 * 3 / 32, 0.0))
    assert torch.allclose(moved[..., 4:-4, 4:-8], images[..., 4:-4, 7:-5], atol=5e-3)


def test_resampling_keeps_a_constant_and_mirrors_at_the_border():
    grey = torch.full((2, 1, 16, 16), 0.37)
    angle = [[math.cos(0.4), -math.sin(0.4)], [math.sin(0.4), math.cos(0.4)]]
    assert torch.allclose(resampled_by(grey, angle, (0.9, -0.7)), grey, atol=1e-5)
    image = picture(1, 32)
    # a whole image further: its mirror image
    whole = resampled_by(image, [[1.0, 0.0], [0.0, 1.0]], (2.0, 0.0))
    assert torch.allclose(whole[..., 4:-4, 4:-4], image.flip(3)[..., 4:-4, 4:-4], atol=5e-3)


def test_shrinking_to_a_half_does_not_alias():
    x = torch.arange(64) + 0.5
    # 0.4 cycles a pixel: 0.8 when shrunk to a half
    stripes = torch.sin(x * math.pi * 0.8).expand(1, 1, 64, 64)
    shrunk = resampled_by(stripes, [[2.0, 0.0], [0.0, 2.0]])
    assert float(shrunk[..., 20:44, 20:44].abs().max()) < 0.1
    assert float(stripes[..., ::2].abs().max()) > 0.9  # which plain sampling would show


@pytest.mark.parametrize("name", [*SINGLE, "move"])
def test_gradients_are_those_of_finite_differences(name):
    change = SINGLE.get(name, move)
    images = picture(2, 8).double().requires_grad_(True)

    def again(x):
        torch.manual_seed(3)
        return change(x, torch.tensor(0.9, dtype=torch.float64))

    assert torch.autograd.gradcheck(again, (images,))
