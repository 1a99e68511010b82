"""Inference with a network whose answer is known: each pixel gets the class with the nearest of three intensities."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.bundle import ConfigWorkflow

CONFIGS = Path(__file__).parents[2] / "bundles" / "adaptation" / "configs"
LABELS = {0: "background", 1: "shell", 2: "core"}


def save_network(path: Path) -> Path:
    """Weights of a 1 × 1 convolution to the scores 8 (c x - c² / 2) with c = -1, 0, 1."""
    levels = torch.tensor([-1.0, 0.0, 1.0])
    torch.save({"model": {"weight": 8 * levels.reshape(3, 1, 1, 1), "bias": -4 * levels**2}}, path)
    return path


def inference(source: str | Path, output_dir: Path, ckpt_path: Path, **overrides) -> ConfigWorkflow:
    """The adaptation bundle's inference, initialised but not run; by default without resampling."""
    values = {
        "device": "$torch.device('cpu')", "labels": LABELS, "image_size": 16, "spacing": None,
        "orientation": "RAS", "percentiles": [0, 100], "bundle_root": str(CONFIGS.parent),
        "network_def": {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 3, "kernel_size": 1},
        "dataset_dir": source, "output_dir": output_dir, "ckpt_path": ckpt_path,
    }  # fmt: skip
    workflow = ConfigWorkflow(
        config_file=[str(CONFIGS / name) for name in ("common.yaml", "inference.yaml")],
        workflow_type="inference", logging_file=False,
        **{name: str(v) if isinstance(v, Path) else v for name, v in (values | overrides).items()},
    )  # fmt: skip
    workflow.initialize()
    return workflow
