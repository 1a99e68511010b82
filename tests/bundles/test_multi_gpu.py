"""multi_gpu.yaml of every bundle, by two processes on the CPU."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigWorkflow
from torch import multiprocessing

from shared_components.yaml_files import read_configs
from tests.bundles.tiny import BUNDLES, LABELS, changed_modules, different, workflow

CONFIGS = {  # the run's name, which begins with the bundle's -> configs; smoke.yaml, merged last, cuts sizes
    "factory": ["train.yaml"],
    "adaptation": ["pretrain.yaml"],
    "segmentation": ["train.yaml"],
    "factory-paper": ["train.yaml", "paper.yaml"],
    "segmentation-paper": ["train.yaml", "meta_learning.yaml", "paper.yaml"],
}
HEARTS = {"domains": ["t1"], "labels": LABELS}
CUT = {"anatomy_encoder::features": [4, 4, 8, 8, 8, 4], "style_hidden": 16}
VALUES = {"segmentation": HEARTS, "segmentation-paper": HEARTS | CUT}


def build(run: str, clients: Path, output_dir: Path, *more: str, **overrides) -> ConfigWorkflow:
    return workflow(
        run.partition("-")[0], *CONFIGS[run], *more, dataset_dir=clients / "north", output_dir=output_dir, max_epochs=2,
        ckpt_path=output_dir / "model.pt", **VALUES.get(run, {}), **overrides,
    )  # fmt: skip


def train(rank: int, ports: dict[str, int], clients: Path, folder: Path) -> None:
    """One of two processes: the runs in turn."""
    torch.set_num_threads(1)
    for run, port in ports.items():
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        flow = build(run, clients, folder / run, "multi_gpu.yaml")
        flow.run()
        flow.finalize()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def trained(clients, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    multiprocessing.spawn(train, ({name: free_port() for name in CONFIGS}, clients, folder), nprocs=2)
    return folder


def checkpoint(folder: Path) -> dict:
    return torch.load(folder / "checkpoint.pt", weights_only=True)


@pytest.mark.parametrize("run", CONFIGS)
def test_processes_draw_their_own_batches_and_share_every_step(run, trained):
    first, second = checkpoint(trained / run), checkpoint(trained / run / "rank1")
    assert different(first["network"], second["network"]) == []
    assert different(first["optimizer"], second["optimizer"]) == []
    assert different(first["random_state"]["torch"], second["random_state"]["torch"])
    assert first["trainer"]["iteration"] == second["trainer"]["iteration"] == 4


@pytest.mark.parametrize("run", CONFIGS)
def test_the_first_process_writes_the_files(run, trained):
    deliverable = "factory.pt" if run.startswith("factory") else "model.pt"
    assert {"metrics.csv", "tensorboard", deliverable} <= {p.name for p in (trained / run).iterdir()}
    assert [path.name for path in (trained / run / "rank1").iterdir()] == ["checkpoint.pt"]
    assert len(list((trained / run / "tensorboard").iterdir())) == 1


def test_two_processes_train_otherwise_than_one(clients, trained, tmp_path):
    build("adaptation", clients, tmp_path).run()
    alone = checkpoint(tmp_path)["network"]
    assert changed_modules(alone, checkpoint(trained / "adaptation")["network"])


@pytest.mark.parametrize("name", ["factory", "adaptation", "segmentation"])
def test_each_process_has_a_seed_of_its_own_and_checks_of_other_files_stay(name):
    files = ["common.yaml", *CONFIGS[name], "multi_gpu.yaml"]
    config = read_configs(BUNDLES / name / "configs" / file for file in files)
    assert "$monai.utils.set_determinism(seed=@seed + @rank)" in config["initialize"]
    assert config["initialize"][-2] == "$distributed.init_process_group(@backend)"


def test_the_mean_of_gradients_is_asked_for_before_the_trainer_that_clips_them():
    folder = BUNDLES / "segmentation" / "configs"
    config = read_configs(folder / f"{name}.yaml" for name in ("common", "train", "multi_gpu"))
    assert config["run"][0] == "@shared_updates"
