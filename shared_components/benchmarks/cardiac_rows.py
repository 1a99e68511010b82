"""Rows of the cardiac quality table: how each training of ``bundles/segmentation`` differs from its defaults."""

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
    """

    name: str
    configs: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    unseen: bool = False
    synthetic: bool = False
    ablation: bool = False


UNET: dict[str, Any] = {"configs": ("unet.yaml",), "network": {"anatomy_channels": "$len(@labels)"}}
DISENTANGLEMENT = (
    "reconstruction_weight",
    "regression_weight",
    "prior_weight",
    "domain_weight",
    "rank_weight",
)
FIRST_ORDER = {"second_order": False}  # half the time; a row of the ablation has the second order
FULL = "segmentation_augmented"  # what the ablations take something away from


def _without(what: str, **overrides: Any) -> Row:
    return Row(f"without {what}", overrides={**FIRST_ORDER, **overrides}, ablation=True)


ROWS = {
    "unet": Row("U-Net", **UNET, overrides={"looks": "none"}),
    "unet_augmented": Row("U-Net, strong augmentation", **UNET),
    "segmentation": Row("segmentation", overrides={**FIRST_ORDER, "looks": "none"}),
    FULL: Row("segmentation, strong augmentation", overrides=FIRST_ORDER),
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
