"""Labels that a frozen network gives to slices without labels, for another one to learn from."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from shared_components.networks.flips import Scores, mirrored_scores

MEMORY = 2**28  # bytes of labels that are remembered


@torch.no_grad()
def pseudo_labels(
    network: Scores, image: Tensor, confidence: float = 0.0, agreement: bool = False, axis: int = 0
) -> Tensor:
    """Labels (B, 1, H, W) that ``network`` gives ``image`` (B, 1, H, W), -1 where it is unsure.

    Args:
        network: image to class scores (B, C, H, W).
        image: slices.
        confidence: a label of smaller probability is left out.
        agreement: so is one that the mirror image does not get.
        axis: in-plane axis of the mirror.
    """
    probability, label = torch.softmax(network(image).float(), dim=1).max(dim=1, keepdim=True)
    sure = probability >= confidence
    if agreement:
        sure &= mirrored_scores(network, image, [axis]).argmax(dim=1, keepdim=True) == label
    return label.masked_fill(~sure, -1)


class LabelMemory:
    """Labels of slices by a frozen network, each found once as long as the network's tensors stay as they are.

    Each slice is labelled by itself, so that its labels depend neither on the others of a batch nor on when they are
    asked for: a training that goes on after a stop gets the same.

    Args:
        network: whose labels they are.
        find: slices (B, 1, H, W) to labels (B, 1, H, W), int64, by the network.
        most: bytes of labels to remember; those of further slices are found anew each time.
    """

    def __init__(self, network: nn.Module, find: Callable[[Tensor], Tensor], most: int = MEMORY) -> None:
        self.network, self.find, self.most = network, find, most
        self._labels: dict[int, Tensor] = {}
        self._bytes = 0
        self._version = 0

    def __call__(self, image: Tensor, index: Tensor) -> Tensor:
        """Labels (B, 1, H, W), int64.

        Args:
            image: slices (B, 1, H, W).
            index: (B,) integers that tell the slices apart, best on the CPU, so that nothing waits for the device.
        """
        self._forget_if_changed()
        return torch.cat(
            [self._label(one, key) for one, key in zip(image.split(1), index.tolist(), strict=True)]
        )

    def _label(self, image: Tensor, key: int) -> Tensor:
        if key in self._labels:
            return self._labels[key].long()
        label = self.find(image)
        kept = label.to(torch.int16)
        if self._bytes + kept.nbytes <= self.most:
            self._labels[key] = kept
            self._bytes += kept.nbytes
        return label

    def _forget_if_changed(self) -> None:
        """Torch counts how often a tensor has been written to."""
        tensors = (*self.network.parameters(), *self.network.buffers())
        version = sum(tensor._version for tensor in tensors)
        if version != self._version:
            self._labels.clear()
            self._bytes, self._version = 0, version


class FrozenTeacher(nn.Module):
    """Labels slices as the pupil did when the teacher was last renewed; before that it has nothing to say.

    Labels from the network that is being trained would confirm its own errors until they fill the image; frozen
    ones do not move.

    Args:
        pupil: image (B, 1, H, W) to class scores (B, C, H, W).
    """

    def __init__(self, pupil: nn.Module) -> None:
        super().__init__()
        object.__setattr__(self, "_pupil", pupil)  # no child: its tensors are not the teacher's
        self.network = copy.deepcopy(pupil).requires_grad_(False).eval()
        self.memory = LabelMemory(self.network, partial(pseudo_labels, self.network))
        self.register_buffer("ready", torch.tensor(False))

    def renew(self) -> None:
        """Freeze the pupil as it is now."""
        self.network.load_state_dict(self._pupil.state_dict())
        self.ready.fill_(True)

    def forward(self, image: Tensor, index: Tensor) -> Tensor:
        """``image`` (B, 1, H, W) to labels (B, 1, H, W), int64; ``index`` (B,) tells the slices apart."""
        self.network.eval()
        return self.memory(image, index)
