from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation.exchange import Exchange
from shared_components.federation.federation_file import read_federation
from shared_components.federation.privacy import Privacy
from tests.federation.tiny import federation

DIFFERENCES = Exchange("differences")
HALF = Exchange("differences", "float16")


def tensors(seed=0, step=None, **more):
    """Weights of a small network with buffers; ``step``: how far they are from those of the same seed."""
    generator = torch.Generator().manual_seed(seed)
    made = {
        "layer.weight": torch.randn(4, 3, generator=generator),
        "layer.bias": torch.randn(4, generator=generator),
        "norm.num_batches_tracked": torch.tensor(7),
        "norm.mask": torch.tensor([True, False]),
        **more,
    }
    if step:
        moved = torch.Generator().manual_seed(99)
        made |= {
            name: tensor + step * torch.randn(tensor.shape, generator=moved)
            for name, tensor in made.items()
            if tensor.is_floating_point()
        }
        made["norm.num_batches_tracked"] = torch.tensor(9)
    return made


def round_trip(exchange, weights, begun):
    return exchange.incoming(exchange.outgoing(weights, begun), begun, "north")


def same(first, second):
    assert first.keys() == second.keys()
    return all(
        torch.equal(first[name], second[name]) and first[name].dtype == second[name].dtype for name in first
    )


def test_by_default_weights_travel_as_they_are():
    exchange, weights, begun = Exchange(), tensors(step=0.1), tensors()
    assert same(exchange.outgoing(weights, begun), weights)
    assert same(round_trip(exchange, weights, begun), weights)
    assert same(exchange.received(exchange.broadcast(begun), begun), begun)


def test_differences_come_back_exactly_within_a_factor_of_two():
    begun = {"w": torch.linspace(1, 2, 1001), "n": torch.tensor(3)}
    weights = {"w": begun["w"] * torch.linspace(0.51, 1.99, 1001), "n": torch.tensor(5)}
    sent = DIFFERENCES.outgoing(weights, begun)
    assert torch.equal(sent["w"], weights["w"] - begun["w"]) and sent["n"] == 5
    assert same(round_trip(DIFFERENCES, weights, begun), weights)


def test_differences_come_back_within_the_documented_rounding():
    generator = torch.Generator().manual_seed(3)
    begun = {"w": torch.randn(20000, generator=generator) * 10 ** torch.linspace(-6, 6, 20000)}
    weights = {"w": torch.randn(20000, generator=generator)}
    error = (round_trip(DIFFERENCES, weights, begun)["w"].double() - weights["w"].double()).abs()
    larger = torch.maximum(weights["w"].abs(), begun["w"].abs()).double()
    assert (error <= 3 * 2.0**-24 * larger).all() and error.max() > 0


def test_float16_comes_back_within_the_documented_rounding():
    begun = {"w": torch.zeros(20001, dtype=torch.float64)}
    weights = {"w": torch.logspace(-10, 4, 20001, dtype=torch.float64)}
    sent = HALF.outgoing(weights, begun)["w"]
    error = (HALF.incoming({"w": sent}, begun, "north")["w"] - weights["w"]).abs()
    assert sent.dtype == torch.float16
    assert (error <= torch.clamp(weights["w"] / 2048, min=2.0**-25)).all()
    assert (error > weights["w"] / 4096).any(), "the bound is no wider than it must be"


def test_global_weights_in_float16_do_not_round_what_the_coordinator_keeps():
    exchange = Exchange("differences", "float32", "float16")
    kept = {"w": torch.tensor([1.0 + 2**-12, 3.0001], dtype=torch.float32)}
    down = exchange.broadcast(kept)
    begun = exchange.received(down, kept)
    assert down["w"].dtype == torch.float16 and begun["w"].dtype == torch.float32
    assert not torch.equal(begun["w"], kept["w"])
    assert same(exchange.received(exchange.broadcast(begun), kept), begun), "rounded once"
    moved = {"w": begun["w"] + 2**-10}
    back = exchange.incoming(exchange.outgoing(moved, begun), kept, "north")
    assert torch.allclose(back["w"], kept["w"] + 2**-10, rtol=0, atol=1e-6)


def test_a_difference_beyond_float16_is_refused():
    begun = {"w": torch.zeros(2)}
    assert HALF.outgoing({"w": torch.tensor([65504.0, 0])}, begun)["w"].isfinite().all()
    with pytest.raises(
        InputError, match=r"exchange: 'w' holds 7e\+04, beyond float16; the training diverged"
    ):
        HALF.outgoing({"w": torch.tensor([7e4, 0])}, begun)


def test_nothing_is_widened_and_other_types_are_left_alone():
    exchange = Exchange("weights", "float32")
    given = {
        "brain": torch.zeros(2, dtype=torch.bfloat16),
        "double": torch.zeros(2, dtype=torch.float64),
        "wave": torch.zeros(2, dtype=torch.complex64),
        "count": torch.zeros(2, dtype=torch.int64),
    }
    sent = {name: tensor.dtype for name, tensor in exchange.outgoing(given, given).items()}
    assert sent == {
        "brain": torch.bfloat16,
        "double": torch.float32,
        "wave": torch.complex64,
        "count": torch.int64,
    }
    assert HALF.outgoing(given, given)["brain"].dtype == torch.bfloat16
    assert same(exchange.incoming(exchange.outgoing(given, given), given, "north"), given)


def test_bytes_are_those_of_what_is_sent():
    weights = tensors()
    for exchange, up, down in (
        (Exchange(), 16 * 4 + 8 + 2, 16 * 4 + 8 + 2),
        (HALF, 16 * 2 + 8 + 2, 16 * 4 + 8 + 2),
        (Exchange("differences", None, "float16"), 16 * 4 + 8 + 2, 16 * 2 + 8 + 2),
    ):
        assert (
            exchange.bytes_up(weights)
            == up
            == sum(t.nbytes for t in exchange.outgoing(weights, weights).values())
        )
        assert (
            exchange.bytes_down(weights)
            == down
            == sum(t.nbytes for t in exchange.broadcast(weights).values())
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda sent: sent.pop("layer.bias"),
            "client north: 'layer.bias' is missing, which the global model has",
        ),
        (
            lambda sent: sent.update(more=torch.zeros(1)),
            "client north: sent 'more', which the global model lacks",
        ),
        (
            lambda sent: sent.update({"layer.bias": torch.zeros(5, dtype=torch.float16)}),
            r"client north: 'layer.bias' is \(5,\) torch.float16, expected \(4,\) torch.float16",
        ),
        (
            lambda sent: sent.update({"layer.bias": torch.zeros(4)}),
            r"client north: 'layer.bias' is \(4,\) torch.float32, expected \(4,\) torch.float16",
        ),
        (
            lambda sent: sent.update({"layer.bias": torch.zeros(4, dtype=torch.float16).to_sparse()}),
            "client north: 'layer.bias' is a sparse tensor, expected",
        ),
        (
            lambda sent: sent.update({"layer.bias": torch.zeros(4, dtype=torch.float16, device="meta")}),
            "client north: 'layer.bias' is a tensor without values, expected",
        ),
        (
            lambda sent: sent.update({"layer.bias": [0.0] * 4}),
            "client north: 'layer.bias' is a list, expected",
        ),
    ],
)
def test_what_arrives_is_checked_against_what_was_to_be_sent(change, message):
    begun = tensors()
    sent = HALF.outgoing(tensors(step=0.1), begun)
    change(sent)
    with pytest.raises(InputError, match=message):
        HALF.incoming(sent, begun, "north")


def test_a_client_refuses_global_weights_of_another_type():
    exchange, own = Exchange("differences", None, "float16"), tensors()
    with pytest.raises(
        InputError, match=r"the global model: 'layer.weight' is .*float32, expected .*float16"
    ):
        exchange.received(own, own)


def test_private_updates_are_clipped_differences_and_their_counters_stay():
    begun, weights = tensors(), tensors(step=10.0)
    sent = DIFFERENCES.outgoing(weights, begun, Privacy(clip=0.5))
    norm = sum(float(t.double().square().sum()) for t in sent.values() if t.is_floating_point()) ** 0.5
    assert norm == pytest.approx(0.5, rel=1e-6)
    assert sent["norm.num_batches_tracked"] == weights["norm.num_batches_tracked"] != 7
    noisy = DIFFERENCES.outgoing(weights, begun, Privacy(0.5, noise=1.0), random.Random(1).randbytes)
    assert not torch.equal(noisy["layer.weight"], sent["layer.weight"])
    assert noisy["norm.num_batches_tracked"] == 7
    assert HALF.outgoing(weights, begun, Privacy(0.5, 1.0))["layer.weight"].dtype == torch.float16


@pytest.mark.parametrize(
    ("section", "private", "expected"),
    [
        ({}, None, Exchange("differences", "float16", "float16")),
        ({"what": "differences"}, None, Exchange("differences", "float16", "float16")),
        ({"what": "weights"}, None, Exchange()),
        ({"what": "weights", "dtype": "float32"}, None, Exchange("weights", "float32")),
        ({"dtype": "float32"}, None, Exchange("differences", "float32", "float16")),
        ({"down": "float32"}, None, Exchange("differences", "float16", "float32")),
        ({}, {"clip": 1}, Exchange("differences", "float16", "float16")),
    ],
)
def test_section_of_the_federation_file(values, tmp_path, section, private, expected):
    read = federation(values, exchange=section, privacy=private)
    assert read.exchange == expected
    (tmp_path / "resolved.yaml").write_text(read.as_yaml())
    assert read_federation(tmp_path / "resolved.yaml") == read


@pytest.mark.parametrize(
    ("section", "private", "message"),
    [
        ({"bits": 16}, None, r"exchange: key 'bits' is unknown; known are what, dtype, down"),
        ({"dtyp": "float16"}, None, r"exchange: key 'dtyp' is unknown \(did you mean 'dtype'\?\)"),
        ({"what": "gradients"}, None, "exchange: what: expected one of weights, differences, or null, found"),
        (
            {"dtype": "float8"},
            None,
            "exchange: dtype: expected one of float32, float16, or null, found 'float8'",
        ),
        ({"dtype": 16}, None, "exchange: dtype: expected one of float32, float16, or null, found 16"),
        ("float16", None, "'exchange' must hold 'key: value' lines"),
        (
            {"what": "weights", "dtype": "float16"},
            None,
            "'what: weights' and 'dtype: float16' do not go together",
        ),
        (
            {"what": "weights", "down": "float16"},
            None,
            "'what: weights' and 'down: float16' do not go together",
        ),
        ({"what": "weights"}, {"clip": 1}, "'what: weights' and 'privacy' do not go together"),
        ({"dtype": "float16"}, {"clip": 1e4, "noise": 1}, "'clip' 10000 with 'noise' 1 goes beyond float16"),
    ],
)
def test_contradictions_are_refused(values, section, private, message):
    with pytest.raises(InputError, match=message) as caught:
        federation(values, exchange=section, privacy=private)
    assert len(str(caught.value).splitlines()) == 1 and Path("tiny.yaml").name in str(caught.value)


def test_a_difference_of_another_shape_is_refused_at_the_client():
    """Of shapes that broadcast, too: the sum at the coordinator would look like a whole update."""
    begun, weights = tensors(), tensors(step=0.1)
    weights["layer.weight"] = weights["layer.weight"][:1]
    with pytest.raises(
        InputError, match=r"^its network: 'layer.weight' is .*, expected .* as in the global model"
    ):
        DIFFERENCES.outgoing(weights, begun)
