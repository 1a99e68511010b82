"""The random state as a checkpoint entry."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


class RandomState:
    """Saves and restores the states of torch (CPU and CUDA), NumPy and Python.

    Put it in a checkpoint beside networks and optimisers, so that a resumed run draws what an unbroken one
    would have drawn. All training code here draws from torch's global generator.
    """

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain numbers only, loadable with ``weights_only=True``."""
        name, keys, position, has_gauss, gauss = np.random.get_state()
        version, internal, gauss_next = random.getstate()
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [
                name,
                torch.from_numpy(keys.astype(np.int64)),
                int(position),
                int(has_gauss),
                float(gauss),
            ],
            "python": [version, torch.tensor(internal, dtype=torch.int64), gauss_next],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        torch.set_rng_state(state["torch"].cpu())
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
        name, keys, position, has_gauss, gauss = state["numpy"]
        np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
        version, internal, gauss_next = state["python"]
        random.setstate((version, tuple(internal.tolist()), gauss_next))
