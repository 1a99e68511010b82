"""What the machine is."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator

import torch

from shared_components.benchmarks.gpu.place import Place, Row

PACKAGES = ("monai", "pytorch-ignite", "nibabel", "numpy")


def about_machine(place: Place) -> Iterator[Row]:
    """Versions, the device, and how fast it multiplies."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    yield Row(f"Python {platform.python_version()}, torch {torch.__version__}", remark=versions)
    if place.cuda:
        properties = torch.cuda.get_device_properties(place.device)
        gigabytes = properties.total_memory / 1e9
        remark = f"capability {properties.major}.{properties.minor}, cuDNN {torch.backends.cudnn.version()}"
        yield Row(properties.name, gigabytes=gigabytes, remark=remark)
    else:
        yield Row(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    for dtype in (torch.float32, torch.bfloat16):
        size = 8192 if place.cuda else 512
        matrix = torch.randn(size, size, device=place.device, dtype=dtype)
        seconds = place.median(lambda: matrix @ matrix)  # noqa: B023
        remark = f"{2 * size**3 / seconds / 1e12:.3g} TFLOP/s"
        yield Row(f"product of matrices, {str(dtype).removeprefix('torch.')}", seconds, remark=remark)
