"""One federated training of the factory: run as a user would, measured, and remembered.

Whether its twins show one anatomy, a network tells that segments real slices of every domain.
"""

from __future__ import annotations

import math
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.bundle import ConfigParser

from shared_components.audit.audit import audit_factory
from shared_components.audit.figures import Figure
from shared_components.audit.twins import Segment, drawn_labels_dice, twin_dice
from shared_components.benchmarks import BUNDLES, SCRIPTS
from shared_components.benchmarks.tables import read_table
from shared_components.errors import InputError
from shared_components.federation.file_digests import digest
from shared_components.files import remove_tree, write_text
from shared_components.networks.factory import factory_description, load_generator
from shared_components.networks.weights import with_weights
from shared_components.records import found_record, write_record
from shared_components.study.stage import Stage
from shared_components.study.stages import run_stages

RESULT = "result.json"
KEPT = ("frechet", "kernel_distance", "density", "coverage", "neighbour_difference", "path_length")
COPIED = ("memorised_image", "memorised_features")
BUNDLE = BUNDLES / "adaptation"
EPOCHS = 40  # of 50 updates


def result_of(
    folder: Path,
    values: Mapping[str, Any],
    data: Mapping[str, str],
    segmenter: Callable[[], Segment],
    slices: int,
    report_only: bool = False,
) -> dict[str, Any] | None:
    """What a training gave; it is run unless the same one has been.

    Args:
        folder: of the run.
        values: of the federation file, but for name, bundle and output folder.
        data: domain to the data root whose training and held-out images the factory is compared with.
        segmenter: makes ``data``, where it is missing, and what segments slices of every domain, for the agreement of
            twins; called where something is run.
        slices: of a synthetic volume.
        report_only: run nothing.
    Returns:
        ``figures`` (domain to name to value and what real slices give), ``twins`` (mean Dice), ``twins_whole`` (of all
        classes as one), ``labels`` (mean Dice of drawn label maps, None without), ``seconds`` of processors,
        ``megabytes``. None where nothing has been run and nothing is to be.
    Raises:
        InputError: the training failed.
    """
    whole = {"name": folder.name, "bundle": str(BUNDLES / "factory"), **values, "output_dir": str(folder)}
    text = yaml.safe_dump(whole, sort_keys=False)
    found = found_record(folder / RESULT)
    configs = digest(BUNDLES / "factory" / "configs")
    if found is not None and (found["federation"], found.get("configs")) == (text, configs):
        return found
    if report_only:
        return None
    segment = segmenter()
    remove_tree(folder)
    seconds = _train(folder, text)
    rows = read_table(folder / "rounds.csv")
    result = {
        "federation": text,
        "configs": configs,
        "seconds": seconds,
        "megabytes": sum(int(row["bytes_up"]) + int(row["bytes_down"]) for row in rows) / 1e6,
        **_quality(folder, data, segment, slices),
    }
    write_record(folder / RESULT, result)
    return result


def _train(folder: Path, federation: str) -> float:
    """Run the federation that a file's text describes; seconds of processors that all its processes took."""
    file = write_text(folder.with_suffix(".yaml"), federation)
    command = [sys.executable, str(SCRIPTS / "federate.py"), "run", str(file), "--nocheck"]
    log = folder.with_suffix(".log")
    before = _processor_seconds()
    with log.open("wb") as output:
        ended = subprocess.run(
            command,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if ended.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise InputError(f"{log}: the training failed: {said[-1] if said else ended.returncode}")
    return _processor_seconds() - before


def _processor_seconds() -> float:
    """Of all processes that were started here and have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _quality(folder: Path, data: Mapping[str, str], segment: Segment, slices: int) -> dict[str, Any]:
    file = folder / "factory.pt"
    generator, description = load_generator(file), factory_description(file)
    domains = list(description["domains"])
    figures: dict[str, dict[str, Figure]] = {}
    for domain, root in data.items():
        figures |= audit_factory(generator, description, root, folder / "audit" / domain)
    everywhere = range(len(domains))
    pairs = twin_dice(
        generator, dict.fromkeys(everywhere, segment), len(description["labels"]), slices=slices
    )
    whole = twin_dice(generator, dict.fromkeys(everywhere, _as_one_class(segment)), 2, slices=slices)
    values = [_mean(dice) for dice in drawn_labels_dice(generator, segment, slices=slices)]
    return {
        "figures": {
            domain: {name: list(own[name]) for name in (*KEPT, *COPIED) if name in own}
            for domain, own in figures.items()
        },
        "twins": statistics.fmean(_mean(dice) for dice in pairs.values()),
        "twins_whole": statistics.fmean(_mean(dice) for dice in whole.values()),
        "labels": statistics.fmean(values) if values else None,
    }


def _as_one_class(segment: Segment) -> Segment:
    """Two scores: of the background, and of all classes together."""

    def scores(slices: torch.Tensor) -> torch.Tensor:
        background = segment(slices).softmax(1)[:, :1]
        return torch.cat([background, 1 - background], dim=1)

    return scores


def _mean(dice: torch.Tensor) -> float:
    value = dice.nanmean().item()
    return 0.0 if math.isnan(value) else value  # no network sees the organ in either


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
