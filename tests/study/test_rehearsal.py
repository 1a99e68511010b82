from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shared_components.data import datalist
from shared_components.data.slices import SliceDataset
from shared_components.study.rehearsal import DEPTH, BlankSlices, blank_root, rehearse
from shared_components.yaml_files import read_configs

BUNDLES = Path(__file__).parents[2] / "bundles"
LABELS = {0: "background", 1: "brain"}


def tried(tmp_path, bundle, *files, timed=False, **overrides):
    """A rehearsal of a workflow at the smallest sizes, on a data root without images."""
    names = ("common", *files, *(("smoke",) if "train" in files else ()))
    config = read_configs(BUNDLES / bundle / "configs" / f"{name}.yaml" for name in names)
    root = blank_root(tmp_path / "data" / "t1", "t1", LABELS)
    given = {"dataset_dir": root, "labels": LABELS, "output_dir": str(tmp_path / "out"), **overrides}
    before = sorted(tmp_path.rglob("*"))
    found = rehearse(config, given, str(BUNDLES / bundle), timed)
    assert sorted(tmp_path.rglob("*")) == before, "something was written"
    return found


def test_blank_slices_are_those_that_real_ones_would_be_but_for_their_pixels(tmp_path):
    items = datalist(blank_root(tmp_path, "t2", LABELS, subjects=3), "training")
    slices = BlankSlices(items, ["t1", "t2"], size=32, spacing=None, slices_per_volume=2)
    assert isinstance(slices, SliceDataset) and len(slices) == 6
    one = slices[0]
    assert one["image"].shape == (1, 32, 32) and one["image"].abs().max() <= 1 and one["labelled"]
    assert one["label"].shape == (1, 32, 32) and int(one["domain"]) == 1
    assert slices.index[0].depth == DEPTH and len(slices.labelled) == 6
    unlabelled = [{k: v for k, v in item.items() if k != "label"} for item in items]
    assert len(BlankSlices(unlabelled, ["t2"], 32, None).unlabelled) == 3 * DEPTH


def test_updates_are_counted_and_timed_and_the_random_state_is_kept(tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    found = tried(tmp_path, "factory", "train", timed=True, epoch_length=5, max_epochs=4)
    assert torch.equal(torch.rand(1), expected)
    assert found.faults == () and found.updates == 20 and 0 < found.seconds < 10


@pytest.mark.parametrize(
    ("bundle", "files", "overrides", "updates"),
    [
        ("adaptation", ("pretrain",), {"val_interval": 1}, 800),
        (
            "adaptation",
            ("train",),
            {"dataset_dir": "x/t2", "source_dir": "x/t1", "twin_dir": "x/t2", "phases": [3, 4, 5]},
            12,
        ),
        ("adaptation", ("train", "self_training"), {}, 6),
        ("adaptation", ("synthesize",), {}, None),
        ("adaptation", ("inference", "evaluate"), {}, None),
        ("segmentation", ("train",), {"dataset_dir": ["x/t1", "x/t2"], "domains": ["t1", "t2"]}, 4),
        ("segmentation", ("inference",), {}, None),
    ],
)
def test_every_workflow_of_a_study_can_be_rehearsed(tmp_path, bundle, files, overrides, updates):
    found = tried(tmp_path, bundle, *files, **overrides)
    assert found.faults == () and found.seconds is None
    assert updates is None or found.updates == updates


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected a whole number"),
        (
            {"image_size": 36},
            "image_size: 36 does not fit: image_size 36 with 4 channels: expected a base",
        ),
        (
            {"discriminator_channels": [8, 8, 8, 8, 8]},
            "discriminator_channels: [8, 8, 8, 8, 8] does not fit: ",
        ),
        (
            {"growth": {3: 5}},
            "growth: {3: 5} does not fit: growth: expected divisors of the image size among",
        ),
        (
            {"network": "@nope"},
            "network: '@nope' does not fit: ValueError: the referring item `@nope` is not",
        ),
        (
            {"optimizer::_target_": "torch.optim.Admm"},
            "optimizer::_target_: 'torch.optim.Admm' does not fit: ",
        ),
        ({"train::dataset": {"_target_": "nope"}}, "train::dataset: {'_target_': 'nope'} does not fit: "),
        ({"imports": ["$import nope"]}, "imports: ['$import nope'] does not fit: NameError: "),
        (
            {"train::dataset::percentiles": 5, "batch_size": 2},
            "train::dataset::percentiles: 5 does not fit: ",
        ),
    ],
)
def test_what_cannot_be_built_is_told_by_the_override_that_is_to_blame(tmp_path, overrides, message):
    faults = tried(tmp_path, "factory", "train", domains=["t1"], **overrides).faults
    assert len(faults) == 1 and faults[0].startswith(message) and "\n" not in faults[0]
