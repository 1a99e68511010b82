"""What a client's site demands of a federation's privacy, whoever runs it: the section ``privacy`` of its site file. ::

    privacy:
      max_norm: 1.0            # updates are clipped to an L2 norm of this or less
      noise_multiplier: 0.8    # the noise on them has at least so many times the clip as standard deviation
      epsilon_at_most: 8       # of all updates with noise that have left this site, for whichever federation
      delta: 1.0e-5            # of that epsilon
      losses: false            # whether losses, which get no noise, may leave beside updates with noise

Each is optional. Clients of the local engine have the same section in their entry of the federation file. A site takes
no part in a federation whose own section ``privacy`` (see ``privacy.py``) is weaker, and sends no update that would
take its epsilon above the limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shared_components.errors import shown
from shared_components.federation.privacy import DEFAULTS, RULES, Privacy
from shared_components.spelling import unknown
from shared_components.value_rules import flag, number, optional

DEMAND_RULES = {
    "max_norm": optional(RULES["clip"]),
    "noise_multiplier": optional(RULES["noise"]),
    "epsilon_at_most": optional(number(0, 1e9, above=True)),
    "delta": RULES["delta"],
    "losses": flag(),
}


@dataclass(frozen=True)
class Demand:
    """The least protection with which a site takes part.

    Attributes:
        max_norm: the largest L2 norm to which updates may be clipped; None: any, or no clipping.
        noise_multiplier: the least noise, in multiples of the clip; None: any, or none.
        epsilon_at_most: the most that the site's updates may spend in all; None: anything.
        delta: of that epsilon.
        losses: whether losses may leave beside updates with noise.
    """

    max_norm: float | None = None
    noise_multiplier: float | None = None
    epsilon_at_most: float | None = None
    delta: float = DEFAULTS["delta"]
    losses: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As a site file has it."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def unmet(self, privacy: Privacy | None) -> str:
        """In what a federation's protection is weaker than demanded, in one line; empty if it is not."""
        found = "; ".join(self._weaker(privacy))
        return f"its site demands more privacy than the federation file gives: {found}" if found else ""

    def beyond(self, epsilon: float) -> str:
        """Why no update may leave that takes the site's epsilon to this; empty if it may."""
        if self.epsilon_at_most is None or epsilon <= self.epsilon_at_most:
            return ""
        return (
            f"its site's epsilon would be {epsilon:.4g} at delta {self.delta:g} after this update, above its "
            f"epsilon_at_most ({self.epsilon_at_most:g}); it sends no more"
        )

    def _weaker(self, privacy: Privacy | None) -> Iterator[str]:
        clip = None if privacy is None else privacy.clip
        noise = 0.0 if privacy is None else privacy.noise
        if self.max_norm is not None and (clip is None or clip > self.max_norm):
            yield f"max_norm {self.max_norm:g}, found {'no clip' if clip is None else f'clip {clip:g}'}"
        if self.noise_multiplier is not None and noise < self.noise_multiplier:
            yield f"noise_multiplier {self.noise_multiplier:g}, found noise {noise:g}"
        if self.epsilon_at_most is not None and not noise:
            yield f"epsilon_at_most {self.epsilon_at_most:g}, found noise 0, which bounds no epsilon"
        noisy = self.noise_multiplier or self.epsilon_at_most is not None
        if noisy and not self.losses and privacy is not None and privacy.losses:
            yield "losses false, found losses true"


def read_demand(values: Any, what: str, problems: list[str]) -> Demand | None:
    """A section ``privacy`` of a site, None where it is empty; what is wrong with it joins ``problems``.

    Args:
        values: the section.
        what: names it in ``problems``.
        problems: a line for each.
    """
    if values in (None, {}):
        return None
    if not isinstance(values, Mapping):
        problems.append(f"{what} must hold 'key: value' lines, found {shown(values)}")
        return None
    given = {**asdict(Demand()), **values}
    faults = unknown(f"{what}: key", values, list(DEMAND_RULES))
    faults += filter(None, (rule.fault(f"{what}: {key}", given[key]) for key, rule in DEMAND_RULES.items()))
    problems += faults
    return None if faults else Demand(**given)
