"""State of networks, optimisers, random generators and all else that has a ``load_state_dict``: kept and put back."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from shared_components.errors import InputError
from shared_components.networks.weights import filled

UNFIT = (RuntimeError, ValueError, LookupError, TypeError, AttributeError)  # of load_state_dict


def restore(
    objects: Mapping[str, Any], states: Mapping[str, Any], path: str | os.PathLike, cure: str
) -> None:
    """Load each object's state, and refuse what does not fit.

    Args:
        objects: name -> object with ``load_state_dict``.
        states: what the file holds under each name.
        path: the file, for the message.
        cure: what to do about a state that does not fit, for the message.
    Raises:
        InputError: a state is missing, or is of another configuration.
    """
    for name, value in objects.items():
        if name not in states:
            raise InputError(
                f"{path}: expected the state of '{name}', found {sorted(map(str, states))[:8]}; {cure}"
            )
        if isinstance(value, nn.Module):
            filled(value, states[name], path)
            continue
        try:
            value.load_state_dict(states[name])
            fits = not isinstance(value, Optimizer) or _is_of_its_parameters(value, states[name])
        except InputError:
            raise
        except UNFIT as error:
            raise InputError(_misfit(path, name, cure)) from error
        if not fits:
            raise InputError(_misfit(path, name, cure))


def _misfit(path: str | os.PathLike, name: str, cure: str) -> str:
    return f"{path}: expected the state of '{name}' in this configuration, found that of another one; {cure}"


def _is_of_its_parameters(optimizer: Optimizer, saved: Mapping[str, Any]) -> bool:
    """Whether moments have their parameters' shapes and were stored as floats; torch looks at neither."""
    stored = (value for state in saved["state"].values() for value in state.values())
    return all(v.is_floating_point() for v in stored if isinstance(v, Tensor)) and all(
        value.shape in (parameter.shape, ())
        for parameter, state in optimizer.state.items()
        for value in state.values()
        if isinstance(value, Tensor)
    )


class RandomState:
    """Saves and restores the states of torch (CPU and CUDA), NumPy and Python; of GPUs as many as there are.

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
        for device, saved in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(saved.cpu(), device)
        name, keys, position, has_gauss, gauss = state["numpy"]
        np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
        version, internal, gauss_next = state["python"]
        random.setstate((version, tuple(internal.tolist()), gauss_next))
