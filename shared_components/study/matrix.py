"""The models of a study on everybody's test volumes, and the one for scanners that nobody has seen.

What reaches the training of that one is the synthetic volumes of every domain, drawn by the factory (weights of all
clients) and labelled by the source model (weights of one); no image or label of any client. The test volumes of each
client are segmented at that client, those of an unseen scanner wherever they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from shared_components.study.methods import METHODS, segmenting, segmenting_together
from shared_components.study.released import SCORES
from shared_components.study.settings import VARIANTS
from shared_components.study.source_model import FEDERATED, JOINT, variants_at
from shared_components.study.stage import (
    Stage,
    inference_configs,
    known,
    make_stage,
    model_path,
    synthetic_root,
)
from shared_components.study.study import EVERYBODY, Study
from shared_components.study_record import ModelMatrix, TriedModel

SYNTHETIC_VALIDATION = 6  # subjects drawn for choosing the model; real ones would have to leave their site
MODEL = "generalisation"


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
        method = METHODS[f"{self.model}_predictions"].name
        return method if self.owner == EVERYBODY else f"{method} of {self.owner}"


def published(study: Study) -> Iterator[Published]:
    """All models but the baselines, in the order of the table."""
    yield from (Published(name, v) for name in study.sources for v in variants_at(study, name))
    if study.federates_source:
        yield Published(EVERYBODY, FEDERATED)
    if study.flag("joint"):
        yield Published(EVERYBODY, JOINT)
    if study.generalises:
        yield Published(EVERYBODY, MODEL)
    yield from (Published(name, study.own_model) for name in study.targets)


def sites(study: Study) -> list[str]:
    """Clients and unseen scanners that have labels of test volumes."""
    return [name for name in (*study.roots, *study.unseen) if study.is_scored(name)]


def _cell(study: Study, site: str, model: Published) -> str:
    """The stage that segments a site's test volumes with a model; the methods' own names where there is no other."""
    standard = f"{model.model}_predictions"
    at_home = model.owner in (site, EVERYBODY)
    lent = model.owner == study.source and model.model in VARIANTS and site not in study.sources
    return standard if at_home or lent else f"{model.model}_of_{model.owner}_predictions"


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


def generalisation_stages(study: Study) -> list[Stage]:
    """Training on the synthetic volumes, and every test that the model is put to.

    Beside it, the source client's models segment the unseen scanners' volumes, as they do the other clients'.
    """
    stages = [_training(study)]
    for name in (*study.roots, *study.unseen):
        stages += _testing(study, name)
    for name in study.unseen:
        stages += segmenting(study, name, "source_model", study.source)
        stages += segmenting_together(study, name)
        if study.flag("baselines") and study.is_scored(name):
            stages += segmenting(study, name, "source_only", study.source)
    return stages


def synthetic_domains(study: Study) -> list[str]:
    """The domains in whose looks volumes are drawn, in the federation's order."""
    twins = study.section("synthesize").get("twin_domains")
    drawn = study.federation.domains if twins is None else (study.roots[study.source].domains[0], *twins)
    return [domain for domain in study.federation.domains if domain in drawn]


def _training(study: Study) -> Stage:
    domains = synthetic_domains(study)
    chosen = study.section("synthesize").get("validation", SYNTHETIC_VALIDATION)
    own = {
        "dataset_dir": [synthetic_root(study, domain) for domain in domains],
        "domains": domains,
        "held_out": None,
        "ckpt_path": model_path(study, EVERYBODY, MODEL),
        "quiet": True,
        **({} if chosen else {"val_interval": 0}),
        **study.section("generalisation"),
    }
    needs = (f"{study.source}/synthetic",)
    return make_stage(study, EVERYBODY, MODEL, ("train.yaml",), own, needs, bundle=study.segmentation)


def _testing(study: Study, client: str) -> Iterator[Stage]:
    """Segment test volumes with the model, built with what its training changed of the network."""
    if study.data(client).items("test"):
        configs = inference_configs(study, client)
        settings = {**study.section("generalisation"), **study.section("inference")}
        own = {
            **known(settings, study.segmentation, ("common.yaml", *configs)),
            "ckpt_path": model_path(study, EVERYBODY, MODEL),
        }
        needs = (f"{EVERYBODY}/{MODEL}",)
        name = f"{MODEL}_predictions"
        yield make_stage(study, client, name, configs, own, needs, bundle=study.segmentation)
