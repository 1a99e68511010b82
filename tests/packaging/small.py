"""Packages of weights that no training made, at the bundles' smoke sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared_components.networks.factory import export_generator
from shared_components.networks.weights import export_model
from shared_components.packaging.settings import merged_configs, read_overrides
from shared_components.packaging.weights import is_factory, parsed

BUNDLES = Path(__file__).parents[2] / "bundles"
SCHEMA = Path(__file__).with_name("metadata_schema.json")  # what the zoo's schema of metadata asks for
NAMES = sorted(file.parts[-3] for file in BUNDLES.glob("*/configs/metadata.json"))
SEGMENTING = [name for name in NAMES if name != "factory"]
DOMAINS = ["t1", "t2"]
LABELS = {0: "background", 1: "brain"}
VALUES = {"domains": DOMAINS, "labels": LABELS, "orientation": "RAS", "spacing": 4.0}


def settings(bundle: str) -> list[Any]:
    """What ``--config`` is for the weights of :func:`write_model`."""
    return [BUNDLES / bundle / "configs" / "smoke.yaml", VALUES]


def write_model(bundle: str, path: Path) -> Path:
    """The weights that a configured network starts with, as the bundle's training would export them."""
    config = merged_configs(BUNDLES / bundle / "configs", read_overrides(settings(bundle)))["inference"]
    if is_factory(config):
        return export_generator(parsed(config, "generator_def"), path, DOMAINS, LABELS, 4.0, "RAS")
    return export_model(parsed(config, "network_def"), path, VALUES)
