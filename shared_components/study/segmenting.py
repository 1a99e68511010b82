"""The stages that segment test volumes with a model of the adaptation bundle."""

from __future__ import annotations

from collections.abc import Iterator

from shared_components.study.source_model import FEDERATED, JOINT, trained
from shared_components.study.stage import Stage
from shared_components.study.stage_parts import inference_configs, make_stage
from shared_components.study.study import EVERYBODY, Study


def segmenting(study: Study, client: str, model: str, owner: str, name: str | None = None) -> Iterator[Stage]:
    """Segment the test volumes of a client or an unseen scanner, and score them where they have labels.

    Args:
        study: whose stages they are.
        client: whose volumes.
        model: the stage that trains the model, or FEDERATED.
        owner: the client at which it is trained, or EVERYBODY.
        name: of the stage; by default after the model.
    """
    if study.data(client).items("test"):
        weights = trained(study, owner, model, client)
        own = {"ckpt_path": weights.path, **study.section("inference")}
        name, configs = name or f"{model}_predictions", inference_configs(study, client)
        yield make_stage(study, client, name, configs, own, weights.needs, weights.reads)


def segmenting_together(study: Study, client: str) -> Iterator[Stage]:
    """The same with the source models of several labelled clients, where there are any."""
    if study.federates_source:
        yield from segmenting(study, client, FEDERATED, EVERYBODY)
    if study.flag("joint"):
        yield from segmenting(study, client, JOINT, EVERYBODY)
