"""What travels between clients and coordinator: weights or differences, in which floating type.

The section ``exchange`` of a federation file, all of it optional::

    exchange:
      what: differences    # how far a client's weights moved in the round; or weights: the weights themselves
      dtype: float16       # what goes up; or float32
      down: float16        # the global weights that go down; or float32

These are the defaults: half of the bytes of float32. With ``what: weights`` they travel as they are, in both
directions, so that a round of one client is plain training bit for bit. Aggregators see weights in any case:
:meth:`Exchange.incoming` puts differences back onto the global weights.

A type is never widened, only narrowed; integer and boolean buffers travel as they are. How weights w come back that
a round made of the global weights g:

* ``differences`` alone: exactly where w lies between g / 2 and 2 g; else w - g and the sum are rounded once each, to
  3 / 2^24 of the larger of them for float32.
* ``float16``: the difference d comes back within d / 2048, or 2^-25 where it is below 6e-5. A difference above 65504,
  which float16 does not hold, is refused at the client: such a training has diverged.
* ``down: float16``: clients begin the round with weights rounded to 11 bits. What they send is the difference from
  these, which the coordinator adds to the weights that it keeps unrounded, so the rounding does not accumulate.

``float16`` in either direction and noise (see ``privacy.py``) are for differences: rounding the weights themselves
would lose every small step of the training.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from shared_components.errors import InputError
from shared_components.federation.aggregators.aggregation import NamedTensors, check_same_layout
from shared_components.federation.privacy import Privacy
from shared_components.federation.section import Section
from shared_components.value_rules import choice, optional

WEIGHTS, DIFFERENCES = "weights", "differences"
TYPES = {"float32": torch.float32, "float16": torch.float16}
RULES = {
    "what": optional(choice(WEIGHTS, DIFFERENCES)),
    "dtype": optional(choice(*TYPES)),
    "down": optional(choice(*TYPES)),
}


@dataclass(frozen=True)
class Exchange:
    """What travels, in which type.

    Attributes:
        what: ``weights`` or ``differences``, at the end of a round, from client to coordinator.
        dtype: the widest floating type of what goes up; None: each tensor's own.
        down: the widest floating type of the global weights that go down; None: each tensor's own.
    """

    what: str = WEIGHTS
    dtype: str | None = None
    down: str | None = None

    def up_type(self, dtype: torch.dtype) -> torch.dtype:
        """The type in which a tensor of ``dtype`` goes up."""
        return _narrowed(dtype, self.dtype)

    def down_type(self, dtype: torch.dtype) -> torch.dtype:
        """The type in which a tensor of ``dtype`` goes down."""
        return _narrowed(dtype, self.down)

    def broadcast(self, weights: NamedTensors) -> dict[str, Tensor]:
        """The global ``weights`` as they go down.

        Raises:
            InputError: a weight has no finite value in the type of the wire.
        """
        return {name: _cast(tensor, self.down_type(tensor.dtype), name) for name, tensor in weights.items()}

    def received(self, tensors: NamedTensors, own: NamedTensors) -> dict[str, Tensor]:
        """The weights with which a client begins a round, in its own types.

        Args:
            tensors: name -> tensor, from :meth:`broadcast`.
            own: name -> tensor, the client's own exchanged tensors.
        Raises:
            InputError: a name, shape or type is not that of what is expected.
        """
        expected = {name: _like(tensor, self.down_type(tensor.dtype)) for name, tensor in own.items()}
        check_same_layout(expected, tensors, reference="its bundle", found="the global model")
        return {name: tensors[name].to(tensor.dtype) for name, tensor in own.items()}

    def outgoing(
        self,
        weights: NamedTensors,
        begun: NamedTensors,
        privacy: Privacy | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> dict[str, Tensor]:
        """What a client sends after its round.

        Args:
            weights: name -> tensor, after the round.
            begun: name -> tensor, with which the round began, from :meth:`received`.
            privacy: clips and disturbs the difference before anything leaves; integer buffers, which noise cannot
                disturb, stay what they were where there is noise.
            entropy: number -> that many random bytes, for ``privacy``.
        Raises:
            InputError: a difference has no finite value in the type of the wire.
        """
        if self.what == DIFFERENCES:
            floats = differences(weights, begun)
        else:
            floats = {name: tensor for name, tensor in weights.items() if _is_float(tensor)}
        if privacy is not None:
            floats = privacy.protect(floats, entropy)
        whole = begun if privacy is not None and privacy.noise else weights
        sent = {name: floats.get(name, whole[name]) for name in weights}
        return {name: _cast(tensor, self.up_type(tensor.dtype), name) for name, tensor in sent.items()}

    def incoming(self, tensors: NamedTensors, global_weights: NamedTensors, client: str) -> dict[str, Tensor]:
        """The weights that a client ended its round with, as aggregators take them.

        Args:
            tensors: name -> tensor, from :meth:`outgoing`.
            global_weights: name -> tensor, as the coordinator keeps them.
            client: who sent them, for the message.
        Raises:
            InputError: a name, shape or type is not that of what is expected.
        """
        expected = {
            name: _like(tensor, self.up_type(tensor.dtype)) for name, tensor in global_weights.items()
        }
        check_same_layout(expected, tensors, reference="the global model", found=f"client {client}")
        weights = {name: tensors[name].to(tensor.dtype) for name, tensor in global_weights.items()}
        if self.what == WEIGHTS:
            return weights
        return {
            name: global_weights[name] + tensor if _is_float(tensor) else tensor
            for name, tensor in weights.items()
        }

    def bytes_up(self, weights: NamedTensors) -> int:
        """Bytes that a client sends in a round, of tensors laid out as ``weights``."""
        return sum(tensor.numel() * self.up_type(tensor.dtype).itemsize for tensor in weights.values())

    def bytes_down(self, weights: NamedTensors) -> int:
        """Bytes that a client receives in a round, of tensors laid out as ``weights``."""
        return sum(tensor.numel() * self.down_type(tensor.dtype).itemsize for tensor in weights.values())


def differences(weights: NamedTensors, begun: NamedTensors) -> dict[str, Tensor]:
    """How far the floating tensors of ``weights`` are from ``begun``: name -> tensor.

    Raises:
        InputError: a name, shape or type differs, which a subtraction alone might hide.
    """
    check_same_layout(begun, weights, reference="the global model", found="its network")
    return {name: tensor - begun[name] for name, tensor in weights.items() if _is_float(tensor)}


def read_exchange(section: Section, privacy: Privacy | None) -> Exchange:
    """The section ``exchange`` of a federation file.

    Args:
        section: as it was written.
        privacy: what the section ``privacy`` says.
    """
    given = section.ruled(RULES)
    if given is None:
        return Exchange()
    reasons = [f"'{key}: float16'" for key in ("dtype", "down") if given[key] == "float16"]
    reasons += ["'privacy'"] if privacy is not None else []
    if reasons and given["what"] == WEIGHTS:
        section.faults.append(
            f"exchange: 'what: weights' and {reasons[0]} do not go together, which needs differences; "
            "leave 'what' out, or set it to differences"
        )
    what = given["what"] or DIFFERENCES
    usual = None if what == WEIGHTS else "float16"
    exchange = Exchange(what, given["dtype"] or usual, given["down"] or usual)
    if privacy is not None and exchange.dtype == "float16":
        section.faults += privacy.overflow_faults(torch.finfo(torch.float16).max)
    return exchange


def _narrowed(dtype: torch.dtype, wire: str | None) -> torch.dtype:
    if wire is None or not dtype.is_floating_point or TYPES[wire].itemsize >= dtype.itemsize:
        return dtype
    return TYPES[wire]


def _is_float(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _like(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor of that shape and ``dtype`` without values."""
    return torch.empty(tensor.shape, dtype=dtype, device="meta")


def _cast(tensor: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    if tensor.dtype == dtype:
        return tensor
    if tensor.numel() and float(tensor.abs().max()) > torch.finfo(dtype).max:
        kind = str(dtype).removeprefix("torch.")
        raise InputError(
            f"exchange: '{name}' holds {float(tensor.abs().max()):.3g}, beyond {kind}; the training diverged: lower "
            "its learning rate, or set 'exchange: {dtype: float32, down: float32}'"
        )
    return tensor.to(dtype)
