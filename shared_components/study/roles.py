"""Who does what in a study: each client's role, from the federation file and the labels that the client has.

Scanners on which models are tried and which nobody trains on stand under ``unseen`` in the study's settings: a name to
the data root, or to nothing where the data are at a site of that name. Paths follow the rule of a federation file.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from shared_components.errors import InputError, shown
from shared_components.federation.bundle_workflow import bundle_config
from shared_components.federation.faults import name_faults
from shared_components.federation.federation import Federation
from shared_components.federation.section import existing_place, texts
from shared_components.study.client_data import ClientData, SiteDescription
from shared_components.study.settings import ADAPTATION, setting_faults, synthesis_faults
from shared_components.study.study import EVERYBODY, Study

SHARED_IDS = {  # id of the factory's config -> id of the other bundles'
    "image_size": "image_size",
    "spacing": "spacing",
    "orientation": "orientation",
    "percentiles": "percentiles",
    "positions": "positions",
    "discriminator_channels": "discriminator_channels",
    "w_dim": "discriminator_width",
}


def plan_study(federation: Federation, elsewhere: Mapping[str, SiteDescription] | None = None) -> Study:
    """Give each client its role.

    Args:
        federation: with a ``study`` section.
        elsewhere: what is known of the clients and unseen scanners whose data are not here.
    Raises:
        InputError: unknown or unusable settings, no labelled client, a source that is none, or data that a stage
            cannot use.
    """
    settings = dict(federation.study)
    check_section(federation)
    roots = {
        name: (elsewhere or {}).get(name) or ClientData.load(client.data_roots)
        for name, client in federation.clients.items()
    }
    unseen = {
        name: (elsewhere or {}).get(name) or ClientData.load(own)
        for name, own in unseen_roots(federation, elsewhere or ()).items()
    }
    sources = _sources(settings, roots)
    if not sources:
        raise InputError(
            f"{federation.name}: expected at least one client with labels of training images, found none; label some, "
            "or add a labelled client"
        )
    best = max(sources, key=lambda name: roots[name].labelled)
    source = settings.get("source", best)
    if source not in sources:
        raise InputError(
            f"study: source: expected one of the labelled clients {', '.join(sources)}, found {shown(source)}"
        )
    targets = tuple(name for name in roots if name not in sources)
    faults = [
        *_target_faults(roots, targets),
        *synthesis_faults(settings, federation.domains),
        *_unseen_faults(unseen, federation.domains),
    ]
    if faults:
        raise InputError("; ".join(faults))
    study = Study(federation, settings, _agreed_values(federation), roots, unseen, source, sources, targets)
    if faults := _undrawn_faults(study):
        raise InputError("; ".join(faults))
    return study


def check_section(federation: Federation) -> None:
    """Check what of a study can be checked without any client's data.

    Raises:
        InputError: unknown or unusable settings, or a federation whose clients get no common factory.
    """
    faults = [*setting_faults(dict(federation.study)), *_federation_faults(federation)]
    if faults:
        raise InputError("; ".join(faults))


def _agreed_values(federation: Federation) -> dict[str, Any]:
    """What the other bundles must have in common with the factory, under the ids of their configs."""
    parser = ConfigParser(bundle_config(federation))
    agreed = {
        ours: parser.get_parsed_content(theirs) for theirs, ours in SHARED_IDS.items() if theirs in parser
    }
    labels = {} if federation.labels is None else {"labels": dict(federation.labels)}
    return {**agreed, **labels, "domains": list(federation.domains), "seed": federation.seed}


def _sources(
    settings: Mapping[str, Any], roots: Mapping[str, ClientData | SiteDescription]
) -> tuple[str, ...]:
    """The clients that train a source model.

    Raises:
        InputError: ``sources`` names a client without labels.
    """
    labelled = [name for name, data in roots.items() if data.label_share > 0]
    named = settings.get("sources")
    for name in named or ():
        if name not in labelled:
            known = ", ".join(labelled) or "of which there are none"
            raise InputError(
                f"study: sources: expected some of the clients with labels, {known}, found {shown(name)}"
            )
    if named:
        return tuple(name for name in roots if name in named)
    return tuple(name for name in labelled if roots[name].label_share >= 0.5) or tuple(labelled)


def _federation_faults(federation: Federation) -> list[str]:
    faults = []
    if federation.make_aggregator().personal:
        faults.append("study: the clients need one factory; use FedAvg or FedProx as 'aggregator'")
    if EVERYBODY in federation.clients or EVERYBODY in unseen_names(federation):
        faults.append(f"study: a client cannot be called '{EVERYBODY}'; name it otherwise")
    return faults


def _target_faults(roots: Mapping[str, ClientData | SiteDescription], targets: Sequence[str]) -> list[str]:
    return [
        f"client '{name}': adaptation makes a model for one domain, found {', '.join(roots[name].domains)}; "
        "make each domain a client of its own"
        for name in targets
        if len(roots[name].domains) > 1
    ]


def _undrawn_faults(study: Study) -> list[str]:
    """Who adapts needs twins in its own domain; where the source draws for all, it must draw them."""
    drawn = study.section("synthesize").get("twin_domains")
    if drawn is None or study.publishes_model or ADAPTATION not in study.candidates:
        return []
    return [
        f"study: synthesize: twin_domains: '{domain}' is missing, whose twins client '{name}' adapts with; add it, "
        f"leave '{ADAPTATION}' out of 'candidates', or let clients draw them with publish: model"
        for name in study.targets
        for domain in study.roots[name].domains
        if domain not in drawn and domain not in study.roots[study.source].domains[:1]
    ]


def unseen_roots(federation: Federation, elsewhere: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """Name of a scanner to its data roots, absolute; none of one whose data are at a site of its own.

    Args:
        federation: with the study's settings.
        elsewhere: names of those whose data need not be here.
    Raises:
        InputError: every fault, in one line.
    """
    roots, faults = _unseen(federation, elsewhere)
    if faults:
        raise InputError("; ".join(faults))
    return roots


def unseen_faults(federation: Federation) -> list[str]:
    """The faults of :func:`unseen_roots`, whether the data are here or not."""
    return _unseen(federation, unseen_names(federation))[1]


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


def _unseen_faults(unseen: Mapping[str, ClientData | SiteDescription], domains: Sequence[str]) -> list[str]:
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


def _unseen(
    federation: Federation, elsewhere: Collection[str]
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    faults: list[str] = []
    roots = _read(federation, faults)
    return roots, faults + _faults(federation, roots, elsewhere)


def _read(federation: Federation, faults: list[str]) -> dict[str, tuple[str, ...]]:
    given: Any = federation.study.get("unseen") or {}
    if not isinstance(given, Mapping):
        faults.append(f"study: 'unseen' must hold 'key: value' lines, found {shown(given)}")
        return {}
    texts(list(given), "study: unseen: a name", faults)
    file, roots = Path(federation.beside) / "federation.yaml", {}
    for name, value in given.items():
        what = f"study: unseen {shown(str(name))}"
        named = texts(() if value is None else value, what, faults)
        roots[str(name)] = tuple(existing_place(root, file, what, faults) for root in named if root)
    return roots


def _faults(
    federation: Federation, roots: Mapping[str, tuple[str, ...]], elsewhere: Collection[str]
) -> list[str]:
    """A scanner that nobody trains on must be nobody's."""
    owners = {root: name for name, client in federation.clients.items() for root in client.data_roots}
    faults = []
    for name, own in roots.items():
        what = f"study: unseen '{name}'"
        faults += [f"study: unseen {shown(name)}: {fault}" for fault in name_faults(name, federation.engine)]
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
