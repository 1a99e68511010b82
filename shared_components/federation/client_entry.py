"""A client's entry in a federation file, and what its site demands of the federation's privacy, whoever runs it.

The demand is the section ``privacy`` of the site file, or of the client's entry where it is on this machine::

    privacy:
      max_norm: 1.0            # updates are clipped to an L2 norm of this or less
      noise_multiplier: 0.8    # the noise on them has at least so many times the clip as standard deviation
      epsilon_at_most: 8       # of all updates with noise that have left this site, for whichever federation
      delta: 1.0e-5            # of that epsilon
      losses: false            # whether losses, which get no noise, may leave beside updates with noise

Each is optional. For a client on this machine, the updates are those of the run, of its study, and of what either went
on from (``start``). A site takes no part in a federation whose own section ``privacy`` (see ``privacy.py``) is weaker,
and sends no update that would take its epsilon above the limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from shared_components.errors import shown
from shared_components.federation.privacy import DEFAULTS, RULES, Privacy
from shared_components.federation.section import Section, texts
from shared_components.value_rules import flag, number, optional

LONGEST_NAME = 100  # letters, of a client's name
DEMAND_RULES = {
    "max_norm": optional(RULES["clip"]),
    "noise_multiplier": optional(RULES["noise"]),
    "epsilon_at_most": optional(number(0, 1e9, above=True)),
    "delta": RULES["delta"],
    "losses": flag(),
}


@dataclass(frozen=True)
class Client:
    """One site: its data roots and, in the same order, the domain of each one's images; what privacy it demands."""

    data_roots: tuple[str, ...]
    domains: tuple[str, ...]
    demand: Demand | None = None

    @property
    def data_root(self) -> str | list[str]:
        """As a federation file or a bundle's config has it: the one data root, or a list."""
        return self.data_roots[0] if len(self.data_roots) == 1 else list(self.data_roots)

    @property
    def domain(self) -> str | list[str]:
        """As a federation file has it: the one domain, or a list."""
        return self.domains[0] if len(self.domains) == 1 else list(self.domains)

    @property
    def own(self) -> dict[str, Any]:
        """What the site itself knows, as its site file has it: its data roots, and its demand if it has one."""
        demand = {} if self.demand is None else {"privacy": self.demand.as_dict()}
        return {"data_root": list(self.data_roots), **demand}


def read_clients(file: Section, elsewhere: bool = False) -> dict[str, Client]:
    """The section ``clients`` of a federation file, sorted by name.

    ``elsewhere``: a client's data may lie at a site of its own, and need not be named.
    """
    needed = ("domain",) if elsewhere else ("data_root", "domain")
    clients, faults = file.values.get("clients") or {}, file.faults
    if not isinstance(clients, dict):
        faults.append("'clients' must map each client's name to {data_root: …, domain: …}")
        return {}
    made: dict[str, Client] = {}
    for key, entry in sorted(clients.items(), key=lambda item: str(item[0])):
        name = "".join(texts([key], "clients: a name", faults))
        what = f"client {shown(name)}"
        if name in made:
            faults.append(f"{what} stands twice; give each client a name of its own")
        if name and not isinstance(entry, dict):
            faults.append(f"{what} must be {{data_root: …, domain: …}}, found {shown(entry)}")
        elif name:
            own = Section(entry, file.source, what, faults)
            own.expect(("data_root", "domain", "privacy"), needed)
            made[name] = _client(own)
    return made


def _client(entry: Section) -> Client:
    roots, domains = entry.places("data_root"), entry.texts("domain")
    domains = domains * len(roots) if roots and len(domains) == 1 else domains
    return Client(roots, domains, read_demand(entry.section("privacy")))


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

    @property
    def noisy(self) -> bool:
        """Whether updates must have noise."""
        return bool(self.noise_multiplier) or self.epsilon_at_most is not None

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
        if self.noisy and not self.losses and privacy is not None and privacy.losses:
            yield "losses false, found losses true"


def read_demand(section: Section) -> Demand | None:
    """The section ``privacy`` of a site; None where it is empty or wrong."""
    given = section.ruled(DEMAND_RULES, **asdict(Demand())) if section.values else None
    return None if given is None else Demand(**given)
