"""Clients, factories and models small enough to run every workflow of the bundles in a test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.fl.client import MonaiAlgo
from monai.fl.utils.exchange_object import ExchangeObject

from shared_components.config_parsers import with_known_components

BUNDLES = Path(__file__).parents[2] / "bundles"
LABELS = {0: "background", 1: "brain"}
SIZES = {"spacing": 4.0, "device": "$torch.device('cpu')", "picture_every": 0}
SPLITS = {"training": 3, "validation": 1, "test": 1}


def make_root(root: Path, domain: str, labelled: bool = True, shape=(32, 28, 6), seed: int = 0) -> Path:
    """A client data root of five volumes: a ball that is bright in t1 and dark elsewhere, and its label."""
    random = np.random.default_rng(seed)
    affine = np.diag([-4.0, -4.0, 6.0, 1.0])
    content: dict[str, Any] = {"name": root.name, "domain": domain, "modality": {"0": "MRI"}}
    content |= {"labels": {str(value): name for value, name in LABELS.items()}}
    for split, count in SPLITS.items():
        content[split] = []
        for number in range(count):
            centre = np.array(shape) / 2 + random.uniform(-2, 2, 3) * [1, 1, 0]
            distance = np.linalg.norm((np.moveaxis(np.indices(shape), 0, -1) - centre) * [1, 1, 2], axis=-1)
            label = (distance < 8).astype(np.uint8)
            image = 50 + (40.0 if domain == "t1" else -40.0) * label + 5 * random.standard_normal(shape)
            item = {"image": f"images/{split}{number}.nii.gz"}
            save(root / item["image"], image.astype(np.float32), affine)
            if labelled or split == "test":
                item["label"] = f"labels/{split}{number}.nii.gz"
                save(root / item["label"], label, affine)
            content[split].append(item)
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


def save_by_itk(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """NRRD or MetaImage, whose world is LPS."""
    image = itk.image_from_array(np.ascontiguousarray(array.T))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    voxel = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(voxel)
    image.SetOrigin(lps[:3, 3])
    image.SetDirection(itk.matrix_from_array(lps[:3, :3] / voxel))
    itk.imwrite(image, str(path))


def config_files(bundle: str, *names: str) -> list[str]:
    """Paths of ``common.yaml``, the named configs and ``smoke.yaml``, in the order in which they are merged."""
    return [str(BUNDLES / bundle / "configs" / name) for name in ("common.yaml", *names, "smoke.yaml")]


def workflow(bundle: str, *names: str, kind: str = "train", **overrides: Any) -> ConfigWorkflow:
    """A workflow of a bundle at its smoke sizes, initialised (which seeds) but not run."""
    values = SIZES | {"bundle_root": str(BUNDLES / bundle)} | overrides
    flow = ConfigWorkflow(
        config_file=config_files(bundle, *names), workflow_type=kind, logging_file=False,
        **{name: str(value) if isinstance(value, Path) else value for name, value in values.items()},
    )  # fmt: skip
    with_known_components(flow.parser)
    flow.initialize()
    return flow


class Killed(Exception):
    """Stands for the end of a process in the middle of training."""


def kill_at(flow: ConfigWorkflow, update: int) -> None:
    """Run a training workflow until an update after which its process ends."""

    def end() -> None:
        raise Killed

    trainer = flow.parser.get_parsed_content("train::trainer")
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=update), end)
    with pytest.raises(RuntimeError) as caught:
        flow.run()
    assert isinstance(caught.value.__cause__, Killed)


def assert_same_run(expected: Path, found: Path, deliverable: str) -> None:
    """Two runs left the same checkpoint (networks, optimisers, counters, random state), table and deliverable."""
    for file in ("checkpoint.pt", deliverable):
        one, two = (torch.load(folder / file, weights_only=True) for folder in (expected, found))
        assert different(one, two) == [], file
    assert (expected / "metrics.csv").read_text() == (found / "metrics.csv").read_text()


def federated_by_monai(bundle: str, *names: str, rounds: int = 2, **overrides: Any) -> tuple[dict, dict, int]:
    """Weights before and after ``rounds`` rounds of MONAI's stock ``MonaiAlgo``, and its trainer's updates."""
    root = BUNDLES / bundle
    algo = MonaiAlgo(
        bundle_root=str(root),
        config_train_filename=[str(Path(file).relative_to(root)) for file in config_files(bundle, *names)],
        train_kwargs={name: str(v) if isinstance(v, Path) else v for name, v in (SIZES | overrides).items()},
        config_evaluate_filename=None,
        send_weight_diff=False,
    )
    algo.initialize(extra={"CLIENT_NAME": "north"})
    before = {name: tensor.clone() for name, tensor in algo.trainer.network.state_dict().items()}
    weights = before
    for _ in range(rounds):
        algo.train(ExchangeObject(weights=weights), extra={})
        weights = {name: torch.as_tensor(w).clone() for name, w in algo.get_weights(extra={}).weights.items()}
    return before, weights, algo.trainer.state.iteration


def changed_modules(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> set[str]:
    """First parts of the names of tensors that differ."""
    return {name.split(".")[0] for name in after if not torch.equal(before[name], after[name])}


def tensors(path: Path, key: str = "model") -> dict[str, torch.Tensor]:
    """The weights of a file."""
    return torch.load(path, weights_only=True)[key]


def different(expected: Any, found: Any, where: str = "") -> list[str]:
    """Where two nested structures differ."""
    if isinstance(expected, Mapping):
        if expected.keys() != found.keys():
            return [f"{where}: {sorted(map(str, expected.keys() ^ found.keys()))}"]
        return [place for key in expected for place in different(expected[key], found[key], f"{where}/{key}")]
    if isinstance(expected, list | tuple):
        pairs = zip(expected, found, strict=True)
        return [place for n, (a, b) in enumerate(pairs) for place in different(a, b, f"{where}/{n}")]
    same = torch.equal(expected, found) if isinstance(expected, torch.Tensor) else expected == found
    return [] if same else [where]
