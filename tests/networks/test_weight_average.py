from __future__ import annotations

import pytest
import torch
from torch import nn

from shared_components.errors import InputError
from shared_components.networks.weight_average import AveragedNetwork, WeightAverage


def moved(network: nn.Module, by: float = 1.0) -> nn.Module:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(by)
    return network


def test_the_decay_rises_to_what_is_asked():
    network = nn.Linear(1, 1, bias=False).double()
    average, expected = WeightAverage(network, 0.7), None
    for number in range(40):
        moved(network, 0.3 + number % 3)
        average.update_parameters(network)
        value, decay = network.weight.item(), min(0.7, number / (number + 9))
        expected = value if expected is None else decay * expected + (1 - decay) * value
        assert float(average.module.weight) == pytest.approx(expected, abs=1e-12)
    assert int(average.n_averaged) == 40


def test_a_counter_that_stays_behind_gives_way_to_the_trainers_own():
    networks = [nn.Linear(1, 1, bias=False) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    averages = [WeightAverage(network, 0.7) for network in networks]
    for number in range(30):
        for network, average in zip(networks, averages, strict=True):
            average.update_parameters(moved(network, 0.3 + number % 3), before=number)
        averages[1].n_averaged.zero_()
    assert int(averages[0].n_averaged) == 30
    assert torch.equal(averages[0].module.weight, averages[1].module.weight)


def test_a_counter_that_is_ahead_counts():
    """Of a client that has joined late, or a training that goes on from an average."""
    network = nn.Linear(1, 1, bias=False)
    average = WeightAverage(network, 0.99)
    average.n_averaged.fill_(9)
    start = network.weight.item()
    average.update_parameters(moved(network, 1.0), before=0)
    assert float(average.module.weight) == pytest.approx(start + 0.5)


def test_buffers_are_averaged_and_counts_copied():
    network = nn.BatchNorm1d(2)
    average = WeightAverage(network, 0.9)
    for _ in range(2):
        network(torch.randn(5, 2))
        average.update_parameters(network)
    assert int(average.module.num_batches_tracked) == 2
    assert not torch.equal(average.module.running_mean, network.running_mean)


def test_goes_on_from_its_state():
    first = nn.Linear(2, 2)
    one = WeightAverage(first, 0.9)
    for _ in range(3):
        one.update_parameters(moved(first))
    other = WeightAverage(nn.Linear(2, 2), 0.9)
    other.load_state_dict(one.state_dict())
    moved(first)
    for average in (one, other):
        average.update_parameters(first)
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())


def test_what_is_kept_of_a_network_is_its_average():
    network = AveragedNetwork(nn.Conv2d(1, 2, 1), average=0.9)
    for _ in range(2):
        moved(network.trained)
        network.update_average()
    image = torch.rand(1, 1, 4, 4)
    assert torch.equal(network(image), network.trained(image))
    assert not torch.allclose(network.result(image), network.trained(image))
    network(image).sum().backward()
    assert all(p.grad is None for p in network.result.parameters())


def test_without_an_average_it_is_the_network_itself():
    network = AveragedNetwork(nn.Conv2d(1, 2, 1), average=0.0)
    network.update_average()
    assert network.result is network.trained and int(network.average.n_averaged) == 0


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_is_none(decay):
    with pytest.raises(InputError, match="average: expected a decay from 0"):
        AveragedNetwork(nn.Conv2d(1, 2, 1), decay)
