from __future__ import annotations

import random

import monai.bundle
import numpy as np
import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation import federated_average
from shared_components.federation.client import FederatedClient
from tests.federation.tiny import TINY_BUNDLE, federation


@pytest.fixture
def make(values):
    """Build the client ``north`` of the tiny bundle with other overrides."""

    def made(client="north", updates=3, **overrides):
        plan = federation(values, overrides={}).client_overrides(client)
        files = [str(TINY_BUNDLE / "configs" / name) for name in ("common.yaml", "train.yaml")]
        return FederatedClient(str(TINY_BUNDLE), files, {**plan, **overrides}, updates)

    return made


def assert_same(first, second):
    assert first.keys() == second.keys() and first
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def rounds(client, number):
    for _ in range(number):
        client.load_shared(client.run_round(client.shared_weights()).weights)
    return client.trainer.network.state_dict()


def test_rounds_of_one_client_equal_plain_bundle_training(make, roots, tmp_path):
    overrides = {
        "dataset_dir": str(roots["north"]),
        "seed": 6,
        "epoch_length": 3,
        "max_epochs": 3,
        "output_dir": str(tmp_path),
    }
    files = [str(TINY_BUNDLE / "configs" / name) for name in ("common.yaml", "train.yaml")]
    monai.bundle.run(config_file=files, bundle_root=str(TINY_BUNDLE), **overrides)
    assert_same(rounds(make(seed=6), 3), torch.load(tmp_path / "plain.pt", weights_only=True))


def test_state_resumes_exactly(make, tmp_path):
    unbroken = make()
    weights = unbroken.run_round(unbroken.shared_weights()).weights
    unbroken.save_state(tmp_path / "state.pt")
    resumed = make(seed=77)  # another network and random state, so that all of it must come from the file
    resumed.load_state(tmp_path / "state.pt")
    first, second = (client.run_round(weights) for client in (unbroken, resumed))
    assert_same(first.weights, second.weights)
    assert_same(unbroken.trainer.network.state_dict(), resumed.trainer.network.state_dict())
    assert resumed.trainer.state.epoch == 2 and resumed.trainer.state.iteration == 6
    assert first.metrics == second.metrics


def test_the_trainer_is_told_the_rounds_number_or_counts_its_own(make):
    client = make()
    for number, told in ((7, 7), (None, 2)):
        client.run_round(client.shared_weights(), number)
        assert client.trainer.state.round == told


def test_what_a_client_keeps_to_itself_is_no_deliverable(make):
    export = {
        "_target_": "shared_components.networks.weights.export_model",
        "_mode_": "callable",
        "path": "x.pt",
    }
    whole = {"federation::export": {**export, "network": "@network"}}
    with pytest.raises(
        InputError, match=r"federation::export writes 'model\.2\S+', which federation::shared keeps"
    ):
        make(**whole)
    make(**whole, **{"federation::shared": [""]})
    make(**{"federation::export": {**export, "network": "$@network.model[0]"}})


def test_a_round_without_a_step_of_an_optimiser_counts_no_image(make):
    client = make()
    assert client.run_round(client.shared_weights()).images == client.images > 0
    client.trainer._process_function = lambda *_: {"loss": torch.zeros(())}  # as one that waits for labels
    assert client.run_round(client.shared_weights()).images == 0


def test_state_holds_no_shared_tensor(make, tmp_path):
    client = make()
    client.save_state(tmp_path / "state.pt")
    private = torch.load(tmp_path / "state.pt", weights_only=True)["private"]
    assert private and all(name.startswith("model.2.") for name in private)
    assert not set(private) & set(client.shared_weights())
    assert set(private) | set(client.shared_weights()) == set(client.trainer.network.state_dict())


def test_equal_clients_stay_equal(make):
    clients = {name: make() for name in ("a", "b", "c")}
    weights = clients["a"].shared_weights()
    for _ in range(2):
        updates = {name: client.run_round(weights).weights for name, client in clients.items()}
        assert_same(updates["a"], updates["c"])
        mean = federated_average(updates, {"a": 1, "b": 5, "c": 3})
        assert_same(mean, updates["b"])
        assert any(not torch.equal(mean[name], weights[name]) for name in mean)
        weights = mean


def test_clients_of_one_process_do_not_touch_each_other(make):
    alone = rounds(make(), 2)
    first, second = make(), make("south")
    for _ in range(2):
        rounds(first, 1)
        rounds(second, 1)
    assert_same(alone, first.trainer.network.state_dict())


def test_random_state_of_the_process_is_left_alone(make):
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    expected = (torch.rand(1).item(), np.random.rand(), random.random())
    torch.manual_seed(3)
    np.random.seed(3)
    random.seed(3)
    rounds(make(), 1)
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected


def test_updates_are_copies(make):
    client = make()
    before = client.shared_weights()
    kept = {name: tensor.clone() for name, tensor in before.items()}
    sent = client.run_round(before)
    sent_copy = {name: tensor.clone() for name, tensor in sent.weights.items()}
    client.run_round(sent.weights)
    assert_same(before, kept)
    assert_same(sent.weights, sent_copy)
    assert sent.images == 3 and sent.seconds > 0 and sent.metrics["loss"] > 0


def test_round_begins_from_the_global_weights_and_own_private_ones(make):
    client = make()
    rounds(client, 1)
    private = {
        k: v.clone() for k, v in client.trainer.network.state_dict().items() if k.startswith("model.2.")
    }
    zeros = {name: torch.zeros_like(tensor) for name, tensor in client.shared_weights().items()}
    client.load_shared(zeros)
    assert_same(client.shared_weights(), zeros)
    assert_same({k: client.trainer.network.state_dict()[k] for k in private}, private)


def test_load_is_strict(make):
    client = make()
    weights = client.shared_weights()
    name = next(iter(weights))
    with pytest.raises(InputError, match=f"'{name}' is missing"):
        client.load_shared({k: v for k, v in weights.items() if k != name})
    with pytest.raises(InputError, match=r"sent 'model.2.x', which its bundle lacks"):
        client.load_shared({**weights, "model.2.x": torch.zeros(1)})
    with pytest.raises(InputError, match=r"is \(7,\) torch.float32, expected"):
        client.load_shared({**weights, name: torch.zeros(7)})


def test_bundle_without_a_federation_section_is_shared_whole(make):
    client = make(federation={}, checkpoint_state={})
    assert set(client.shared_weights()) == set(client.trainer.network.state_dict())
    assert client.images == 3
    assert not client.export(client.shared_weights())


def test_optimiser_is_kept_even_when_the_bundle_does_not_name_it(make, tmp_path):
    client = make(checkpoint_state={})
    rounds(client, 1)
    client.save_state(tmp_path / "state.pt")
    other = make(checkpoint_state={})
    other.load_state(tmp_path / "state.pt")
    other.load_shared(client.shared_weights())
    assert_same(rounds(client, 1), rounds(other, 1))


def test_export_has_the_global_weights(make, tmp_path):
    client = make(export_path=str(tmp_path / "out.pt"))
    weights = client.shared_weights()
    rounds(client, 1)
    assert client.export(weights)
    exported = torch.load(tmp_path / "out.pt", weights_only=True)["model"]
    assert_same({name: exported[name] for name in weights}, weights)


def test_misfits_are_told(make, tmp_path):
    with pytest.raises(InputError, match=r"expected epochs of 4 updates \(updates_per_round\), found 3"):
        make(updates=4)
    with pytest.raises(InputError, match=r"names 'decoder', which holds no tensor .* its modules are model"):
        make(**{"federation::shared": ["decoder"]})
    make().save_state(tmp_path / "state.pt")
    with pytest.raises(InputError, match="state of another bundle"):
        make(checkpoint_state={"more": "@optimizer"}).load_state(tmp_path / "state.pt")
