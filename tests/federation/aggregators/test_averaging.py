from __future__ import annotations

from pathlib import Path

import monai.bundle
import pytest
import torch
from torch import nn

from shared_components.errors import InputError
from shared_components.federation import (
    FedAvg,
    FedAvgM,
    FedBN,
    FedMedian,
    FedProx,
    FedSubAvg,
    MultiKrum,
    NormBounded,
    TrimmedMean,
)
from shared_components.federation import __all__ as exported
from shared_components.federation.aggregators import make_aggregator
from shared_components.federation.client import FederatedClient
from shared_components.federation.federation_file import programs
from shared_components.federation.local import LocalEngine
from shared_components.federation.status import run_status
from shared_components.files import load_tensors
from tests.federation.tiny import TINY_BUNDLE, federation


def test_clients_are_held_to_the_global_layout():
    update = {"w": torch.tensor([2.0, 4.0]), "n": torch.tensor(3)}
    made = FedAvg()({"a": update}, {"a": 1}, update)
    assert torch.equal(made["w"], update["w"]) and torch.equal(made["n"], update["n"])
    for aggregator in (FedAvg(), FedMedian(), TrimmedMean(), NormBounded(), MultiKrum()):
        with pytest.raises(InputError, match="which the global model lacks"):
            aggregator({"a": update}, {"a": 1}, {"w": torch.zeros(2)})


@pytest.mark.parametrize("kind", [FedAvg, FedProx, FedBN, FedMedian, TrimmedMean, NormBounded, MultiKrum])
def test_without_a_state_none_is_taken(kind):
    aggregator = kind()
    assert aggregator.state_dict() == {}
    aggregator.load_state_dict({})
    with pytest.raises(InputError, match=rf"the run's state \(velocity\) is not {kind.__name__}'s"):
        aggregator.load_state_dict({"velocity": {}})


AGGREGATORS = [name for name in exported if name != "federated_average"]


def test_only_aggregators_are_taken():
    with pytest.raises(InputError, match=r"expected a subclass of .*FedAvg"):
        make_aggregator({"_target_": "torch.nn.Identity"})
    assert make_aggregator({"_target_": "shared_components.federation.FedProx", "mu": 0.5}).mu == 0.5


@pytest.mark.parametrize("name", AGGREGATORS)
def test_all_of_ours_are_made_by_name_and_need_no_trust(name):
    config = {"_target_": f"shared_components.federation.{name}"}
    assert type(make_aggregator(config)).__name__ == name
    assert programs({"aggregator": config}) == []
    assert len(programs({"overrides": config})) == len(programs({"aggregator": {"inner": config}})) == 1
    assert programs({"aggregator": {**config, "averaged": ["$__import__('os')"]}}) != []


IMAGES = {"a": 1, "b": 3}


def averaged(a, b, start=(0.0, 0.0, 0.0), aggregator=FedSubAvg):
    tensors = [{"w": torch.tensor(values), "n": torch.tensor(5)} for values in (a, b, start)]
    return aggregator()({"a": tensors[0], "b": tensors[1]}, IMAGES, tensors[2])


def test_each_element_is_averaged_over_those_that_moved_it():
    made = averaged([4.0, 4.0, 0.0], [8.0, 0.0, 0.0])["w"].tolist()
    assert made == [7.0, 4.0, 0.0]  # both, the first alone, nobody
    assert averaged([2.0, 1.0, 3.0], [1.0, 6.0, 3.0], (1.0, 2.0, 3.0))["w"].tolist() == [2.0, 4.75, 3.0]


def test_what_all_move_is_plain_averaging_bit_for_bit():
    a, b = torch.randn(2, 3).tolist()
    assert torch.equal(averaged(a, b)["w"], averaged(a, b, aggregator=FedAvg)["w"])
    assert averaged(a, b)["n"].item() == 5


def test_a_client_without_images_moves_nothing():
    weights = {"a": 0, "b": 2}
    updates = {"a": {"w": torch.tensor([9.0, 9.0])}, "b": {"w": torch.tensor([1.0, 0.0])}}
    assert FedSubAvg()(updates, weights, {"w": torch.zeros(2)})["w"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_types_stay(dtype):
    updates = {"a": {"w": torch.ones(2, dtype=dtype)}, "b": {"w": torch.zeros(2, dtype=dtype)}}
    made = FedSubAvg()(updates, IMAGES, {"w": torch.zeros(2, dtype=dtype)})["w"]
    assert made.dtype == dtype and made.tolist() == [1.0, 1.0]


def test_an_optimizer_at_the_server_takes_the_mean_of_those_that_moved():
    aggregator = FedAvgM(momentum=0.0, learning_rate=2.0, submodel=True)
    made = averaged([4.0, 4.0, 0.0], [8.0, 0.0, 0.0], aggregator=lambda: aggregator)["w"].tolist()
    assert made == [14.0, 8.0, 0.0]
    with pytest.raises(InputError, match="submodel"):
        FedAvgM(submodel="yes")


PROX = {"_target_": "shared_components.federation.FedProx"}
BN = {"_target_": "shared_components.federation.FedBN"}


def run(values, name, resume=False, **changes) -> Path:
    output_dir = str(Path(values["output_dir"]).parent / name)
    made = federation(values, output_dir=output_dir, **changes)
    return LocalEngine(made, quiet=True).run(resume=resume)


def global_weights(folder: Path) -> dict:
    return load_tensors(folder / "global.pt")["model"]


def models(folder: Path) -> dict[str, dict]:
    """Client -> the whole model that it exported."""
    return {f.parent.name: load_tensors(f)["model"] for f in folder.glob("clients/*/tiny_bundle.pt")}


def unequal(first, second) -> list[str]:
    assert first.keys() == second.keys() and first
    return [name for name in first if not torch.equal(first[name], second[name])]


def is_norm(name: str) -> bool:
    """Batch norm's tensors in MONAI's U-Net lie under ``adn.N`` and are not PReLU's weight ``adn.A``."""
    return ".adn.N." in name


def test_proximal_gradient_by_hand():
    shared, private, idle = (nn.Parameter(torch.tensor([2.0])) for _ in range(3))
    optimizer = torch.optim.SGD([shared, private, idle], lr=0.1, weight_decay=0.5)
    with FedProx(mu=0.5).local_training([optimizer], [shared, idle]):
        for _ in range(2):
            optimizer.zero_grad()
            (3 * shared + 3 * private).sum().backward()
            optimizer.step()
    # plain SGD: w - 0.1 (3 + 0.5 w); shared has 0.5 (w - 2) more in its gradient, which is 0 at first
    assert private.item() == pytest.approx(1.6 - 0.1 * (3 + 0.8))
    assert shared.item() == pytest.approx(1.6 - 0.1 * (3 + 0.8 + 0.5 * (1.6 - 2)))
    assert idle.item() == 2.0 and idle.grad is None
    before = shared.item()
    optimizer.step()  # outside the block the gradient left behind is used as it is
    gradient = 3 + 0.5 * (1.6 - 2)
    assert shared.item() == pytest.approx(before - 0.1 * (gradient + 0.5 * before))


@pytest.mark.parametrize("fused", [True, False])
def test_term_is_scaled_like_the_gradients_of_mixed_precision(fused):
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = torch.optim.SGD([weight], lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    with FedProx(mu=0.5).local_training([optimizer], [weight]):
        weight.data.add_(1.0)
        scaler.scale((2 * weight).sum()).backward()
        scaler.step(optimizer)
    assert weight.item() == pytest.approx(3 - 0.1 * (2 + 0.5 * 1))


def test_gradients_that_share_memory_are_added_to_once():
    first, second = (nn.Parameter(torch.tensor([1.0])) for _ in range(2))
    optimizer = torch.optim.SGD([first, second], lr=0.0)
    with FedProx(mu=1.0).local_training([optimizer], [first, second]):
        first.data.add_(1.0)
        second.data.add_(2.0)
        first.grad = second.grad = torch.tensor([5.0])
        optimizer.step()
    assert (first.grad.item(), second.grad.item()) == (6.0, 7.0)


def test_optimiser_with_a_closure_is_refused():
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.LBFGS([weight])
    with (
        FedProx(mu=1.0).local_training([optimizer], [weight]),
        pytest.raises(InputError, match="FedProx cannot steer LBFGS"),
    ):
        optimizer.step(weight.sum)


@pytest.mark.parametrize("mu", [-1, float("nan"), "much"])
def test_weight_of_the_term_must_be_a_number_from_0_up(mu):
    with pytest.raises(InputError, match="'mu' must be a number from 0 up"):
        FedProx(mu=mu)


def test_no_term_is_averaging_bit_for_bit_and_a_large_one_keeps_clients_near(values):
    plain = run(values, "plain", rounds=2)
    zero = run(values, "zero", rounds=2, aggregator={**PROX, "mu": 0})
    assert unequal(global_weights(plain), global_weights(zero)) == []
    near = run(values, "near", rounds=1, aggregator={**PROX, "mu": 100.0})
    free = run(values, "free", rounds=1)
    start = untrained(values)
    assert distance(global_weights(near), start) < 0.8 * distance(global_weights(free), start)


def untrained(values) -> dict:
    plan = federation(values)
    overrides = plan.client_overrides("island")
    return FederatedClient(str(TINY_BUNDLE), plan.config_files, overrides, 3).shared_weights()


def distance(first, second) -> float:
    names = [name for name in first if name.endswith("conv.weight")]
    return sum(float((first[name] - second[name]).square().sum()) for name in names) ** 0.5


def test_names_of_normalisation_layers():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.GroupNorm(2, 4)))
    assert FedBN().private_names(network) == {
        *(f"1.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
        "2.0.weight",
        "2.0.bias",
    }
    assert FedAvg().private_names(network) == FedProx().private_names(network) == set()


def test_a_norm_of_two_names_is_kept_under_both():
    network = nn.Module()
    network.norm = nn.BatchNorm1d(2)
    network.body = nn.Sequential(nn.Linear(2, 2), network.norm)
    shared = network.state_dict().keys() - FedBN().private_names(network)
    assert shared == {"body.0.weight", "body.0.bias"}


def test_a_network_without_norms_that_learn_is_refused(values):
    network = {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2}
    network |= {"channels": [4, 8], "strides": [2], "norm": "instance"}
    with pytest.raises(
        InputError, match=r"client island, being built: .* of which UNet has none; use FedAvg"
    ):
        run(values, "none", aggregator=BN, overrides={"network_def": network})


def test_clients_keep_their_norms_and_share_the_rest(values):
    folder = run(values, "norms", rounds=2, aggregator=BN, overrides={"federation::shared": [""]})
    made = models(folder)
    assert set(made) == {"island", "north", "south"} and not (folder / "tiny_bundle.pt").exists()
    for other in ("north", "south"):
        differing = unequal(made["island"], made[other])
        assert differing and all(map(is_norm, differing))
        assert {name.rsplit(".", 1)[1] for name in differing} >= {"weight", "bias", "running_mean"}
    sent = global_weights(folder)
    assert sent.keys() == {name for name in made["island"] if not is_norm(name)}
    assert unequal(sent, {name: made["north"][name] for name in sent}) == []
    assert len(run_status(folder).exported) == 3


def test_one_client_with_private_norms_is_plain_training(values, roots, tmp_path):
    overrides = {"dataset_dir": str(roots["north"]), "seed": 5, "epoch_length": 3, "max_epochs": 3}
    files = [str(TINY_BUNDLE / "configs" / name) for name in ("common.yaml", "train.yaml")]
    monai.bundle.run(config_file=files, bundle_root=str(TINY_BUNDLE), output_dir=str(tmp_path), **overrides)
    one = {"north": values["clients"]["north"]}
    folder = run(values, "one", clients=one, aggregator=BN)
    plain = torch.load(tmp_path / "plain.pt", weights_only=True)
    assert unequal(plain, models(folder)["north"]) == []


def test_resumed_equals_unbroken(values):
    changes = {"aggregator": {**BN, "mu": 0.1}, "rounds": 2}
    whole = run(values, "whole", **changes)
    run(values, "broken", **{**changes, "rounds": 1})
    broken = run(values, "broken", resume=True, **changes)
    assert unequal(global_weights(whole), global_weights(broken)) == []
    for client, model in models(whole).items():
        assert unequal(model, models(broken)[client]) == []
    with pytest.raises(InputError, match=r"aggregator\.mu was 0\.1 and is now 0\.2"):
        run(values, "broken", resume=True, **{**changes, "aggregator": {**BN, "mu": 0.2}})
