"""Fixed features are the same for the same seed or file, at several scales that count alike."""

from __future__ import annotations

import copy

import pytest
import torch
from monai.networks.nets.resnet import ResNetFeatures
from safetensors.torch import save_file
from torch import nn

from shared_components.errors import InputError
from shared_components.files import save_tensors
from shared_components.networks.frozen_features import Frozen, FrozenFeatures

IMAGES = torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


def resnet(seed: int) -> ResNetFeatures:
    torch.manual_seed(seed)
    return ResNetFeatures("resnet10", pretrained=False, spatial_dims=2).eval()


@pytest.mark.parametrize(("size", "sizes"), [(24, (12, 6, 3)), (48, (24, 12, 6, 3)), (160, (40, 20, 10, 5))])
def test_scales_are_the_coarsest_of_at_least_3_px(size, sizes):
    features = FrozenFeatures(size, channels=4)
    assert features.sizes == sizes
    found = features(torch.zeros(1, 1, size, size))
    assert [tuple(each.shape) for each in found] == [(1, 4, s, s) for s in sizes]


def test_one_seed_gives_the_same_features_whatever_was_drawn_before_and_draws_nothing_itself():
    one = FrozenFeatures(24, channels=4)
    torch.rand(3)
    before = torch.get_rng_state()
    other = FrozenFeatures(24, channels=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one(IMAGES), other(IMAGES), strict=True))
    assert one.fingerprint == other.fingerprint
    third = FrozenFeatures(24, channels=4, seed=1)
    assert third.fingerprint != one.fingerprint
    assert not torch.allclose(third(IMAGES)[0], one(IMAGES)[0], atol=1e-2)


def test_scales_count_alike():
    with torch.no_grad():
        spreads = [float(each.square().mean().sqrt()) for each in FrozenFeatures(24, channels=16)(IMAGES)]
    assert max(spreads) < 3 * min(spreads) and 0.2 < min(spreads) < 2


def test_weights_of_a_file_are_those_of_the_network(tmp_path):
    given = resnet(5)
    torch_file = save_tensors(tmp_path / "weights.pt", {"state_dict": given.state_dict()})
    save_file({k: v.contiguous() for k, v in given.state_dict().items()}, tmp_path / "weights.safetensors")
    made = [FrozenFeatures(24, channels=4, path=p) for p in (torch_file, tmp_path / "weights.safetensors")]
    for features in made:
        assert torch.equal(features.network.layer1[0].conv1.weight, given.layer1[0].conv1.weight)
        assert all(torch.equal(a, b) for a, b in zip(made[0](IMAGES), features(IMAGES), strict=True))
    assert made[0].fingerprint == made[1].fingerprint != FrozenFeatures(24, channels=4).fingerprint


def test_files_that_do_not_fit_are_named(tmp_path):
    other = save_tensors(tmp_path / "other.pt", {"model": {"weight": torch.zeros(2)}})
    with pytest.raises(
        InputError, match=r"other.pt: its weights do not fit MONAI's resnet10 of 1 channels in 2-D"
    ):
        FrozenFeatures(24, path=other)
    nothing = save_tensors(tmp_path / "nothing.pt", {"epoch": 3})
    with pytest.raises(InputError, match=r"nothing.pt: expected named tensors, .* found \['epoch'\]"):
        FrozenFeatures(24, path=nothing)
    with pytest.raises(InputError, match=r"missing.safetensors: expected a file of safetensors"):
        FrozenFeatures(24, path=tmp_path / "missing.safetensors")


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
