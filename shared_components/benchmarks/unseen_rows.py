"""Rows of a table of unseen domains: how each training of ``bundles/segmentation`` differs from its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """A method.

    Attributes:
        name: in the table.
        configs: merged after ``common.yaml`` and ``train.yaml``.
        overrides: values of the training.
        network: values that inference needs as well, since they shape the network.
        unseen: trained on the held-out domain itself, with all its labels: a bound, not a rival.
        synthetic: trained by a study (factory, source model) on synthetic volumes; no image leaves its site.
        ablation: without something that the full method has.
        matched: a U-Net on labels alone, with as many updates as ours makes with and without labels.
    """

    name: str
    configs: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    unseen: bool = False
    synthetic: bool = False
    ablation: bool = False
    matched: bool = False


UNET: dict[str, Any] = {"configs": ("unet.yaml",), "network": {"anatomy_channels": "$len(@labels)"}}
AVERAGED = {"average": 0.99, "batch_size": 8}  # as ours, whose batch has two halves of 4
SELF_TRAINED = ("self_training.yaml",)
FIRST_ORDER = {"second_order": False}  # half the time; a row of the ablation has the second order
FULL = "segmentation_augmented"  # what the ablations take something away from
CONVOLUTIONS = {"looks": "mild", "convolution_probability": 0.5}


def _matched(looks: str) -> Row:
    name = f"U-Net, running average, {looks} looks, as many updates"
    return Row(name, **UNET, overrides={**AVERAGED, "looks": looks}, matched=True)


def _self_trained(name: str, **overrides: Any) -> Row:
    return Row(f"self-trained U-Net, {name}", SELF_TRAINED, overrides)


def _ours(name: str, **overrides: Any) -> Row:
    return Row(name, overrides={**FIRST_ORDER, **overrides})


def _without(what: str, **overrides: Any) -> Row:
    return Row(f"without {what}", overrides={**FIRST_ORDER, **overrides}, ablation=True)


DISENTANGLEMENT = (
    "reconstruction_weight",
    "regression_weight",
    "prior_weight",
    "domain_weight",
    "rank_weight",
)

ROWS = {
    "unet": Row("U-Net", **UNET, overrides={"looks": "none"}),
    "unet_mild": Row("U-Net, mild looks", **UNET, overrides={"looks": "mild"}),
    "unet_augmented": Row("U-Net, strong looks", **UNET, overrides={"looks": "strong"}),
    "averaged_mild": _matched("mild"),
    "averaged": _matched("strong"),
    "self_trained_mild": _self_trained("mild looks", looks="mild"),
    "self_trained_convolutions": _self_trained("mild looks, random convolutions", **CONVOLUTIONS),
    "self_trained": _self_trained("strong looks", looks="strong"),
    "segmentation": _ours("segmentation", looks="none"),
    "segmentation_mild": _ours("segmentation, mild looks", looks="mild"),
    "segmentation_convolutions": _ours("segmentation, mild looks, random convolutions", **CONVOLUTIONS),
    FULL: _ours("segmentation, strong looks", looks="strong"),
    "no_unlabelled": _without("unlabelled images", unlabelled_updates=False),
    "no_teacher": _without("the teacher of unlabelled images", teacher_epochs=[]),
    "no_disentanglement": _without("disentanglement losses", **dict.fromkeys(DISENTANGLEMENT, 0.0)),
    "no_meta_learning": _without("meta-learning", meta_learning=False),
    "no_average": _without("the running average of the weights", average=0.0),
    "second_order": Row("with the second order", overrides={"second_order": True}, ablation=True),
    "synthetic": Row("segmentation on synthetic volumes, all labels of one site", synthetic=True),
    "bound": Row(
        "U-Net trained on the unseen domain, all its labels",
        **UNET,
        overrides={"looks": "none", "label_fraction": 1.0},
        unseen=True,
    ),
}
