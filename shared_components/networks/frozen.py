"""A network that is part of another one and never trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


class Frozen(nn.Module):
    """Holds a network that is the same wherever it is built, from a seed or a file.

    It follows its owner to a device, stays in evaluation mode and lets gradients through to its inputs. It is no child
    of an owner, whose ``parameters()``, ``state_dict()``, ``train()`` and ``requires_grad_()`` do not reach it: it is
    in no optimiser, checkpoint or exchange.

    Args:
        network: to hold; changed to what is said above.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._held = (network.eval().requires_grad_(False),)

    @property
    def network(self) -> nn.Module:
        """The network itself."""
        return self._held[0]

    def forward(self, *inputs: Any) -> Any:
        return self.network(*inputs)

    def _apply(self, fn: Callable, *further: Any) -> Frozen:
        """``to()`` and its like, in the held network too."""
        self.network._apply(fn, *further)
        return super()._apply(fn, *further)
