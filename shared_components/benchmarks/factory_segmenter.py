"""A network that segments real slices of every domain, to ask synthetic twins whether they show one anatomy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from shared_components.benchmarks.repository import BUNDLES
from shared_components.metrics.twin_agreement import Segment
from shared_components.networks.weights import with_weights
from shared_components.study.stage import Stage
from shared_components.study.stages import run_stages

BUNDLE = BUNDLES / "adaptation"
EPOCHS = 40  # of 50 updates


def trained_segmenter(
    folder: Path, geometry: Mapping[str, Any], roots: Sequence[str], smoke: bool
) -> Segment:
    """Train on all labels of all domains at once, unless it has been; no synthetic slice is seen.

    Args:
        folder: of the training.
        geometry: ids of the config that say what a slice shows.
        roots: data roots with labels.
        smoke: at the smallest size.
    Returns:
        Slices (N, 1, S, S) to class scores.
    Raises:
        InputError: the training failed.
    """
    small = {"segmenter_channels": [4, 8, 8], "batch_size": 4, "epoch_length": 2} if smoke else {}
    weights = folder / "model.pt"
    values = {
        **geometry,
        "dataset_dir": list(roots),
        "ckpt_path": str(weights),
        "max_epochs": 1 if smoke else EPOCHS,
        "looks": "none",
        "val_interval": 0,
        "quiet": True,
        **small,
    }
    configs = ("common.yaml", "pretrain.yaml")
    stage = Stage("all", "segmenter", str(BUNDLE), configs, values, folder, reads=tuple(roots))
    run_stages([stage], 1)
    parser = ConfigParser(ConfigParser.load_config_file(str(BUNDLE / "configs" / "common.yaml")))
    parser.update({name: values[name] for name in (*geometry, *(small and ["segmenter_channels"]))})
    return with_weights(parser.get_parsed_content("network_def"), weights).eval()
