"""What named tensors must be before they are written, or before a network is filled with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, distributed

WIDENED = {  # stored type: those of a network that hold each of its values exactly
    torch.float16: (torch.float32, torch.float64),
    torch.bfloat16: (torch.float32, torch.float64),
    torch.float32: (torch.float64,),
}
MOST_REPEATED = 2**26
"""Bytes: as large a tensor of few values, such as an expanded buffer, is taken from a file."""


def summed(tensor: Tensor) -> Tensor:
    """The sum over all processes of one training (``multi_gpu.yaml``); the tensor itself where there is but one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return tensor
    total = tensor.clone()
    distributed.all_reduce(total)
    return total


def names_below(names: Iterable[str], module: str) -> list[str]:
    """Of dotted names those in a module, or of the tensor of that name; all of them in ``""``."""
    return [name for name in names if not module or name == module or name.startswith(f"{module}.")]


def not_finite(content: Any) -> str | None:
    """The dotted name of the first tensor that holds NaN or infinite values, None where none does.

    Args:
        content: a tensor, or dicts, lists and tuples of tensors and anything else, nested in any way.
    """
    return next((name for name, tensor in _tensors_in(content) if not _is_finite(tensor)), None)


def not_dense(content: Any) -> str | None:
    """What a first tensor is that no file of ours holds, and that may not even be looked at, in words; None if none is.

    The indices of a sparse one may lie outside of it, and one that repeats a few values, as after ``expand``, may be
    as large as it likes.

    Args:
        content: as of :func:`not_finite`.
    """
    for name, tensor in _tensors_in(content):
        if tensor.layout != torch.strided or tensor.is_nested:
            return f"'{name}' is a {'nested' if tensor.is_nested else 'sparse'} tensor"
        size = tensor.numel() * tensor.itemsize
        if size > max(tensor.untyped_storage().nbytes(), MOST_REPEATED):
            return f"'{name}' is {_described(tensor)}, of few values that are repeated"
    return None


def _tensors_in(content: Any) -> Iterator[tuple[str, Tensor]]:
    """Every tensor with its dotted name."""
    waiting, seen = [("", content)], set()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:
            seen.add(id(value))  # a file may hold a list within itself
            children = value.items() if isinstance(value, Mapping) else enumerate(value)
            waiting += reversed([(f"{name}.{key}" if name else str(key), child) for key, child in children])


def _is_finite(tensor: Tensor) -> bool:
    if tensor.is_meta or not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.itemsize == 1:  # the 8-bit floats, which know no isfinite
        tensor = tensor.float()
    return bool(torch.isfinite(tensor).all())


def misfit(expected: Mapping[str, Tensor], found: Mapping[str, Any]) -> str | None:
    """Why a network's tensors cannot be those of a file, in words; None where they can.

    Names and shapes must be the same. So must types, since ``copy_`` casts whatever it gets: eight bits for a weight
    or a complex number would be cut in silence. Floats of 16 bits are taken for a network of 32, which holds each of
    their values exactly, and floats of 32 for one of 64; nothing else is.

    Args:
        expected: the network's ``state_dict``.
        found: what the file holds in its place.
    """
    for name in [*expected, *found]:
        fault = _fault(expected.get(name), found.get(name))
        if fault:
            wanted = _described(expected[name]) if name in expected else "none"
            return f"'{name}': expected {wanted}, found {fault}"
    bad = not_finite(found)
    return f"'{bad}' holds NaN or infinite values" if bad else None


def _fault(wanted: Tensor | None, value: Any) -> str | None:
    """What was found, if it cannot take the place of ``wanted``."""
    if not isinstance(value, Tensor):
        return "none" if value is None else type(value).__name__
    if wanted is None or value.shape != wanted.shape:
        return _described(value)
    if value.dtype != wanted.dtype and wanted.dtype not in WIDENED.get(value.dtype, ()):
        return _described(value)
    if value.layout != torch.strided or value.is_meta:
        return "a tensor without values" if value.is_meta else "a sparse tensor"
    return None


def _described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
