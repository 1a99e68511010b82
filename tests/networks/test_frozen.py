"""What is held is in nobody's state or optimiser, follows to devices and lets gradients through to its input."""

from __future__ import annotations

import copy

import torch
from torch import nn

from shared_components.networks.frozen import Frozen


def owner() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), Frozen(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))))


def test_an_owners_state_parameters_and_modes_do_not_reach_it():
    network = owner().train().requires_grad_(True)
    held = network[1].network
    assert set(network.state_dict()) == {"0.weight", "0.bias"} == {n for n, _ in network.named_parameters()}
    assert not held.training and not any(p.requires_grad for p in held.parameters())
    network(torch.randn(4, 3)).sum().backward()
    assert network[0].weight.grad.abs().sum() > 0 and held[0].weight.grad is None


def test_it_follows_its_owner_and_its_copies():
    network = owner()
    copied = copy.deepcopy(network)
    network.double()
    assert network[1].network[0].weight.dtype == torch.float64
    assert copied[1].network[0].weight.dtype == torch.float32
    assert network.to("meta")[1].network[0].weight.is_meta
