"""The models of a study on everybody's test volumes; those of each client are segmented at that client."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from shared_components.study.methods import METHODS, segmenting
from shared_components.study.released import SCORES
from shared_components.study.settings import GENERALISATION, PREDICTIONS, VARIANTS
from shared_components.study.source_model import FEDERATED, JOINT, variants_at
from shared_components.study.stage import Stage
from shared_components.study.study import EVERYBODY, Study
from shared_components.study_record import ModelMatrix, TriedModel


class Published(NamedTuple):
    """A model of a study.

    Attributes:
        owner: the client that trains it, or EVERYBODY.
        model: the stage that trains it.
    """

    owner: str
    model: str

    @property
    def name(self) -> str:
        """As the matrix calls it: the method, and whose model it is."""
        method = METHODS[self.model].name
        return method if self.owner == EVERYBODY else f"{method} of {self.owner}"


def published(study: Study) -> Iterator[Published]:
    """All models but the baselines, in the order of the table."""
    yield from (Published(name, v) for name in study.sources for v in variants_at(study, name))
    if study.federates_source:
        yield Published(EVERYBODY, FEDERATED)
    if study.flag("joint"):
        yield Published(EVERYBODY, JOINT)
    if study.generalises:
        yield Published(EVERYBODY, GENERALISATION)
    yield from (Published(name, study.own_model) for name in study.targets)


def sites(study: Study) -> list[str]:
    """Clients and unseen scanners that have labels of test volumes."""
    return [name for name in (*study.roots, *study.unseen) if study.is_scored(name)]


def _cell(study: Study, site: str, model: Published) -> str:
    """The stage that segments a site's test volumes with a model; the methods' own names where there is no other."""
    standard = model.model + PREDICTIONS
    at_home = model.owner in (site, EVERYBODY)
    lent = model.owner == study.source and model.model in VARIANTS and site not in study.sources
    return standard if at_home or lent else f"{model.model}_of_{model.owner}{PREDICTIONS}"


def matrix_stages(study: Study, stages: list[Stage]) -> Iterator[Stage]:
    """The cells that none of ``stages`` is."""
    have = {stage.key for stage in stages}
    for site in sites(study):
        for model in published(study):
            name = _cell(study, site, model)
            if f"{site}/{name}" not in have:
                yield from segmenting(study, site, model.model, model.owner, name)


def matrix_record(study: Study, done: Collection[str]) -> ModelMatrix:
    """The tables of scores; a model that stays at its own site was tried there alone.

    Args:
        study: which has run.
        done: keys of the stages that are.
    """
    columns, rows = sites(study), []
    for model in published(study):
        cells = {site: _cell(study, site, model) for site in columns}
        tried = {site: name for site, name in cells.items() if f"{site}/{name}" in done}
        files = {site: study.place(site, name) / SCORES for site, name in tried.items()}
        rows.append(TriedModel(model.name, {site: file for site, file in files.items() if file.is_file()}))
    return ModelMatrix(tuple(columns), tuple(rows))
