"""The ways to a model that a study compares: what all tables and documents call them, and the stages that try them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from shared_components.study.settings import GENERALISATION, PREDICTIONS
from shared_components.study.source_model import FEDERATED, JOINT, trained
from shared_components.study.stage import Stage, inference_configs, known, make_stage
from shared_components.study.study import EVERYBODY, Study

ONE_OF_SEVERAL = (
    "a U-Net trained on one labelled client's images alone with strong augmentation, and applied as it is; what the "
    "federated source model is compared with"
)
FEW = "; a client with a few labels of training images uses these too"


class Method(NamedTuple):
    """A way to a model.

    Attributes:
        name: in tables.
        what: a sentence about it.
    """

    name: str
    what: str


METHODS = {  # by the stage that trains the model, in the order of the report's table: ours are the last
    "source_only": Method(
        "source model without augmentation",
        "a U-Net trained on the labelled client's images as they are, and applied to those of other scanners: "
        "how far a model gets when nothing is done about that",
    ),
    "source_mild": Method(
        "source model, mild looks",
        "a U-Net trained on a labelled client's images whose intensities are varied a little, and applied as it is",
    ),
    "source_model": Method(
        "source model",
        "a U-Net trained on a labelled client's images with strong augmentation, and applied as it is; that client's "
        "own model, the start of the adaptation, and what labels the synthetic volumes",
    ),
    "joint_source": Method(
        "joint source model",
        "the source model trained on the images of all labelled clients in one place, which a federation does "
        "without: what it could reach at best",
    ),
    "federated_source": Method(
        "federated source model",
        "the source model trained by federation among the labelled clients, whose images stay where they are; the "
        "start of the adaptation, and what labels the synthetic volumes",
    ),
    "federated_only": Method(
        "federated source model without augmentation",
        "the plain U-Net, trained by federation among the labelled clients",
    ),
    "federated_mild": Method(
        "federated source model, mild looks",
        "the U-Net of mild looks, trained by federation among the labelled clients",
    ),
    "self_trained_near": Method(
        "self-trained, taught by two",
        "the source model of mild looks, trained on with the labels that it and the plain one together give to the "
        "client's images, where they are sure; nothing synthetic is used",
    ),
    "self_trained_all": Method(
        "self-trained, taught by three",
        "the same, with the strongly augmented source model as the third teacher",
    ),
    "self_trained": Method(
        "source model, self-trained",
        "the source model, trained on with its own labels of the client's images; nothing synthetic is used",
    ),
    "generalisation": Method(
        "generalisation",
        "one model for every scanner, also for those that nobody has seen; trained on labelled synthetic volumes "
        "of every domain, and on no real image",
    ),
    "adaptation": Method(
        "adaptation",
        "made for a client without labels: the source model, trained on with labelled synthetic volumes in "
        "the look of that client's scanner and with its own images; labels of its test volumes serve for scoring alone",
    ),
    "choice": Method(
        "chosen",
        "the one of these models that the client uses, or two together: chosen without a label of the client, by the "
        "edges where borders of what each finds in its unlabelled images lie, and its shapes",
    ),
}


def method_texts(study: Study) -> dict[str, str]:
    """Name of each method to a sentence about it, as it is in this study."""
    texts = {method.name: method.what for method in METHODS.values()}
    if study.federates_source:
        texts[METHODS["source_model"].name] = ONE_OF_SEVERAL
    if any(study.has_few_labels(name) for name in study.targets):
        texts[METHODS["adaptation"].name] += FEW
    return texts


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
        configs = inference_configs(study, client)
        own, bundle = study.section("inference"), study.adaptation
        if model == GENERALISATION:  # built with what its training changed of the network
            bundle = study.segmentation
            own = known({**study.section(GENERALISATION), **own}, bundle, ("common.yaml", *configs))
        own = {"ckpt_path": weights.path, **own}
        name = name or model + PREDICTIONS
        yield make_stage(study, client, name, configs, own, weights.needs, weights.reads, bundle=bundle)


def segmenting_together(study: Study, client: str) -> Iterator[Stage]:
    """The same with the source models of several labelled clients, where there are any."""
    if study.federates_source:
        yield from segmenting(study, client, FEDERATED, EVERYBODY)
    if study.flag("joint"):
        yield from segmenting(study, client, JOINT, EVERYBODY)
