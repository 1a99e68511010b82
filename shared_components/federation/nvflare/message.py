"""What server and site tell each other: plain values, tensors and whole files, and nothing that is unpickled.

``Work`` and ``Done`` are the same as they go between a job's process at a site and the worker process in which the
client lives.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from shared_components.errors import InputError, printable, shown

if TYPE_CHECKING:
    from nvflare.app_common.abstract.fl_model import FLModel

from collections.abc import Sequence
from pathlib import Path

TENSOR, FILE = "tensor ", "file "  # what the names of parameters begin with
NAME = r"[\w][\w.-]{0,99}"  # of a file: no folder, nothing hidden
LONGEST_TEXT = 100_000  # letters, of a text among the values
LARGEST_INTEGER = 2**63
DEEPEST = 8  # levels of lists and tables among the values


@dataclass(frozen=True)
class Message:
    """A task's request or a client's answer.

    Attributes:
        values: names to numbers, texts, and lists and tables of them.
        tensors: names to tensors on the CPU.
        files: plain names to the files' content.
        failure: why an answer holds nothing else, in one line.
        timeout: seconds that the work may take at the site; None: as long as it needs.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    failure: str | None = None
    timeout: float | None = None

    def model(self) -> FLModel:
        """As NVFlare carries it: tensors travel as safetensors, and so do files, as bytes."""
        from nvflare.app_common.abstract.fl_model import FLModel, ParamsType

        tensors = {f"{TENSOR}{name}": tensor.detach().contiguous() for name, tensor in self.tensors.items()}
        files = {f"{FILE}{name}": _as_tensor(content) for name, content in self.files.items()}
        meta = {"values": dict(self.values), "failure": self.failure, "timeout": self.timeout}
        return FLModel(params={**tensors, **files}, params_type=ParamsType.FULL, meta=meta)


def read_message(model: FLModel) -> Message:
    """The message in what has come from another machine.

    Raises:
        InputError: it is none.
    """
    meta, params = model.meta or {}, model.params or {}
    values, failure, timeout = (meta.get(key) for key in ("values", "failure", "timeout"))
    if not isinstance(values, dict) or not _is_plain(values):
        raise InputError(f"expected names and plain values, found {shown(values)}")
    if failure is not None and not isinstance(failure, str):
        raise InputError(f"expected a failure in words, found {shown(failure)}")
    if timeout is not None and not _is_plain(timeout):
        raise InputError(f"expected a number of seconds, found {shown(timeout)}")
    tensors, files = {}, {}
    for name, tensor in params.items():
        if not isinstance(tensor, Tensor):
            raise InputError(f"{shown(name)}: expected a tensor, found {type(tensor).__name__}")
        if isinstance(name, str) and name.startswith(TENSOR):
            tensors[name.removeprefix(TENSOR)] = tensor
        else:
            file = _file_name(name)
            files[file] = _as_bytes(name, tensor)
    return Message(values, tensors, files, None if failure is None else printable(failure, 2000), timeout)


def _as_tensor(content: bytes) -> Tensor:
    return (
        torch.frombuffer(bytearray(content), dtype=torch.uint8)
        if content
        else torch.empty(0, dtype=torch.uint8)
    )


def _as_bytes(name: str, tensor: Tensor) -> bytes:
    if tensor.dtype != torch.uint8 or tensor.ndim != 1:
        raise InputError(f"{shown(name)}: expected bytes, found {tuple(tensor.shape)} {tensor.dtype}")
    return tensor.numpy().tobytes()


def _file_name(name: Any) -> str:
    plain = name.removeprefix(FILE) if isinstance(name, str) else ""
    if not isinstance(name, str) or not name.startswith(FILE) or not re.fullmatch(NAME, plain):
        raise InputError(f"expected the name of a tensor or of a file, found {shown(name)}")
    return plain


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a value is made of texts, finite or other numbers, booleans, None, and lists and tables of them."""
    if isinstance(value, dict):
        parts = [*value.values()]
        if not all(isinstance(key, str) and len(key) <= LONGEST_TEXT for key in value):
            return False
    elif isinstance(value, list | tuple):
        parts = [*value]
    else:
        return value is None or _is_number(value) or _is_short(value)
    return depth < DEEPEST and all(_is_plain(part, depth + 1) for part in parts)


def _is_number(value: Any) -> bool:
    """Whether it is a number that float64 reaches; an integer of a thousand digits is not."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= LARGEST_INTEGER)


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Values that must all be finite numbers, none of them negative where ``images`` or ``seconds`` are meant.

    Raises:
        InputError: one is not.
    """
    for name, value in values.items():
        if not isinstance(value, int | float):
            raise InputError(f"'{name}': expected a number, found {shown(value)}")
        if name in ("images", "seconds") and not (math.isfinite(value) and value >= 0):
            raise InputError(f"'{name}': expected a number from 0 up, found {shown(value)}")
    return dict(values)


@dataclass(frozen=True)
class Work:
    """What is asked of a site.

    Attributes:
        values: plain values.
        tensors_file: named tensors, as ``{"model": …}``; it is there if any came.
        files: plain name to where the file lies.
        folder: for what goes back.
    """

    values: Mapping[str, Any]
    tensors_file: Path
    files: dict[str, Path]
    folder: Path


@dataclass(frozen=True)
class Done:
    """What a site gives back.

    Attributes:
        values: plain values.
        tensors_file: named tensors, as :func:`to_blocks` of ``aggregation`` writes them; or None.
        files: to be sent as they are, under their names.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    tensors_file: Path | None = None
    files: Sequence[Path] = ()
