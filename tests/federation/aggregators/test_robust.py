from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation import FedAvg, FedMedian, MultiKrum, NormBounded, TrimmedMean
from shared_components.federation.aggregators.aggregation import federated_average
from shared_components.federation.aggregators.robust import (
    coordinate_median,
    nearest_clients,
    norm_bounded_mean,
    trimmed_mean,
)

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


@pytest.mark.parametrize("aggregator", [FedMedian(), TrimmedMean(), NormBounded(), MultiKrum()])
def test_a_switch_that_one_client_turns_on_is_on_for_all(aggregator):
    updates = {
        c: u | {"seen": torch.tensor([c == "c", False, c != "b"]), "count": torch.tensor(n)}
        for n, (c, u) in enumerate(UPDATES.items())
    }
    start = START | {"seen": torch.zeros(3, dtype=torch.bool), "count": torch.tensor(0)}
    made = aggregator(updates, IMAGES, start)
    assert made["seen"].tolist() == [True, False, True]
    assert made["count"] == 1  # no number of a client's own choice


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


BEGUN = {"w": torch.zeros(2), "n": torch.tensor(0), "on": torch.tensor([False])}


def update(first, second, count=1):
    return {
        "w": torch.tensor([first, second]),
        "n": torch.tensor(count),
        "on": torch.tensor([count > 2]),
    }


def clients(number: int, size: int = 300, seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {f"c{i}": {"w": torch.randn(size, generator=generator)} for i in range(number)}


def rows(updates) -> np.ndarray:
    return np.stack([updates[client]["w"].double().numpy() for client in sorted(updates)])


def images(updates) -> dict[str, int]:
    return {client: 1 + i for i, client in enumerate(sorted(updates))}


EVERY = {
    "median": lambda updates, start: coordinate_median(updates),
    "trimmed": lambda updates, start: trimmed_mean(updates, 0.25),
    "bounded": lambda updates, start: norm_bounded_mean(updates, images(updates), start),
}
every = pytest.mark.parametrize("aggregate", EVERY.values(), ids=EVERY)


def test_median_by_hand():
    three = {"a": update(1.0, 9.0, 5), "b": update(4.0, -2.0, 1), "c": update(-7.0, 3.0, 3)}
    median = coordinate_median(three)
    assert median["w"].tolist() == [1.0, 3.0]
    assert (median["n"].item(), median["n"].dtype) == (3, torch.int64)
    assert (median["on"].tolist(), median["on"].dtype) == ([True], torch.bool)
    four = coordinate_median({**three, "d": update(2.0, 100.0, 4)})
    assert four["w"].tolist() == [1.5, 6.0]  # the mean of the two in the middle
    assert (four["n"].item(), four["on"].tolist()) == (3, [True])  # of 1 3 4 5 the lower one in the middle


@every
def test_counts_that_torch_cannot_order_by_themselves(aggregate):
    sent = {"a": 5, "b": 1, "c": 3}
    counts = {client: {"n": torch.tensor([n, 9], dtype=torch.uint16)} for client, n in sent.items()}
    found = aggregate(counts, {"n": torch.tensor([0, 9], dtype=torch.uint16)})["n"]
    assert (found.tolist(), found.dtype) == ([3, 9], torch.uint16)


def test_trimmed_mean_by_hand():
    updates = {c: update(x, -x, int(x)) for c, x in zip("abcde", (1.0, 2.0, 6.0, 10.0, 50.0), strict=True)}
    assert trimmed_mean(updates, 0.2)["w"].tolist() == [6.0, -6.0]  # (2 + 6 + 10) / 3
    assert trimmed_mean(updates, 0.01)["w"].tolist() == [6.0, -6.0]  # any share above 0 leaves out one
    assert trimmed_mean(updates, 0.4)["w"].tolist() == [6.0, -6.0]  # the median
    assert trimmed_mean(updates, 0.0)["w"].tolist() == pytest.approx([13.8, -13.8])
    assert trimmed_mean(updates, 0.2)["n"].item() == 6


def test_norms_are_bounded_by_hand():
    updates = {"a": update(3.0, 4.0), "b": update(0.0, -1.0), "c": update(0.0, 20.0, 7)}
    bounded = norm_bounded_mean(updates, {"a": 1, "b": 1, "c": 2}, BEGUN)
    # norms 5, 1, 20: the bound is 5; (3 4) + (0 -1) + 2 (0 5) over 4
    assert bounded["w"].tolist() == [0.75, 3.25]
    assert (bounded["n"].item(), bounded["on"].item()) == (1, True)
    start = {**BEGUN, "w": torch.tensor([0.0, 2.0])}
    given = norm_bounded_mean({"a": update(0.0, 12.0)}, {"a": 3}, start, bound=2.5)
    assert given["w"].tolist() == [0.0, 4.5]
    still = norm_bounded_mean({"a": BEGUN, "b": BEGUN}, {"a": 1, "b": 1}, BEGUN)
    assert still["w"].tolist() == [0.0, 0.0]


def test_nearest_clients_by_hand():
    line = {c: {"w": torch.tensor([x])} for c, x in zip("abcde", (0.0, 1.0, 3.0, 10.0, 2.0), strict=True)}
    # two neighbours each: a 1 + 4, b 1 + 1, c 1 + 4, d 49 + 64, e 1 + 1
    assert nearest_clients(line, 1) == ["a", "b", "c", "e"]
    # one neighbour each: a 1, b 1, c 1, d 49, e 1; of equal ones the later name goes
    assert nearest_clients(line, 2) == nearest_clients(line, 9) == ["a", "b", "c"]
    assert nearest_clients({c: line[c] for c in "dcba"}, 1) == ["a", "b", "c"]
    assert nearest_clients({c: line[c] for c in "ad"}, 1) == ["a", "d"]
    assert nearest_clients({"a": line["a"]}, 1) == ["a"]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7, 8])
def test_median_against_numpy(number):
    updates = clients(number)
    expected = np.median(rows(updates), axis=0).astype(np.float32)
    np.testing.assert_array_equal(coordinate_median(updates)["w"].numpy(), expected)


@pytest.mark.parametrize(
    ("number", "beta", "trimmed"), [(10, 0.3, 3), (30, 0.1, 3), (7, 0.2, 2), (4, 0.2, 1)]
)
def test_trimmed_mean_against_numpy(number, beta, trimmed):
    updates = clients(number)
    kept = np.sort(rows(updates), axis=0)[trimmed : number - trimmed]
    np.testing.assert_allclose(
        trimmed_mean(updates, beta)["w"].numpy(), kept.mean(axis=0), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("bound", [None, 10.0, 17.0])
def test_norm_bounded_mean_against_numpy(bound):
    updates, start = clients(5), clients(1, seed=1)["c0"]
    changes = rows(updates) - start["w"].double().numpy()
    norms = np.linalg.norm(changes, axis=1)
    limit = np.sort(norms)[2] if bound is None else bound
    scaled = changes * np.minimum(1, limit / norms)[:, None]
    expected = start["w"].numpy() + np.average(scaled, axis=0, weights=[1, 2, 3, 4, 5])
    found = norm_bounded_mean(updates, images(updates), start, bound)
    np.testing.assert_allclose(found["w"].numpy(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@every
def test_equal_clients_stay_equal(aggregate, dtype):
    tensor = torch.randn(500, generator=torch.Generator().manual_seed(1)).to(dtype)
    made = aggregate({c: {"w": tensor} for c in "abcd"}, {"w": torch.zeros_like(tensor)})["w"]
    assert made.dtype == dtype and torch.equal(made, tensor)


@every
def test_one_client_gets_its_own_bits(aggregate):
    tensor = torch.cat([torch.randn(1000), torch.tensor([-0.0, 1e-42, 3e38])])
    mean = aggregate({"a": {"w": tensor}}, {"w": torch.ones(1003)})["w"]
    assert torch.equal(mean.view(torch.int32), tensor.view(torch.int32))


@every
def test_order_of_clients_does_not_matter(aggregate):
    updates, start = clients(5), {"w": torch.zeros(300)}
    turned = {client: updates[client] for client in ("c3", "c0", "c4", "c1", "c2")}
    assert torch.equal(aggregate(updates, start)["w"], aggregate(turned, start)["w"])


@every
def test_large_tensors_are_whole_and_updates_left_as_they_were(aggregate):
    updates = clients(3, size=200_003)
    before = {client: tensors["w"].clone() for client, tensors in updates.items()}
    made = aggregate(updates, {"w": torch.zeros(200_003)})["w"]
    part = {client: {"w": tensors["w"][-5000:]} for client, tensors in updates.items()}
    if aggregate is not EVERY["bounded"]:
        assert torch.equal(made[-5000:], aggregate(part, {"w": torch.zeros(5000)})["w"])
    made.zero_()
    assert made.shape == (200_003,) and all(torch.equal(updates[c]["w"], before[c]) for c in updates)


def test_limits_are_the_mean_and_the_median():
    updates, start = clients(6), {"w": torch.zeros(300)}
    equal = federated_average(updates, dict.fromkeys(updates, 1))["w"]
    assert torch.allclose(trimmed_mean(updates, 0.0)["w"], equal, atol=1e-7)
    assert torch.equal(trimmed_mean(updates, 0.5)["w"], coordinate_median(updates)["w"])
    unbounded = norm_bounded_mean(updates, images(updates), start, bound=float("inf"))["w"]
    assert torch.equal(unbounded, federated_average(updates, images(updates))["w"])


@pytest.mark.parametrize("spoilt", [1e6, -1e6, 1e38])
@every
def test_one_of_four_changes_little(aggregate, spoilt):
    """Close to what the three others make alone, and no further off than they are from one another."""
    updates, start = clients(4), {"w": torch.zeros(300)}
    honest = {client: updates[client] for client in ("c0", "c1", "c2")}
    reference = rows(honest).mean(axis=0)
    updates["c3"] = {"w": updates["c3"]["w"] * spoilt / updates["c3"]["w"].abs().max()}
    off = np.linalg.norm(aggregate(updates, start)["w"].double().numpy() - reference)
    assert off < max(np.linalg.norm(row - reference) for row in rows(honest))


def test_a_spoilt_counter_does_not_pass():
    honest = {c: {"n": torch.tensor(10 + i), "w": torch.zeros(1)} for i, c in enumerate("abc")}
    updates = {**honest, "d": {"n": torch.tensor(2**60), "w": torch.zeros(1)}}
    for aggregate in EVERY.values():
        assert aggregate(updates, {"n": torch.tensor(0), "w": torch.zeros(1)})["n"].item() == 11


@every
@pytest.mark.parametrize(
    ("updates", "message"),
    [
        ({}, "at least one client"),
        ({"a": update(1.0, 1.0), "b": {"w": torch.zeros(2)}}, "client b: 'n' is missing"),
        ({"a": update(1.0, float("inf")), "b": update(1.0, 1.0)}, "client a: 'w' holds NaN or infinite"),
        ({"a": update(1.0, 1.0), "b": update(float("nan"), 1.0)}, "client b: 'w' holds NaN or infinite"),
    ],
)
def test_refused(aggregate, updates, message):
    with pytest.raises(InputError, match=message):
        aggregate(updates, BEGUN)


def test_what_only_some_refuse():
    whole = {"a": {"w": torch.zeros(2, dtype=torch.complex64)}}
    with pytest.raises(InputError, match="'w' holds complex numbers, which have no order"):
        coordinate_median(whole)
    assert torch.equal(norm_bounded_mean(whole, {"a": 1}, whole["a"])["w"], whole["a"]["w"])
    with pytest.raises(InputError, match="a weight for each"):
        norm_bounded_mean({"a": BEGUN}, {"b": 1}, BEGUN)
    with pytest.raises(InputError, match="client a: sent 'n', which the global model lacks"):
        norm_bounded_mean({"a": BEGUN}, {"a": 1}, {"w": BEGUN["w"]})
