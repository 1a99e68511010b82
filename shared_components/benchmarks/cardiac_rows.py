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


UNET = {"configs": ("unet.yaml",), "network": {"anatomy_channels": "$len(@labels)"}}
DISENTANGLEMENT = (
    "reconstruction_weight",
    "regression_weight",
    "prior_weight",
    "domain_weight",
    "rank_weight",
)
FULL = "segmentation_augmented"  # what the ablations take something away from
ROWS = {
    "unet": Row("U-Net", **UNET, overrides={"strong_augmentation": False}),
    "unet_augmented": Row("U-Net, strong augmentation", **UNET),
    "segmentation": Row("segmentation", overrides={"strong_augmentation": False}),
    FULL: Row("segmentation, strong augmentation"),
    "no_unlabelled": Row("without unlabelled images", overrides={"unlabelled_updates": False}, ablation=True),
    "no_teacher": Row(
        "without the teacher of unlabelled images", overrides={"teacher_epochs": []}, ablation=True
    ),
    "no_disentanglement": Row(
        "without disentanglement losses", overrides=dict.fromkeys(DISENTANGLEMENT, 0.0), ablation=True
    ),
    "no_meta_learning": Row("without meta-learning", overrides={"meta_learning": False}, ablation=True),
    "synthetic": Row("segmentation on synthetic volumes, labels of one site", synthetic=True),
    "bound": Row(
        "U-Net trained on the unseen domain",
        **UNET,
        overrides={"strong_augmentation": False, "label_fraction": 1.0},
        unseen=True,
    ),
}
