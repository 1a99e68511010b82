from __future__ import annotations

import pytest
import torch
from torch import nn

from shared_components.networks.pseudo_labels import FrozenTeacher, LabelMemory, pseudo_labels
from tests.networks.test_flips import Lopsided, slices


def test_pseudo_labels_are_the_networks_and_leave_out_what_it_is_unsure_of():
    network, image = Lopsided(4.5), slices()
    assert torch.equal(pseudo_labels(network, image), network(image).argmax(1, keepdim=True))
    sure = pseudo_labels(network, image, confidence=0.9)  # 1 / (1 + exp(-0.5)) = 0.62 in the top rows
    assert bool((sure[:, :, :2] == -1).all()) and torch.equal(sure[0, 0, :, 0] >= 0, torch.arange(8) > 1)
    agreed = pseudo_labels(network, image, agreement=True)
    rows = agreed[0, 0, :, 0].tolist()
    assert rows == [-1, -1, 0, 1, 1, 0, -1, -1]


class Counted(nn.Conv2d):
    """Counts the slices that it is shown, and how many at a time."""

    def __init__(self) -> None:
        super().__init__(1, 3, 1)
        self.shown: list[int] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.shown.append(len(image))
        return super().forward(image)


def labels_of(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    return network(image).argmax(1, keepdim=True)


def test_each_slice_is_labelled_once_and_alone():
    network, image = Counted(), torch.randn(4, 1, 5, 5)
    expected = nn.Conv2d.forward(network, image).argmax(1, keepdim=True)
    memory = LabelMemory(network, lambda x: labels_of(network, x))
    for rows in ([2, 0], [0, 1, 2], [3, 3, 0]):
        found = memory(image[rows], torch.tensor(rows))
        assert found.dtype == torch.int64 and torch.equal(found, expected[rows])
    assert network.shown == [1] * 4


@pytest.mark.parametrize("change", ["load", "step", "average"])
def test_labels_of_a_network_that_has_changed_are_forgotten(change):
    network, image, index = Counted(), torch.randn(1, 1, 5, 5), torch.tensor([0])
    memory = LabelMemory(network, lambda x: labels_of(network, x))
    memory(image, index)
    if change == "load":
        network.load_state_dict(nn.Conv2d(1, 3, 1).state_dict())
    elif change == "step":
        network(image).sum().backward()
        torch.optim.Adam(network.parameters(), 1.0).step()
    else:
        with torch.no_grad():
            torch._foreach_neg_([tensor.detach() for tensor in network.parameters()])
    network.shown.clear()
    found = memory(image, index)
    assert network.shown == [1] and torch.equal(found, labels_of(network, image))


def test_what_goes_beyond_the_memory_is_found_anew():
    network, image = Counted(), torch.randn(3, 1, 5, 5)
    memory = LabelMemory(network, lambda x: labels_of(network, x), most=2 * 25 * 2)  # two slices of int16
    for _ in range(2):
        memory(image, torch.arange(3))
    assert len(network.shown) == 4


def pupil() -> nn.Conv2d:
    return nn.Conv2d(1, 3, 1)


def test_it_labels_as_the_pupil_did_when_it_was_renewed():
    network, image, index = pupil(), torch.randn(2, 1, 4, 4), torch.arange(2)
    teacher = FrozenTeacher(network)
    assert not teacher.ready
    for _ in range(2):
        network.weight.data.normal_()
        teacher.renew()
        expected = network(image).argmax(1, keepdim=True)
        network.weight.data.neg_()
        network.bias.data.normal_()
        assert teacher.ready
        assert torch.equal(teacher(image, index), expected)
        assert teacher(image, index).shape == (2, 1, 4, 4)


def test_its_state_is_its_own_and_comes_back(tmp_path):
    teacher = FrozenTeacher(pupil())
    teacher.renew()
    torch.save(teacher.state_dict(), tmp_path / "teacher.pt")
    other = FrozenTeacher(pupil())
    image, index = torch.randn(1, 1, 4, 4), torch.arange(1)
    other(image, index)
    other.load_state_dict(torch.load(tmp_path / "teacher.pt", weights_only=True))
    assert other.ready
    assert torch.equal(other(image, index), teacher(image, index))
    assert set(teacher.state_dict()) == {"network.weight", "network.bias", "ready"}
    assert not any(p.requires_grad for p in teacher.parameters())
