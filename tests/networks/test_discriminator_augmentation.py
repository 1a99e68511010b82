from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.networks.discriminator_augmentation import TRANSFORMS, DiscriminatorAugmentation


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
