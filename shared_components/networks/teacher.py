"""A frozen copy of a segmentation network, whose labels of unlabelled slices train the original on."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


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
        self.register_buffer("ready", torch.tensor(False))

    def renew(self) -> None:
        """Freeze the pupil as it is now."""
        self.network.load_state_dict(self._pupil.state_dict())
        self.ready.fill_(True)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """``image`` (B, 1, H, W) to labels (B, 1, H, W), int64."""
        return self.network.eval()(image).argmax(dim=1, keepdim=True)
