from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation import FedAvg, FedMedian, MultiKrum, NormBounded, TrimmedMean

START = {"w": torch.zeros(2)}
UPDATES = {
    c: {"w": torch.tensor(v)} for c, v in {"a": [1.0, 2.0], "b": [2.0, 1.0], "c": [30.0, 40.0]}.items()
}
BOUNDED = [(7 + 1000 * 0.6 * 5**0.5) / 1004, (5 + 1000 * 0.8 * 5**0.5) / 1004]
IMAGES = {"a": 1, "b": 3, "c": 1000}


@pytest.mark.parametrize(
    ("aggregator", "expected"),
    [
        (FedMedian(), [2.0, 2.0]),
        (MultiKrum(), [1.5, 1.5]),
        (TrimmedMean(), [2.0, 2.0]),
        (TrimmedMean(beta=0), [11.0, 43 / 3]),
        (NormBounded(bound=1e9), [30_007 / 1004, 40_005 / 1004]),
        (NormBounded(bound=5**0.5), BOUNDED),
        (NormBounded(), BOUNDED),  # 5^0.5 is the median of the norms
    ],
)
def test_what_they_make_of_one_odd_client_that_claims_many_images(aggregator, expected):
    made = aggregator(UPDATES, IMAGES, START)
    assert made["w"].tolist() == pytest.approx(expected, rel=1e-4)


def test_plain_averaging_follows_it():
    assert FedAvg()(UPDATES, IMAGES, START)["w"].tolist() == pytest.approx([29.89, 39.85], rel=1e-3)


@pytest.mark.parametrize("beta", [-0.1, 0.6, float("nan"), "much", True])
def test_share_is_from_0_to_a_half(beta):
    with pytest.raises(InputError, match=r"aggregator: beta: expected a number from 0 to 0\.5, found"):
        TrimmedMean(beta=beta)


@pytest.mark.parametrize("bound", [0, -1.0, float("inf"), float("nan"), "1"])
def test_bound_is_above_0(bound):
    with pytest.raises(InputError, match=r"aggregator: bound: expected a number above 0, .* found"):
        NormBounded(bound=bound)


@pytest.mark.parametrize("odd", [0, -1, 1.5, True, "1"])
def test_odd_clients_are_a_whole_number(odd):
    with pytest.raises(InputError, match="aggregator: odd: expected a whole number from 1"):
        MultiKrum(odd=odd)


def test_multi_krum_leaves_out_a_sign_flip_of_ordinary_length():
    generator = torch.Generator().manual_seed(0)
    changes = {c: 1 + 0.1 * torch.randn(500, generator=generator) for c in "abcd"}
    flipped = {c: {"w": -change if c == "b" else change} for c, change in changes.items()}
    images = {"a": 5, "b": 900, "c": 1, "d": 1}
    made = MultiKrum()(flipped, images, {"w": torch.zeros(500)})["w"]
    assert torch.allclose(made, (changes["a"] + changes["c"] + changes["d"]) / 3, atol=1e-6)
    alone = {"a": {"w": changes["a"]}}
    assert torch.equal(MultiKrum()(alone, {"a": 3}, {"w": torch.zeros(500)})["w"], changes["a"])
