"""A study as a job: what travels beside the factory's federation, and the plan that every place makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared_components.errors import InputError, shown
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.job_file import JobParts
from shared_components.federation.nvflare.places import Place
from shared_components.federation.start import IN_STUDY
from shared_components.study.client_data import SiteDescription
from shared_components.study.client_stages import study_stages
from shared_components.study.released import carries
from shared_components.study.roles import check_section, plan_study, unseen_names
from shared_components.study.settings import VARIANTS
from shared_components.study.source_model import source_federations, source_weights
from shared_components.study.stage import Stage
from shared_components.study.study import Study

FACTORY = IN_STUDY  # what sites train together: in the job's own federation
TASKS = "shared_components.study.nvflare.site_tasks"
AT_HOME = ("adaptation", "segmentation", "jobs")  # settings that concern places of this machine


def job_parts(federation: Federation) -> JobParts:
    """What of a study travels in its job.

    Raises:
        InputError: its settings are unusable, or it is to train a model of all labelled images in one place.
    """
    check_section(federation)
    if federation.study.get("joint"):
        raise InputError(
            f"{federation.name}: study: joint: needs all labelled images in one place; leave it out, or run it with "
            "the local engine"
        )
    guests = unseen_names(federation)
    study = Study(federation, federation.study, {}, {}, {}, "", (), ())
    bundles = {"adaptation": Path(study.adaptation)}
    if study.generalises:
        bundles["segmentation"] = Path(study.segmentation)
    settings = {key: value for key, value in federation.study.items() if key not in AT_HOME}
    if guests:
        settings["unseen"] = dict.fromkeys(guests)  # the data are at sites of these names
    return JobParts(FACTORY, (TASKS,), bundles, settings, guests)


def place_study(
    factory: Federation, parts: JobParts, described: Mapping[str, Any], here: Place | None = None
) -> Study:
    """The study as a place sees it: its own data, if it has any, and what the other sites have told of theirs.

    Args:
        factory: the federation of the factory's rounds, as the job has it.
        parts: of the job.
        described: site to its :class:`SiteDescription`, as plain values.
        here: this site; None at the server.
    Raises:
        InputError: see :func:`plan_study`; a site has not described its data, or others than it is to have; or at the
            server see :func:`check_lone_source`.
    """
    elsewhere = {
        name: SiteDescription.from_dict(described.get(name) or {}, name)
        for name in (*factory.clients, *parts.guests)
        if here is None or name != here.name
    }
    _check_domains(factory, elsewhere)
    folder, settings = str(Path(factory.output_dir).parent), dict(parts.settings)
    if here is not None and here.name in parts.guests:
        settings["unseen"] = {**settings["unseen"], here.name: list(here.data_roots)}
    study = plan_study(replace(factory, output_dir=folder, study=settings), elsewhere)
    if here is None:  # before the factory is trained, for hours perhaps
        for client in study.sources:
            check_lone_source(study, client, elsewhere[client].noisy)
    return study


def _check_domains(factory: Federation, described: Mapping[str, SiteDescription]) -> None:
    """A domain names folders and joins configs at other sites, so a client has those of the federation file alone.

    Raises:
        InputError: one has told of others.
    """
    for name, client in factory.clients.items():
        if name in described and sorted(described[name].domains) != sorted(set(client.domains)):
            raise InputError(
                f"client {name}: expected data of {', '.join(client.domains)}, as the federation file has it, found "
                f"{shown(list(described[name].domains))}; correct 'domain' there, or in the dataset.json of its site"
            )


def check_lone_source(study: Study, client: str, noisy: bool) -> None:
    """Nothing of a source model that one client trains alone, which gets no noise, leaves a site that demands some.

    Args:
        study: the study.
        client: who trains it.
        noisy: whether its site demands noise.
    Raises:
        InputError: it would.
    """
    if noisy and not study.federates_source:
        raise InputError(
            f"client {client}: its site demands noise, which a source model trained at one client alone does not get; "
            "let two labelled clients train it together, or take noise_multiplier and epsilon_at_most out of the site "
            "file"
        )


def handed_out(study: Study) -> dict[str, Path]:
    """What sites train together and stages read: what it is to the file, at the place whose study it is."""
    variants = {name: Path(source_weights(study, name).path) for name in source_federations(study)}
    return {FACTORY: study.factory, **variants}


def site_stages(study: Study) -> list[Stage]:
    """The stages of a study over sites: without those that need what may not leave the site where it was made."""
    kept: dict[str, Stage] = {}
    for stage in _in_order(study_stages(study)):
        if all(_has(study, stage, need, kept) for need in stage.needs):
            kept[stage.key] = stage
    return [stage for stage in study_stages(study) if stage.key in kept]


def _has(study: Study, stage: Stage, need: str, kept: Mapping[str, Stage]) -> bool:
    client, _, name = need.partition("/")
    return need in kept and (client == stage.client or (carries(name) and not _stays(study, name)))


def _stays(study: Study, stage: str) -> bool:
    """Whether it is a model that one of several labelled clients trains alone, where updates get noise: it has none."""
    privacy = study.federation.privacy
    return stage in VARIANTS and study.federates_source and privacy is not None and privacy.noise > 0


def carried(stages: Sequence[Stage]) -> set[str]:
    """Keys of the stages that others go on from elsewhere: what of them is more than a table leaves, too."""
    return {need for s in stages for need in s.needs if need.partition("/")[0] not in ("", s.client)}


def _in_order(stages: list[Stage]) -> list[Stage]:
    """Each after those that it needs."""
    found: dict[str, Stage] = {}
    while len(found) < len(stages):
        ready = [s for s in stages if s.key not in found and all(need in found for need in s.needs)]
        if not ready:
            return [*found.values()]
        found |= {stage.key: stage for stage in ready}
    return [*found.values()]
