"""Finds what an update would wait for on an accelerator."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Reads(TorchDispatchMode):
    """Collects the operations that hand a tensor's value to the host, for which an accelerator would be waited."""

    WAIT = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "_unique2", "equal", "allclose")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.__name__.split(".")[0]
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        if name in self.WAIT or any(i is not None and i.dtype == torch.bool for i in indices):
            self.found.append(name)
        return operation(*args, **(kwargs or {}))
