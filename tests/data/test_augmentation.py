from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_components.data.augmentation import (
    AugmentedBatch,
    RandRemapIntensityd,
    SliceAugmentation,
    remap_intensity,
)
from shared_components.errors import InputError


def batch(count: int = 4, size: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """Slices with an off-centre bright block, and its label."""
    image = torch.full((count, 1, size, size), -1.0)
    label = torch.zeros(count, 1, size, size, dtype=torch.int64)
    image[:, :, 5:15, 8:20], label[:, :, 5:15, 8:20] = 0.5, 1
    return image, label


def test_remap_is_linear_interpolation_between_nodes():
    heights = torch.tensor([0.5, -1.0, 1.0, 0.0])
    image = torch.linspace(-1, 1, 41)
    expected = np.interp(image.numpy(), np.linspace(-1, 1, 4), heights.numpy())
    np.testing.assert_allclose(remap_intensity(image, heights).numpy(), expected, atol=1e-6)


def test_remap_by_its_own_nodes_is_the_identity_and_clamps():
    heights = torch.linspace(-1, 1, 6)
    image = torch.tensor([-5.0, -1.0, -0.3, 0.0, 0.9, 1.0, 5.0])
    torch.testing.assert_close(remap_intensity(image, heights), image.clamp(-1, 1))


@pytest.mark.parametrize(("monotone", "expected"), [(1.0, {True}), (0.0, {False})])
def test_curves_are_monotone_as_often_as_asked(monotone, expected):
    transform = RandRemapIntensityd(prob=1.0, nodes=8, monotone=monotone).set_random_state(seed=0)
    steps = [torch.diff(transform.randomize()) for _ in range(20)]
    assert {bool((s >= 0).all() or (s <= 0).all()) for s in steps} == expected
    if monotone:
        assert {bool((s >= 0).all()) for s in steps} == {True, False}  # rising and falling


def test_remap_with_probability_0_leaves_the_image():
    data = {"image": torch.rand(1, 4, 4)}
    assert RandRemapIntensityd(prob=0.0)(data)["image"] is data["image"]


def test_same_random_state_same_augmentation_and_another_otherwise():
    augment = SliceAugmentation()
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augment(*batch()))
    assert all(torch.equal(a, b) for a, b in zip(results[0], results[1], strict=True))
    assert not torch.equal(results[0][0], results[2][0])


def test_draws_one_number_of_torchs_random_state_whatever_the_batch():
    states = []
    for count in (1, 4):
        torch.manual_seed(0)
        SliceAugmentation()(*batch(count))
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_shapes_types_and_label_values_stay():
    image, label = SliceAugmentation()(*batch())
    assert image.shape == label.shape == (4, 1, 24, 24)
    assert image.dtype == torch.float32 and label.dtype == torch.int64
    assert type(image) is torch.Tensor and set(label.unique().tolist()) <= {0, 1}
    assert not torch.equal(image[0], image[1])


def test_geometry_moves_image_and_label_together():
    augment = SliceAugmentation(looks=False)
    torch.manual_seed(0)
    image, label = augment(*batch(16))
    assert not torch.equal(label, batch(16)[1])
    found = (image > -0.25).long()  # half way between the block and what surrounds it
    overlap = 2 * (found * label).sum() / (found.sum() + label.sum())
    assert overlap > 0.95


def test_looks_leave_labels_alone():
    image, label = SliceAugmentation(geometry=False)(*batch())
    assert torch.equal(label, batch()[1]) and not torch.equal(image, batch()[0])


def test_nothing_switched_on_is_the_identity():
    image, label = batch()
    assert SliceAugmentation(geometry=False, looks=False)(image, label) == (image, label)


def test_no_flip_without_an_axis():
    """A flip alone of the geometry would show; with every other size 0, the block stays where it is."""
    still = {"looks": False, "rotation": 0.0, "scale": 0.0}
    names = {
        axis: [
            type(step).__name__ for step in SliceAugmentation(flip_axis=axis, **still).transform.transforms
        ]
        for axis in (0, None)
    }
    assert names == {0: ["RandAffined", "RandFlipd"], None: ["RandAffined"]}


PUBLISHED = {
    "looks": False,
    "scale": 0,
    "shear": 0,
    "translation": 0,
    "flip_axis": (0, 1),
    "blur": (0.1, 2),
}


def test_the_published_augmentation_rotates_flips_and_blurs():
    steps = SliceAugmentation(**PUBLISHED).transform.transforms
    assert [type(step).__name__ for step in steps] == [
        "RandAffined",
        "RandFlipd",
        "RandFlipd",
        "RandBlurd",
    ]


def test_both_axes_flip_each_on_its_own():
    torch.manual_seed(0)
    label = SliceAugmentation(**PUBLISHED | {"rotation": 0, "blur": None})(*batch(40))[1]
    before = batch(1)[1][0]
    kinds = {axes: before.flip(axes) for axes in ((), (1,), (2,), (1, 2))}
    found = [next(axes for axes, kind in kinds.items() if torch.equal(one, kind)) for one in label]
    assert set(found) == set(kinds)


def test_a_rotation_keeps_the_area_and_a_blur_the_mean():
    torch.manual_seed(0)
    image, label = SliceAugmentation(**PUBLISHED | {"rotation": 0.6})(*batch(20))
    area = label.flatten(1).sum(1).float()
    assert (area / 120 - 1).abs().max() < 0.08 and len(area.unique()) > 1
    torch.manual_seed(0)
    blurred, same = SliceAugmentation(geometry=False, looks=False, blur=(1, 1))(*batch(20))
    image, label = batch(20)
    assert torch.equal(same, label)
    changed = ((blurred - image).abs() > 1e-3).flatten(1).any(1)
    assert 4 < int(changed.sum()) < 16  # every second slice
    assert torch.allclose(blurred.mean((1, 2, 3)), image.mean((1, 2, 3)), atol=1e-3)
    assert torch.allclose(blurred[..., 0], torch.tensor(-1.0), atol=1e-3)  # no frame at the border
    gradient = [one.diff(dim=3).abs().amax((1, 2, 3)) for one in (blurred, image)]
    assert torch.equal(gradient[0] < gradient[1] - 0.1, changed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flip_axis": 2}, "flip_axis: expected 0, 1, both or null, found 2"),
        ({"flip_axis": (0, 0)}, "flip_axis: expected"),
        ({"blur": 1.0}, "blur: expected the least and the largest standard deviation in pixels, found 1.0"),
        ({"blur": (2, 1)}, "blur: expected"),
    ],
)
def test_options_of_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        SliceAugmentation(**options)


def test_prepares_batches_for_monais_trainer():
    image, label = batch()
    prepare = AugmentedBatch(lambda image, label: (image + 1, label * 2))
    one, two = prepare({"image": image, "label": label, "domain": None}, torch.device("cpu"), False)
    assert torch.equal(one, image + 1) and torch.equal(two, label * 2)
