"""Scanners on which a study's models are tried and which nobody trains on: the key ``unseen`` of its settings.

It maps a name to the data root, or to nothing where the data are at a site of that name. Paths follow the rule of a
federation file: they are looked for beside it first and in the current working directory second.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared_components.errors import InputError, shown
from shared_components.federation.client_entry import existing_place, texts
from shared_components.federation.federation import Federation
from shared_components.federation.problems import name_problems
from shared_components.study.client_data import ClientData, SiteDescription


def unseen_roots(federation: Federation, elsewhere: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """Name of a scanner to its data roots, absolute; none of one whose data are at a site of its own.

    Args:
        federation: with the study's settings.
        elsewhere: names of those whose data need not be here.
    Raises:
        InputError: every problem, in one line.
    """
    problems: list[str] = []
    roots = _read(federation, problems)
    problems += _faults(federation, roots, elsewhere)
    if problems:
        raise InputError("; ".join(problems))
    return roots


def unseen_data(federation: Federation) -> dict[str, str]:
    """The data roots that are here, by what a check calls them.

    Raises:
        InputError: as :func:`unseen_roots`.
    """
    roots = unseen_roots(federation, unseen_names(federation))
    return {f"unseen {name}": root for name, own in roots.items() for root in own}


def unseen_names(federation: Federation) -> tuple[str, ...]:
    """The scanners' names, whatever else is said of them."""
    given = federation.study.get("unseen")
    return tuple(map(str, given)) if isinstance(given, Mapping) else ()


def unseen_faults(unseen: Mapping[str, ClientData | SiteDescription], domains: Sequence[str]) -> list[str]:
    """Scanners are of none of the federation's ``domains``, and have something to try models on."""
    faults = [
        f"study: unseen '{name}': domain '{domain}' is one of the federation's, whose images are trained on"
        for name, data in unseen.items()
        for domain in data.domains
        if domain in domains
    ]
    faults += [
        f"study: unseen '{name}': expected test volumes in {', '.join(data.files) or data.dataset_dir}, found none"
        for name, data in unseen.items()
        if not data.items("test")
    ]
    return faults


def _read(federation: Federation, problems: list[str]) -> dict[str, tuple[str, ...]]:
    given: Any = federation.study.get("unseen") or {}
    if not isinstance(given, Mapping):
        problems.append(f"study: 'unseen' must hold 'key: value' lines, found {shown(given)}")
        return {}
    texts(list(given), "study: unseen: a name", problems)
    file, roots = Path(federation.beside) / "federation.yaml", {}
    for name, value in given.items():
        what = f"study: unseen {shown(str(name))}"
        named = texts(() if value is None else value, what, problems)
        roots[str(name)] = tuple(existing_place(root, file, what, problems) for root in named if root)
    return roots


def _faults(
    federation: Federation, roots: Mapping[str, tuple[str, ...]], elsewhere: Collection[str]
) -> list[str]:
    """A scanner that nobody trains on must be nobody's."""
    owners = {root: name for name, client in federation.clients.items() for root in client.data_roots}
    faults = []
    for name, own in roots.items():
        what = f"study: unseen '{name}'"
        faults += [f"study: unseen {shown(name)}: {problem}" for problem in name_problems(name)]
        if name in federation.clients:
            faults.append(f"{what} is a client's name; name it otherwise")
        if not own and name not in elsewhere:
            faults.append(f"{what}: expected its data root, found none")
        faults += [
            f"{what}: {root} is trained on by client '{owners[root]}'" for root in own if root in owners
        ]
        faults += [
            f"{what}: {shown(root, 300)[1:-1]} is not a folder; check the path"
            for root in own
            if not os.path.isdir(root)
        ]
    return faults
