"""A client's entry in a federation file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_components.spelling import unknown


@dataclass(frozen=True)
class Client:
    """One site: its data roots and, in the same order, the domain of each one's images."""

    data_roots: tuple[str, ...]
    domains: tuple[str, ...]

    @property
    def data_root(self) -> str | list[str]:
        """As a federation file or a bundle's config has it: the one data root, or a list."""
        return self.data_roots[0] if len(self.data_roots) == 1 else list(self.data_roots)

    @property
    def domain(self) -> str | list[str]:
        """As a federation file has it: the one domain, or a list."""
        return self.domains[0] if len(self.domains) == 1 else list(self.domains)


def read_clients(clients: Any, source: Path, problems: list[str]) -> dict[str, Client]:
    """The section ``clients``, sorted by name; what is wrong with it joins ``problems``."""
    if not isinstance(clients or {}, dict):
        problems.append("'clients' must map each client's name to {data_root: …, domain: …}")
        return {}
    made = {}
    for name, entry in sorted((clients or {}).items(), key=lambda item: str(item[0])):
        if not isinstance(entry, dict):
            problems.append(f"client '{name}' must be {{data_root: …, domain: …}}, found {entry!r}")
            continue
        problems += unknown(f"client '{name}': key", entry, ["data_root", "domain"])
        problems += [
            f"client '{name}': '{key}' is missing" for key in ("data_root", "domain") if not entry.get(key)
        ]
        roots = tuple(existing_place(root, source) for root in texts(entry.get("data_root") or ()))
        domains = texts(entry.get("domain") or ())
        made[str(name)] = Client(roots, domains * len(roots) if len(domains) == 1 else domains)
    return made


def texts(values: Any) -> tuple[str, ...]:
    """One text or a list of them as a tuple."""
    return tuple(str(v) for v in values) if isinstance(values, list | tuple) else (str(values),)


def existing_place(path: Any, source: Path) -> str:
    """``path`` beside the federation file ``source`` or, where there is none, from the working directory."""
    beside = (source.parent / str(path)).absolute()
    return os.path.normpath(beside if beside.exists() else Path(str(path)).absolute())
