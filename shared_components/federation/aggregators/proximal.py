"""Aggregators that average as FedAvg does and change what happens at the clients: FedProx and FedBN."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from shared_components.errors import InputError
from shared_components.federation.aggregators.averaging import FedAvg

NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
    nn.GroupNorm, nn.LayerNorm, nn.RMSNorm,
)  # fmt: skip


class FedProx(FedAvg):
    r"""FedAvg whose clients minimise :math:`F_c(w) + \tfrac{\mu}{2}\lVert w - w_\text{global}\rVert^2`.

    The gradient :math:`\mu\,(w - w_\text{global})` of the second term is added to each exchanged parameter's
    gradient right before every step of its optimiser, after any clipping. A parameter without a gradient takes no
    part in the step and gets none; with mu = 0 nothing at all differs from FedAvg.

    Args:
        mu: weight of the term; 0.001 to 1 in the paper.
    Raises:
        InputError: mu is negative or not finite.
    Source: Li et al. 2020, Federated Optimization in Heterogeneous Networks, Algorithm 2.
    """

    def __init__(self, mu: float = 0.01) -> None:
        if not (isinstance(mu, int | float) and math.isfinite(mu) and mu >= 0):
            raise InputError(f"aggregator: 'mu' must be a number from 0 up, found {mu!r}")
        self.mu = mu

    def local_training(
        self, optimizers: Iterable[Optimizer], parameters: Iterable[nn.Parameter]
    ) -> AbstractContextManager[None]:
        return self._pulled(optimizers, parameters) if self.mu else nullcontext()

    @contextlib.contextmanager
    def _pulled(self, optimizers: Iterable[Optimizer], parameters: Iterable[nn.Parameter]) -> Iterator[None]:
        pull = _Pull(self.mu, {parameter: parameter.detach().clone() for parameter in parameters})
        handles = [optimizer.register_step_pre_hook(pull) for optimizer in optimizers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


class FedBN(FedProx):
    """Averages everything but normalisation layers, whose parameters and statistics each client keeps.

    A client's model is the averaged rest with the client's own layers, so each client exports one; there is none
    for clients outside the federation.

    Args:
        mu: weight of FedProx's term on the averaged parameters; 0: none.
    Source: Li et al. 2021, FedBN: Federated Learning on Non-IID Features via Local Batch Normalization.
    Deviation: instance, group and layer norm are kept as batch norm is.
    """

    personal = True

    def __init__(self, mu: float = 0.0) -> None:
        super().__init__(mu)

    def private_names(self, network: nn.Module) -> set[str]:
        """Names of the tensors of normalisation layers.

        Raises:
            InputError: there is none.
        """
        layers = [(name, module) for name, module in network.named_modules() if isinstance(module, NORMS)]
        names = {f"{name}.{key}" for name, module in layers for key in module.state_dict()}
        if not names:
            raise InputError(
                f"aggregator: FedBN keeps the tensors of normalisation layers, of which {type(network).__name__} "
                "has none; use FedAvg, or norms that learn (batch, or instance with affine: true)"
            )
        return names


class _Pull:
    """Hook before an optimiser's step that adds the gradient of the proximal term."""

    def __init__(self, mu: float, anchors: Mapping[nn.Parameter, Tensor]) -> None:
        self._mu, self._anchors = mu, anchors

    @torch.no_grad()
    def __call__(self, optimizer: Optimizer, args: tuple, kwargs: dict[str, Any]) -> None:
        if len(args) > 1 or kwargs.get("closure") is not None:
            raise InputError(
                f"aggregator: FedProx cannot steer {type(optimizer).__name__}, which computes gradients inside "
                "its step; use an optimiser such as Adam or SGD, or FedAvg"
            )
        scale = getattr(optimizer, "grad_scale", None)  # mixed precision: a fused step divides by it
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter in self._anchors:
                    term = self._mu * (parameter - self._anchors[parameter])
                    # a new tensor: gradients that a trainer made itself may share memory
                    parameter.grad = parameter.grad + (term if scale is None else term * scale)
