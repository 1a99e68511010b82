"""A teacher does not move with its pupil."""

from __future__ import annotations

import torch
from torch import nn

from shared_components.networks.teacher import FrozenTeacher


def pupil() -> nn.Conv2d:
    return nn.Conv2d(1, 3, 1)


def test_it_labels_as_the_pupil_did_when_it_was_renewed():
    network, image = pupil(), torch.randn(2, 1, 4, 4)
    teacher = FrozenTeacher(network)
    assert not teacher.ready
    network.weight.data.normal_()
    teacher.renew()
    expected = network(image).argmax(1, keepdim=True)
    network.weight.data.neg_()
    network.bias.data.normal_()
    assert teacher.ready
    assert torch.equal(teacher(image), expected)
    assert teacher(image).shape == (2, 1, 4, 4)


def test_its_state_is_its_own_and_comes_back(tmp_path):
    teacher = FrozenTeacher(pupil())
    teacher.renew()
    torch.save(teacher.state_dict(), tmp_path / "teacher.pt")
    other = FrozenTeacher(pupil())
    other.load_state_dict(torch.load(tmp_path / "teacher.pt", weights_only=True))
    image = torch.randn(1, 1, 4, 4)
    assert other.ready
    assert torch.equal(other(image), teacher(image))
    assert set(teacher.state_dict()) == {"network.weight", "network.bias", "ready"}
    assert not any(p.requires_grad for p in teacher.parameters())
