from __future__ import annotations

import pytest
import torch
from PIL import Image

from shared_components.audit.twins import report_twins
from shared_components.errors import InputError
from shared_components.networks.generator import Generator
from shared_components.records import read_table

DOMAINS, LABELS = ["t1", "t2"], {0: "background", 1: "brain", 2: "skull"}


class Threshold(torch.nn.Module):
    """Class 1 where the image is above a threshold; class 2 nowhere."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, image):
        return torch.cat([self.threshold - image, image - self.threshold, torch.full_like(image, -9)], dim=1)


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(16, 2, 4, channels=(4, 4, 4), z_dim=4, w_dim=4, mapping_layers=1, mapping_lr=0.01).eval()


def test_table_and_picture(generator, tmp_path):
    models = {"t1": Threshold(0.0), "t2": Threshold(0.05)}
    report_twins(generator, models, DOMAINS, LABELS, tmp_path, volumes=4, slices=5)
    brain, skull = read_table(tmp_path / "twins.csv", "")
    assert (brain["label"], brain["name"], brain["volumes"]) == ("1", "brain", "4")
    assert 0 < float(brain["dice_min"]) <= float(brain["dice_median"]) <= 1
    assert skull["volumes"] == "0" and skull["dice_mean"] == "nan"
    assert Image.open(tmp_path / "twins.png").size[0] > 6 * 64


def test_two_domains_of_the_factory_are_needed(generator, tmp_path):
    with pytest.raises(InputError, match="expected two of the factory's domains t1, t2, found 'pet'"):
        report_twins(generator, {"t1": Threshold(0), "pet": Threshold(0)}, DOMAINS, LABELS, tmp_path)
    with pytest.raises(InputError, match="found t1"):
        report_twins(generator, {"t1": Threshold(0)}, DOMAINS, LABELS, tmp_path)
    assert not list(tmp_path.iterdir())
