from __future__ import annotations

import pytest
import torch

from shared_components.metrics.twin_agreement import drawn_labels_dice, twin_dice
from shared_components.networks.generator import Generator


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    return Generator(16, 3, 4, channels=(8, 8, 8), z_dim=8, w_dim=8, mapping_layers=2, mapping_lr=1.0).eval()


def above(threshold):
    """A network whose class 1 is what is brighter."""
    return lambda slices: torch.cat([threshold - slices, slices - threshold], 1)


def test_two_looks_of_one_domain_agree_wholly(generator):
    twins = {0: above(0.0), 1: above(0.0)}
    same = Generator(**generator.arguments).eval()
    same.load_state_dict(generator.state_dict())
    with torch.no_grad():  # the condition's weights of both domains alike
        same.condition.linear.weight[:, 1] = same.condition.linear.weight[:, 0]
    assert twin_dice(same, twins, 2, volumes=3, slices=4)[0, 1].tolist() == [[1.0]] * 3
    assert twin_dice(generator, twins, 2, volumes=3, slices=4)[0, 1].mean() < 1


def test_every_pair_has_the_dice_of_its_volumes_and_classes(generator):
    segment = dict.fromkeys(range(3), lambda slices: torch.randn(len(slices), 3, 16, 16))
    found = twin_dice(generator, segment, 3, volumes=2, slices=5)
    assert set(found) == {(0, 1), (0, 2), (1, 2)}
    for dice in found.values():
        assert (
            dice.shape == (2, 2) and (dice - 1 / 3).abs().max() < 0.1
        )  # a third of the pixels each, by chance


def test_a_class_that_neither_sees_has_no_dice(generator):
    found = twin_dice(generator, {0: above(9.0), 1: above(9.0)}, 2, volumes=1, slices=2)
    assert found[0, 1].isnan().all()


def test_drawn_label_maps_agree_wholly_with_a_network_that_gives_the_same(generator):
    torch.manual_seed(0)
    labelled = Generator(**{**generator.arguments, "classes": 2}).eval()
    with torch.no_grad():  # the scores of class 0 are the negative image, those of class 1 the image
        for layer in labelled.to_image:
            layer.weight[1], layer.weight[2] = -layer.weight[0], layer.weight[0]
    found = drawn_labels_dice(labelled, above(0.0), volumes=2, slices=3)
    assert len(found) == 3 and all(dice.tolist() == [[1.0]] * 2 for dice in found)
    assert drawn_labels_dice(generator, above(0.0)) == []
