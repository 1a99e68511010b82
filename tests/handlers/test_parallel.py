from __future__ import annotations

import copy

import pytest
import torch
from ignite.engine import Events
from torch import distributed

from shared_components.errors import InputError
from shared_components.handlers.parallel import SharedUpdates, average_gradients
from tests.handlers.engines import trainer


@pytest.fixture
def two_processes(monkeypatch):
    """This process is one of two; of the other it is told that all it sends is 3 everywhere."""
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: tensor.add_(3.0))
    monkeypatch.setattr(distributed, "broadcast", lambda tensor, src: tensor.fill_(3.0))
    monkeypatch.setattr(distributed, "all_gather", lambda found, here: [each.copy_(here) for each in found])


def test_gradients_become_their_mean_and_absent_ones_stay_absent(two_processes):
    used, unused = torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(3))
    used.grad = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    average_gradients(torch.optim.SGD([used, unused], lr=1.0))
    assert used.grad.tolist() == [[2.0, 2.5], [3.0, 3.5]] and unused.grad is None


def test_every_step_takes_the_mean_gradient(two_processes):
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    SharedUpdates(torch.nn.Module(), [optimizer])
    parameter.grad = torch.tensor([5.0])
    optimizer.step()
    assert parameter.item() == 1.0 - (5.0 + 3.0) / 2


def test_training_starts_from_the_first_processs_weights(two_processes):
    engine = trainer(max_epochs=1)
    SharedUpdates(engine.network, []).attach(engine)
    engine.optimizer.param_groups[0]["lr"] = 0.0
    engine.run()
    assert [tensor.unique().tolist() for tensor in engine.network.state_dict().values()] == [[3.0], [3.0]]


def test_checkpoints_of_different_moments_are_refused_by_all(two_processes, monkeypatch):
    engine = trainer(max_epochs=2)
    SharedUpdates(engine.network, []).attach(engine)
    monkeypatch.setattr(distributed, "all_gather", lambda found, here: found[1].copy_(here + 4))
    before = copy.deepcopy(engine.network.state_dict())
    told = "after one and the same update, found update 0 of process 0, 4 of process 1; start over"
    with pytest.raises(InputError, match=told):
        engine.run()
    assert all(torch.equal(before[name], tensor) for name, tensor in engine.network.state_dict().items())


def test_a_checkpoint_of_more_processes_is_refused(two_processes):
    updates = SharedUpdates(torch.nn.Module(), [])
    assert updates.state_dict() == {"processes": 2}
    updates.load_state_dict({"processes": 2})
    with pytest.raises(
        InputError, match=r"expected as many processes as they are of \(4\), found 2; start as many"
    ):
        updates.load_state_dict({"processes": 4})


def test_running_statistics_are_the_mean_of_all_processes(two_processes):
    engine = trainer(max_epochs=1)
    engine.network = torch.nn.Sequential(
        torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2, track_running_stats=False)
    )
    engine.network[0].running_mean.fill_(1.0)
    updates = SharedUpdates(engine.network, [])
    updates.attach(engine)
    engine.fire_event(Events.ITERATION_COMPLETED)
    assert engine.network[0].running_mean.tolist() == [2.0, 2.0] == engine.network[0].running_var.tolist()
