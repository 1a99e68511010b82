r"""Differential privacy of what a client sends in a round: the section ``privacy`` of a federation file. ::

    privacy:
      clip: 1.0        # the update's largest L2 norm, over all exchanged floating tensors
      noise: 0.8       # standard deviation of the noise on every coordinate, in multiples of clip; 0: none
      delta: 1.0e-5    # of (epsilon, delta)
      losses: false    # whether losses, which get no noise, leave the client all the same

**Mechanism.** At the client, before anything leaves, the difference :math:`d` between the weights after and before
the round is scaled to :math:`d\,\min(1, C / \lVert d\rVert_2)` and Gaussian noise of standard deviation
:math:`zC` is added to each coordinate (:math:`C` is ``clip``, :math:`z` is ``noise``). The noise is made from the
operating system's entropy, afresh each time: it follows from no seed, and a resumed run does not repeat it. With
noise a run is therefore not reproducible.

**What it protects.** A client's whole contribution to a round, so every image of it, against anyone who sees its
updates, the coordinator included: the chance of any outcome changes by at most a factor :math:`e^\varepsilon`, but
for :math:`\delta`, if the client's data are replaced by *any other data*. Two clipped updates lie at most
:math:`2C` apart, so one round is a Gaussian mechanism of sensitivity :math:`2C`, and n of them, each of which may
depend on those before, are one of noise multiplier :math:`z / (2\sqrt{n})`: exact, no bound. n counts the updates
that have left a client, those of rounds that were broken off and repeated included. Being drawn is public, so no
amplification by sampling is claimed.

**What it does not.** Everything else that leaves: the number of images, the seconds of a round, that the client
took part; losses if ``losses`` is true; and of a study, the source model, synthetic volumes, scores and statistics.
With noise, ``losses`` is false unless the file says otherwise. Clipping alone (``noise: 0``) bounds one client's
influence and gives no epsilon. The noise is a sum of floating-point numbers, drawn in float64 and rounded to the type
that is sent: attacks on its last bits (Mironov 2012) are not excluded by proof.

Sources: McMahan et al. 2018, Learning Differentially Private Recurrent Language Models (clipping whole updates);
Balle and Wang 2018 (epsilon of the Gaussian mechanism, exact); Dong, Roth and Su 2022, Corollary 2 (composition).
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from shared_components.errors import InputError
from shared_components.federation.aggregators.aggregation import PIECE, NamedTensors, l2_norm
from shared_components.federation.section import Section
from shared_components.value_rules import Rule, either, flag, number, optional

RULES = {
    "clip": number(0, 1e9, above=True),
    "noise": either(Rule("0", lambda value: number(0, 0).fits(value)), number(1e-20, 1e9)),
    "delta": Rule("a number above 0 and below 1", lambda value: number(0, 1).fits(value) and 0 < value < 1),
    "losses": optional(flag()),
}
DEFAULTS = {"noise": 0.0, "delta": 1e-5}


@dataclass(frozen=True)
class Privacy:
    """How a client protects its updates.

    Attributes:
        clip: the largest L2 norm of a difference, over all exchanged floating tensors together.
        noise: standard deviation of the noise of each coordinate, in multiples of ``clip``.
        delta: of the guarantee.
        losses: whether losses leave the client.
    """

    clip: float
    noise: float = DEFAULTS["noise"]
    delta: float = DEFAULTS["delta"]
    losses: bool = True

    def protect(
        self, differences: NamedTensors, entropy: Callable[[int], bytes] = os.urandom
    ) -> dict[str, Tensor]:
        """Clip and disturb what a client is about to send.

        Args:
            differences: name -> floating tensor: the weights after the round, less those before.
            entropy: number -> that many random bytes, which nobody else may know or guess.
        Returns:
            name -> tensor of the same shape and type.
        Raises:
            InputError: the difference holds NaN or infinite values.
        """
        norm = l2_norm(differences)
        if not math.isfinite(norm):
            raise InputError(
                "privacy: the update holds NaN or infinite values; training diverged, lower its rates"
            )
        scale = min(1.0, self.clip / norm) if norm else 1.0
        deviation = self.noise * self.clip
        return {name: _disturbed(tensor, scale, deviation, entropy) for name, tensor in differences.items()}

    def spent(self, updates: int, before: float = 0.0) -> float | None:
        """Epsilon after that many updates of a client; None without noise, which is no guarantee at all.

        ``before``: what it had spent in other runs, as :func:`spent` has it.
        """
        return spent(self.noise, updates, self.delta, before) if self.noise else None

    def overflow_faults(self, largest: float) -> list[str]:
        """A line if noise could go beyond the ``largest`` number of the type that is sent."""
        reach = self.clip * (1 + 10 * self.noise)  # no draw of gaussian() is beyond 9 standard deviations
        if reach <= largest:
            return []
        return [
            f"privacy: 'clip' {self.clip:g} with 'noise' {self.noise:g} goes beyond float16 ({largest:g}), in which "
            "'exchange' sends it; lower them, or set 'exchange: {dtype: float32}'"
        ]


def read_privacy(section: Section) -> Privacy | None:
    """The section ``privacy`` of a federation file; None where it is empty or wrong."""
    if not section.values:
        return None
    clipped = section.values.get("clip") is not None
    if not clipped:
        section.faults.append(
            "privacy: 'clip' is missing; without a bound on an update's norm no noise hides it: set clip: 1.0, say"
        )
        section = Section({**section.values, "clip": 1.0}, section.source, section.what, section.faults)
    given = section.ruled(RULES, **DEFAULTS)
    if given is None or not clipped:
        return None
    losses, noise = given["losses"], float(given["noise"])
    return Privacy(
        float(given["clip"]), noise, float(given["delta"]), not noise if losses is None else losses
    )


@functools.lru_cache(maxsize=4096)
def spent(noise: float, updates: int, delta: float, before: float = 0.0) -> float:
    r"""Epsilon of ``updates`` updates of one client at ``delta``, against replacing its data by any other.

    Args:
        noise: noise multiplier z of each update, above 0.
        updates: n, how many have left the client.
        delta: between 0 and 1.
        before: :math:`\sum_i (2 / z_i)^2` over further updates of the client, of noise multipliers of their own.
    Returns:
        Epsilon of the Gaussian mechanism of noise multiplier :math:`z / (2\sqrt n)`, if none went before; 0 for no
        update.
    Raises:
        InputError: the accountant is not installed.
    """
    return composed(updates * (2 / noise) ** 2 + before, delta)


def composed(squares: float, delta: float) -> float:
    r"""Epsilon of several updates, each of a noise multiplier :math:`z_i` of its own.

    Args:
        squares: :math:`\sum_i (2 / z_i)^2`.
        delta: between 0 and 1.
    Returns:
        Epsilon of the Gaussian mechanism of noise multiplier :math:`1 / \sqrt{\sum_i (2 / z_i)^2}`; 0 for no update.
    Raises:
        InputError: the accountant is not installed.
    """
    try:
        from dp_accounting import get_epsilon_gaussian
    except ModuleNotFoundError as error:
        raise InputError(
            "privacy: noise needs the privacy accountant dp-accounting, which is not installed: pip install -e "
            '".[privacy]"'
        ) from error
    return float(get_epsilon_gaussian(1 / math.sqrt(squares), delta)) if squares else 0.0


def gaussian(count: int, entropy: Callable[[int], bytes] = os.urandom) -> Tensor:
    """``count`` independent standard normal numbers, float64, by the transform of Box and Muller (1958).

    A generator with a small state would not do: who knows a part of an update could recover the state from the rest,
    and take the noise off.

    Args:
        count: how many.
        entropy: number -> that many random bytes.
    """
    if not count:  # torch makes no tensor of an empty buffer
        return torch.empty(0, dtype=torch.float64)
    pairs = -(-count // 2)
    words = torch.frombuffer(bytearray(entropy(16 * pairs)), dtype=torch.int64)
    uniform = words.bitwise_and_(2**53 - 1).double().add_(0.5).mul_(2.0**-53)  # above 0
    radius = uniform[:pairs].log_().mul_(-2).sqrt_()
    angle = uniform[pairs:].mul_(2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()])[:count]


def _disturbed(tensor: Tensor, scale: float, deviation: float, entropy: Callable[[int], bytes]) -> Tensor:
    """``scale`` times the tensor with noise, in pieces that stay in the processor's cache, rounded once at the end."""
    if scale == 1.0 and not deviation:
        return tensor
    made = []
    for piece in _reals(tensor).split(PIECE):
        wide = piece.double() * scale
        if deviation:
            wide.add_(gaussian(len(piece), entropy), alpha=deviation)
        made.append(wide.to(piece.dtype))
    flat = torch.cat(made) if made else _reals(tensor)
    return (
        torch.view_as_complex(flat.view(*tensor.shape, 2)) if tensor.is_complex() else flat.view(tensor.shape)
    )


def _reals(tensor: Tensor) -> Tensor:
    """The elements as one real vector."""
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).detach().reshape(-1)
