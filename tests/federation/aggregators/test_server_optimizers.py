from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation import FedAdam, FedAvg, FedAvgM, ServerAverage
from shared_components.federation.local import LocalEngine
from shared_components.files import load_tensors, save_tensors
from tests.federation.tiny import federation

IMAGES = {"a": 1, "b": 3}
OPTIMIZERS = [FedAvgM, FedAdam]
WEIGHT, COPY, VARIANCE, COUNT = "layer.weight", "copy.layer.weight", "norm.running_var", "norm.count"


def tensors(seed: int, dtype=torch.float32) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {
        WEIGHT: torch.randn(40, 3, generator=generator).to(dtype),
        VARIANCE: torch.rand(3, generator=generator),
        COUNT: torch.tensor(seed),
        COPY: torch.randn(40, 3, generator=generator).to(dtype),
    }


def updates(number: int, order="ab", dtype=torch.float32) -> dict:
    """What the clients of round ``number`` send."""
    return {c: tensors(10 * number + "ab".index(c), dtype) for c in order}


def trained(aggregator, rounds, weights=None, order="ab", dtype=torch.float32) -> dict:
    weights = weights or tensors(0, dtype)
    for number in rounds:
        weights = aggregator(updates(number, order, dtype), IMAGES, weights)
    return weights


def assert_equal(first, second) -> None:
    assert first.keys() == second.keys() and first
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def by_hand(aggregator, starts, means) -> list[float]:
    """One weight of one client that sends ``means[i]`` where it is expected to get ``starts[i]``."""
    found = []
    for start, mean in zip(starts, means, strict=True):
        made = aggregator({"a": {"w": torch.tensor([mean])}}, {"a": 2}, {"w": torch.tensor([start])})
        found.append(made["w"].item())
    return found


def test_momentum_by_hand():
    # changes 1, 0, -1: velocities 1, 0.5, -0.75
    assert by_hand(FedAvgM(0.5), [2.0, 3.0, 4.0], [3.0, 3.0, 3.0]) == [3.0, 3.5, 3.25]
    assert by_hand(FedAvgM(0.5, learning_rate=0.1), [2.0, 3.0], [3.0, 3.0]) == pytest.approx([2.1, 3.05])


def test_adam_by_hand():
    # changes 1, then 3; m = 0.5, 1.75; v = 0.75 * 0.04 + 0.25 = 0.28, then 0.21 + 2.25 = 2.46
    aggregator = FedAdam(learning_rate=0.1, beta1=0.5, beta2=0.75, tau=0.2)
    expected = [2 + 0.05 / (0.28**0.5 + 0.2), 0.175 / (2.46**0.5 + 0.2)]
    assert by_hand(aggregator, [2.0, 0.0], [3.0, 3.0]) == pytest.approx(expected)


def test_momentum_against_torchs_sgd():
    weight = torch.nn.Parameter(tensors(0)[WEIGHT].double())
    optimizer = torch.optim.SGD([weight], lr=0.3, momentum=0.8)
    for number in range(1, 5):
        sent = updates(number)
        weight.grad = weight.detach() - (sent["a"][WEIGHT].double() + 3 * sent["b"][WEIGHT].double()) / 4
        optimizer.step()
    made = trained(FedAvgM(momentum=0.8, learning_rate=0.3), range(1, 5))[WEIGHT]
    assert torch.allclose(made.double(), weight.detach(), atol=1e-5)


def test_adam_against_numpy():
    w, first, second = tensors(0)[WEIGHT].double().numpy(), 0.0, 1e-6
    for number in range(1, 5):
        sent = {client: update[WEIGHT].double().numpy() for client, update in updates(number).items()}
        change = np.average([sent["a"], sent["b"]], axis=0, weights=[1, 3]) - w
        first, second = 0.9 * first + 0.1 * change, 0.99 * second + 0.01 * change**2
        w = w + 0.01 * first / (np.sqrt(second) + 1e-3)
    np.testing.assert_allclose(trained(FedAdam(), range(1, 5))[WEIGHT].numpy(), w, atol=1e-5)


def test_without_momentum_it_is_plain_averaging():
    assert_equal(trained(FedAvgM(momentum=0.0), range(1, 4)), trained(FedAvg(), range(1, 4)))
    bits = torch.tensor([1e-42, 3e38, 0.1])
    alone = FedAvgM(0.0)({"a": {"w": bits}}, {"a": 7}, {"w": torch.tensor([5.0, -2.0, 1e9])})
    assert torch.equal(alone["w"], bits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_resumed_equals_unbroken(kind, dtype, tmp_path):
    whole = kind()
    expected = trained(whole, range(1, 6), dtype=dtype)
    broken = kind()
    halfway = trained(broken, range(1, 4), dtype=dtype)
    save_tensors(tmp_path / "state.pt", {"aggregator": broken.state_dict(), "model": halfway})
    read = load_tensors(tmp_path / "state.pt")
    resumed = kind()
    resumed.load_state_dict(read["aggregator"])
    assert_equal(trained(resumed, range(4, 6), read["model"], dtype=dtype), expected)
    for moment in kind.moments:
        assert_equal(resumed.state_dict()[moment], whole.state_dict()[moment])
    forgetful = trained(kind(), range(4, 6), read["model"], dtype=dtype)
    assert not torch.equal(forgetful[WEIGHT], expected[WEIGHT])  # the state matters


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_before_the_first_round_the_state_is_empty_and_can_be_loaded(kind, tmp_path):
    save_tensors(tmp_path / "state.pt", {"aggregator": kind().state_dict()})
    resumed = kind()
    resumed.load_state_dict(load_tensors(tmp_path / "state.pt")["aggregator"])
    assert_equal(trained(resumed, range(1, 3)), trained(kind(), range(1, 3)))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_refused_round_leaves_the_state_as_it_was(kind):
    aggregator = kind()
    weights = trained(aggregator, [1])
    bad = updates(2)
    bad["b"][WEIGHT] = bad["b"][WEIGHT] * float("nan")
    with pytest.raises(InputError, match=r"client b: 'layer\.weight' holds NaN"):
        aggregator(bad, IMAGES, weights)
    assert_equal(trained(aggregator, [2], weights), trained(kind(), [1, 2]))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_order_of_clients_does_not_matter(kind):
    assert_equal(trained(kind(), range(1, 4)), trained(kind(), range(1, 4), order="ba"))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_statistics_counters_and_named_modules_are_averaged(kind):
    plain, start = FedAvg()(updates(1), IMAGES, tensors(0)), tensors(0)
    aggregator = kind(learning_rate=0.5, averaged=["copy"])
    made = aggregator(updates(1), IMAGES, start)
    assert [name for name in made if not torch.equal(made[name], plain[name])] == [WEIGHT]
    assert all(set(part) == {WEIGHT} for part in aggregator.state_dict().values())
    both = kind(learning_rate=0.5)(updates(1), IMAGES, start)
    assert [name for name in both if not torch.equal(both[name], plain[name])] == [WEIGHT, COPY]
    assert all(made[name].dtype == start[name].dtype for name in made)


def test_moments_are_at_least_float32():
    aggregator = FedAdam()
    trained(aggregator, [1], dtype=torch.float16)
    assert {t.dtype for part in aggregator.state_dict().values() for t in part.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "state (nothing) is not FedAvgM's"),
        ({"first": {}, "second": {}}, "state (first, second) is not FedAvgM's"),
        ({"velocity": 3}, "state (velocity) is not FedAvgM's"),
    ],
)
def test_state_of_another_aggregator_is_refused(state, message):
    with pytest.raises(InputError) as caught:
        FedAvgM().load_state_dict(state)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_state_of_other_tensors_is_refused():
    aggregator = FedAvgM()
    aggregator.load_state_dict({"velocity": {WEIGHT: torch.zeros(40, 3), COPY: torch.zeros(2)}})
    with pytest.raises(InputError, match=r"velocity, is not of .* \('copy.layer.weight': expected \(40, 3\)"):
        trained(aggregator, [1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FedAvgM(momentum=1.0), "momentum: expected a number from 0 up, below 1, found 1.0"),
        (lambda: FedAvgM(momentum=-0.1), "momentum: expected a number from 0 up"),
        (lambda: FedAvgM(learning_rate=0), "learning_rate: expected a number above 0"),
        (lambda: FedAdam(learning_rate="fast"), "learning_rate: expected a number above 0"),
        (lambda: FedAdam(beta1=1), "beta1: expected a number from 0 up, below 1"),
        (lambda: FedAdam(beta2=float("nan")), "beta2: expected a number from 0 up, below 1"),
        (lambda: FedAdam(tau=0), "tau: expected a number above 0"),
        (lambda: FedAdam(averaged="copy"), "averaged: expected a list of names of modules, found 'copy'"),
        (lambda: FedAvgM(averaged=[1]), "averaged: expected a list of names of modules"),
        (
            lambda: trained(FedAvgM(averaged=["cop"]), [1]),
            "averaged names 'cop', of which no tensor is exchanged; modules that are: copy, layer, norm",
        ),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value).startswith("aggregator: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


NAME = "shared_components.federation.ServerAverage"


def after(values, aggregator=None):
    """The average after rounds in which two clients end at these values."""
    aggregator = aggregator or ServerAverage(decay=0.75)
    for first, second in values:
        updates = {"a": {"w": torch.tensor([first])}, "b": {"w": torch.tensor([second])}}
        made = aggregator(updates, {"a": 1, "b": 3}, {"w": torch.zeros(1)})
        assert made["w"].item() == (first + 3 * second) / 4, "what is trained on is the mean"
    return aggregator.deliverable({"w": made["w"], "count": torch.tensor(7)})


def test_the_first_rounds_count_alike_then_it_decays():
    assert after([(4.0, 8.0)])["w"].item() == 7.0
    assert after([(4.0, 8.0), (1.0, 1.0)])["w"].item() == 4.0
    rounds = [(8.0, 8.0), (0.0, 0.0), (4.0, 4.0), (0.0, 0.0), (8.0, 8.0)]
    assert after(rounds)["w"].item() == pytest.approx(0.75 * 3 + 0.25 * 8)  # 3: the mean of the first four
    assert after(rounds)["count"].item() == 7


def test_its_state_goes_on_to_the_same_average():
    rounds = [(1.0, 2.0), (3.0, 5.0), (-4.0, 2.5)]
    first, second = ServerAverage(0.5), ServerAverage(0.5)
    after(rounds[:2], first)
    second.load_state_dict(first.state_dict())
    assert torch.equal(after(rounds[2:], second)["w"], after(rounds[2:], first)["w"])


def test_other_states_and_arguments_are_refused():
    with pytest.raises(InputError, match="is not ServerAverage's"):
        ServerAverage().load_state_dict({"velocity": {}})
    with pytest.raises(InputError, match="decay"):
        ServerAverage(decay=1.0)
    aggregator = ServerAverage()
    aggregator.load_state_dict({"rounds": 1, "average": {"v": torch.zeros(1)}})
    with pytest.raises(InputError, match="average is not of the tensors that are exchanged"):
        after([(1.0, 1.0)], aggregator)


def test_the_engine_exports_the_average_and_trains_on_the_mean(values, tmp_path):
    def run(name, **changes):
        made = federation(values, rounds=2, output_dir=str(tmp_path / name), **changes)
        return LocalEngine(made, quiet=True).run()

    plain = run("plain")
    found = run("averaged", aggregator={"_target_": NAME, "decay": 0.25})
    weights = [load_tensors(folder / "global.pt")["model"] for folder in (plain, found)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    exported = load_tensors(found / "tiny_bundle.pt")["model"]
    state = load_tensors(found / "global.pt")["aggregator"]
    assert state["rounds"] == 2
    name = next(iter(state["average"]))
    assert torch.equal(exported[name], state["average"][name])
    assert not torch.equal(exported[name], weights[1][name])
    assert not (found / "deliverable.pt").exists()
