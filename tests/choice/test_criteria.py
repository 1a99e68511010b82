"""Verdicts on segmentations without labels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from shared_components.choice.criteria import (
    Opinion,
    Verdict,
    chosen,
    edge_strength,
    mean_dice,
    opinion,
    plausible,
    verdicts,
    with_gamma,
)


class Threshold(nn.Module):
    """Class 1 where a slice is brighter than a level; ``lopsided``: in one half of the slice alone."""

    def __init__(self, level: float = 0.0, lopsided: bool = False) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))  # a network has some
        self.level, self.lopsided = level, lopsided

    def forward(self, image: Tensor) -> Tensor:
        score = (image - self.level) * 50
        if self.lopsided:
            score = torch.cat(
                [score[..., : score.shape[-2] // 2, :], score[..., score.shape[-2] // 2 :, :] * 0 - 9], -2
            )
        return torch.cat([-score, score], 1)


@pytest.fixture
def images() -> Tensor:
    """Two volumes of three slices, each with a bright square on dark."""
    images = torch.full((6, 1, 16, 16), -0.8)
    images[..., 4:10, 4:10] = 0.6
    return images + 0.01 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))


def test_dice_is_the_mean_over_classes():
    first, second = torch.tensor([[1, 1, 2, 0]]), torch.tensor([[1, 0, 2, 0]])
    assert mean_dice(first, second, [1, 2]) == pytest.approx((2 / 3 + 1) / 2)
    assert mean_dice(first * 0, first * 0, [1, 2]) == 1


def test_gamma_keeps_air_and_the_brightest():
    ends = torch.tensor([-1.0, 1.0, 0.0])
    assert torch.allclose(with_gamma(ends, 2.0), torch.tensor([-1.0, 1.0, -0.5]))


def test_what_depends_on_the_side_is_not_steady(images):
    steady, lopsided = opinion(Threshold(), images), opinion(Threshold(lopsided=True), images)
    assert steady.steadiness == pytest.approx(1.0)
    assert lopsided.steadiness < 0.9
    assert steady.probabilities.shape == (6, 2, 16, 16)
    assert torch.allclose(steady.probabilities.float().sum(1), torch.ones(6, 16, 16), atol=2e-3)
    assert torch.equal(steady.labels, (images[:, 0] > 0).to(torch.uint8))


def test_borders_on_edges_are_strong(images):
    true = (images[:, 0] > 0).long()
    shifted = true.roll(3, 1)
    assert edge_strength(images, true, [1]) > 20
    assert 0 < edge_strength(images, shifted, [1]) < 3
    assert edge_strength(images, true * 0, [1]) == 0
    assert edge_strength(images, true, [1, 2]) == pytest.approx(edge_strength(images, true, [1]) / 2)


def test_verdicts_tell_the_good_from_the_bad(images):
    known = [
        {
            f"1 {what}": {"mean": value, "deviation": 0.0}
            for what, value in {
                "area": 3.61,
                "empty": 0.0,
                "parts": 0.69,
                "largest": 1.0,
                "outline": 2.77,
                "overlap": 1.0,
            }.items()
        }
    ]
    opinions = {"good": opinion(Threshold(), images), "blind": opinion(Threshold(level=5.0), images)}
    found = verdicts(opinions, mean_of(opinions), images, torch.tensor([0, 0, 0, 1, 1, 1]), [1], 1.0, known)
    assert found["good"].implausibility < 0.05
    assert found["blind"].implausibility > 1
    assert found["good"].edges > 20
    assert found["blind"].edges == 0
    assert {type(one) for one in opinions.values()} == {Opinion}


def test_agreement_is_with_the_mean_of_all(images):
    sure, other = opinion(Threshold(), images), opinion(Threshold(lopsided=True), images)
    opinions = {"a": sure, "b": sure, "c": other}
    found = verdicts(opinions, mean_of(opinions), images, torch.zeros(6), [1], 1.0, [known_square()])
    assert found["a"].agreement == 1 > found["c"].agreement


def mean_of(opinions: dict) -> Tensor:
    """The likeliest class by the mean of all."""
    return torch.stack([one.probabilities.float() for one in opinions.values()]).mean(0).argmax(1)


def known_square() -> dict:
    return {
        f"1 {what}": {"mean": 1.0, "deviation": 1.0}
        for what in ("area", "empty", "parts", "largest", "outline", "overlap")
    }


FOUND = {
    "plain": Verdict(implausibility=1.9, edges=1.3, steadiness=0.9, agreement=0.1),
    "strong": Verdict(implausibility=0.5, edges=0.3, steadiness=0.9, agreement=0.9),
    "adapted": Verdict(implausibility=0.7, edges=0.7, steadiness=0.9, agreement=0.8),
}


def test_of_the_plausible_the_clearest_edges_win():
    assert plausible(FOUND) == ["strong", "adapted"]
    assert chosen(FOUND) == ("adapted",)


def test_the_margin_says_what_is_plausible():
    assert chosen(FOUND, margin=0.1) == ("strong",)
    assert chosen(FOUND, margin=9) == ("plain",)


def test_of_equals_the_first_is_chosen():
    assert chosen({"a": FOUND["strong"], "b": FOUND["strong"]}, partner=None) == ("a",)


def test_the_next_one_joins_where_its_edges_are_nearly_as_clear():
    third = {name: FOUND["adapted"]._replace(edges=edges) for name, edges in (("a", 0.57), ("b", 0.6))}
    assert chosen({**FOUND, **third}) == ("adapted", "b")
    assert chosen({**FOUND, **third}, partner=0.9) == ("adapted",)
    assert chosen({name: verdict._replace(edges=0.0) for name, verdict in FOUND.items()}) == ("strong",)
