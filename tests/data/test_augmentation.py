from __future__ import annotations

import pytest
import torch

from shared_components.data.augmentation import (
    AugmentedBatch,
    SliceAugmentation,
)
from shared_components.errors import InputError


def batch(count: int = 4, size: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """Slices with an off-centre bright block, and its label."""
    image = torch.full((count, 1, size, size), -1.0)
    label = torch.zeros(count, 1, size, size, dtype=torch.int64)
    image[:, :, 5:15, 8:20], label[:, :, 5:15, 8:20] = 0.5, 1
    return image, label


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
    augment = SliceAugmentation(looks="none")
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
    assert SliceAugmentation(geometry=False, looks="none")(image, label) == (image, label)


def test_no_flip_without_an_axis():
    """A flip alone of the geometry would show; with every other size 0, the block stays where it is."""
    still = {"looks": "none", "rotation": 0.0, "scale": 0.0}
    names = {
        axis: [
            type(step).__name__ for step in SliceAugmentation(flip_axis=axis, **still).transform.transforms
        ]
        for axis in (0, None)
    }
    assert names == {0: ["RandAffined", "RandFlipd"], None: ["RandAffined"]}


PUBLISHED = {
    "looks": "none",
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
    blurred, same = SliceAugmentation(geometry=False, looks="none", blur=(1, 1))(*batch(20))
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
        ({"looks": True}, "looks: expected one of none, mild, strong, found True"),
        ({"keep_contrast": 0.5}, "keep_contrast: expected a share from 0 to 1.*found 0.5 and None"),
        ({"keep_contrast": 1.5, "classes": 2}, "keep_contrast: expected a share from 0 to 1"),
    ],
)
def test_options_of_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        SliceAugmentation(**options)


def names(**options) -> list[str]:
    return [type(step).__name__ for step in SliceAugmentation(geometry=False, **options).transform.transforms]


def test_how_far_looks_go_is_one_word():
    others = ["RandBiasd", "RandBlurd", "RandGaussianNoised"]
    assert names(looks="none") == []
    assert names(looks="mild") == ["RandExposured", *others]
    assert names(looks="strong", convolution=0.5) == ["RandConvolutiond", "RandRemapIntensityd", *others]
    assert names(looks="none", convolution=0.5) == ["RandConvolutiond"]


def test_mild_looks_keep_the_order_of_levels_and_stay_near():
    torch.manual_seed(0)
    image = torch.linspace(-1, 1, 24).expand(200, 1, 24, 24).contiguous()
    label = torch.zeros(200, 1, 24, 24, dtype=torch.int64)
    mild, strong = (
        SliceAugmentation(geometry=False, looks=looks)(image, label)[0] for looks in ("mild", "strong")
    )
    rises = [
        one.mean(2)[:, :, 3:-3].diff(dim=2).ge(-0.02).flatten(1).all(1).float().mean()
        for one in (mild, strong)
    ]
    assert rises[0] > 0.95 and rises[1] < 0.5
    assert (mild - image).abs().mean() < 0.2 < (strong - image).abs().mean()


def test_sizes_of_the_geometry_hold_for_both_axes():
    still = {"looks": "none", "rotation": 0, "shear": 0, "translation": 0, "scale": 0, "flip_axis": None}
    centre = torch.tensor([11.5, 11.5])
    for name, size in (("translation", 4), ("scale", 0.4), ("shear", 0.4)):
        torch.manual_seed(0)
        label = SliceAugmentation(**still | {name: size})(*batch(40))[1]
        spots = [torch.nonzero(one[0]).float() for one in label]
        moved = {
            "translation": lambda spot: spot.mean(0) - centre,
            "scale": lambda spot: spot.amax(0) - spot.amin(0),
            "shear": lambda spot: torch.stack(
                [spot[spot[:, i] == spot[:, i].min()][:, 1 - i].mean() for i in (1, 0)]
            ),
        }[name]
        assert bool((torch.stack([moved(spot) for spot in spots]).std(0) > 0.8).all()), name


def test_keeps_the_contrast_between_classes_when_asked():
    image, label = batch(64)
    image[label == 1] = -0.7  # little, against -1 around it
    gaps = []
    for keep in (0.0, 0.9):
        torch.manual_seed(0)
        augment = SliceAugmentation(geometry=False, keep_contrast=keep, classes=2, noise=0.0)
        found, same = augment(image, label)
        assert torch.equal(same, label)
        gaps.append((found[:, :, 7:13, 10:18].mean((1, 2, 3)) - found[:, :, 7:13, 22:].mean((1, 2, 3))).abs())
    assert gaps[0].min() < 0.05 and gaps[1].min() > gaps[0].min()
    assert not torch.equal(gaps[0], gaps[1])


def test_prepares_batches_for_monais_trainer():
    image, label = batch()
    prepare = AugmentedBatch(lambda image, label: (image + 1, label * 2))
    one, two = prepare({"image": image, "label": label, "domain": None}, torch.device("cpu"), False)
    assert torch.equal(one, image + 1) and torch.equal(two, label * 2)
