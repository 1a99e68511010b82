from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter

from shared_components.data import phantoms
from shared_components.data.augmentation import (
    FLOOR,
    AugmentedBatch,
    SliceAugmentation,
    with_contrast,
)
from shared_components.data.random_looks import RandRemapIntensityd
from shared_components.data.volumes import volume_transforms
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
    # that was mixed back
    share = (found - looks).flatten(1).norm(dim=1) / (before - looks).flatten(1).norm(dim=1)
    assert 0.55 < float((share < 1e-4).float().mean()) < 0.95 and float(share.mean()) < 0.25
