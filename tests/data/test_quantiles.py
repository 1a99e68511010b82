from __future__ import annotations

import pytest
import torch

from shared_components.data.augmentation import SliceAugmentation
from shared_components.data.quantiles import (
    MatchedBatch,
    matched,
    mean_quantiles,
    quantiles_of,
    read_quantiles,
    write_quantiles,
)
from shared_components.errors import InputError


def slices(count: int = 3, size: int = 16) -> torch.Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_own_quantiles_change_nothing():
    image = slices(1)
    assert torch.allclose(matched(image, quantiles_of(image, 65)[0]), image, atol=1e-5)


def test_image_gets_the_wanted_quantiles():
    wanted = torch.linspace(-1, 1, 33).sign() * torch.linspace(-1, 1, 33).square()
    found = quantiles_of(matched(slices(), wanted), 33)
    assert torch.allclose(found, wanted.expand(3, -1), atol=0.02)


def test_order_of_intensities_stays():
    image = slices(1).flatten()
    sent = matched(image.reshape(1, 1, 16, 16), torch.linspace(-0.5, 0.9, 17)).flatten()
    assert bool((sent[image.argsort()].diff() >= -1e-6).all())


def test_one_intensity_goes_to_the_middle_of_its_quantiles():
    """Half of the image is air: it goes to the quantile of a quarter; the brightest stays the brightest."""
    image = torch.full((1, 1, 8, 8), -1.0)
    image[..., 4:] = torch.linspace(0, 1, 32).reshape(8, 4)
    sent = matched(image, torch.linspace(0, 1, 101))
    assert sent[0, 0, 0, 0] == pytest.approx(0.25, abs=0.01) and sent.max() == pytest.approx(1.0)


def test_flat_image_stays_finite():
    sent = matched(torch.zeros(2, 1, 4, 4), torch.linspace(-1, 1, 9))
    assert torch.allclose(sent, torch.zeros(2, 1, 4, 4), atol=1e-6)


def test_mean_is_over_slices():
    dataset = [{"image": torch.full((1, 4, 4), value)} for value in (-1.0, 0.5)]
    assert torch.allclose(mean_quantiles(dataset, 5), torch.full((5,), -0.25))
    with pytest.raises(InputError, match="expected at least 2 quantiles, found 1"):
        mean_quantiles(dataset, 1)


def test_curve_travels_as_a_table(tmp_path):
    curve = torch.linspace(-1, 1, 9) ** 3
    assert torch.allclose(read_quantiles(write_quantiles(curve, tmp_path / "q.csv")), curve, atol=1e-6)
    write_quantiles(curve.flip(0), tmp_path / "falling.csv")
    with pytest.raises(InputError, match=r"falling\.csv: expected at least two rising intensities"):
        read_quantiles(tmp_path / "falling.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="expected the columns share, intensity"):
        read_quantiles(tmp_path / "other.csv")


def test_batch_is_matched_and_labels_stay():
    curve = torch.linspace(-1, 0, 17)
    batch = {"image": slices(), "label": torch.ones(3, 1, 16, 16, dtype=torch.int64)}
    image, label = MatchedBatch(SliceAugmentation(geometry=False, looks="none"), curve)(batch, "cpu")
    assert torch.equal(image, matched(batch["image"], curve)) and torch.equal(label, batch["label"])
