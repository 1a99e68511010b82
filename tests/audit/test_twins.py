from __future__ import annotations

import pytest
import torch
from PIL import Image

from shared_components.audit.twins import drawn_labels_dice, report_twins, twin_dice
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


@pytest.fixture(scope="module")
def twins_tmp_generator():
    torch.manual_seed(0)
    return Generator(16, 3, 4, channels=(8, 8, 8), z_dim=8, w_dim=8, mapping_layers=2, mapping_lr=1.0).eval()


def above(threshold):
    """A network whose class 1 is what is brighter."""
    return lambda slices: torch.cat([threshold - slices, slices - threshold], 1)


def test_two_looks_of_one_domain_agree_wholly(twins_tmp_generator):
    twins = {0: above(0.0), 1: above(0.0)}
    same = Generator(**twins_tmp_generator.arguments).eval()
    same.load_state_dict(twins_tmp_generator.state_dict())
    with torch.no_grad():  # the condition's weights of both domains alike
        same.condition.linear.weight[:, 1] = same.condition.linear.weight[:, 0]
    assert twin_dice(same, twins, 2, volumes=3, slices=4)[0, 1].tolist() == [[1.0]] * 3
    assert twin_dice(twins_tmp_generator, twins, 2, volumes=3, slices=4)[0, 1].mean() < 1


def test_every_pair_has_the_dice_of_its_volumes_and_classes(twins_tmp_generator):
    segment = dict.fromkeys(range(3), lambda slices: torch.randn(len(slices), 3, 16, 16))
    found = twin_dice(twins_tmp_generator, segment, 3, volumes=2, slices=5)
    assert set(found) == {(0, 1), (0, 2), (1, 2)}
    for dice in found.values():
        # a third of the pixels each, by chance
        assert dice.shape == (2, 2) and (dice - 1 / 3).abs().max() < 0.1


def test_a_class_that_neither_sees_has_no_dice(twins_tmp_generator):
    found = twin_dice(twins_tmp_generator, {0: above(9.0), 1: above(9.0)}, 2, volumes=1, slices=2)
    assert found[0, 1].isnan().all()


@pytest.mark.parametrize("seen", [0, 1])
def test_a_class_that_one_of_two_sees_does_not_agree(twins_tmp_generator, seen):
    limits = {seen: 0.0, 1 - seen: 9.0}
    found = twin_dice(twins_tmp_generator, {k: above(limits[k]) for k in (0, 1)}, 2, volumes=2, slices=4)
    assert found[0, 1].tolist() == [[0.0]] * 2


def test_drawn_label_maps_agree_wholly_with_a_network_that_gives_the_same(twins_tmp_generator):
    torch.manual_seed(0)
    labelled = Generator(**{**twins_tmp_generator.arguments, "classes": 2}).eval()
    with torch.no_grad():  # the scores of class 0 are the negative image, those of class 1 the image
        for layer in labelled.to_image:
            layer.weight[1], layer.weight[2] = -layer.weight[0], layer.weight[0]
    found = drawn_labels_dice(labelled, above(0.0), volumes=2, slices=3)
    assert len(found) == 3 and all(dice.tolist() == [[1.0]] * 2 for dice in found)
    assert drawn_labels_dice(twins_tmp_generator, above(0.0)) == []
