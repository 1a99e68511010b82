"""Where the check runs, what the machine is, and how time and memory are measured there."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from monai.bundle import ConfigWorkflow

from shared_components.benchmarks import BUNDLES
from shared_components.benchmarks.component_speed import forget_peak, peak_kilobytes
from shared_components.federation.bundle_workflow import without_remarks

PACKAGES = ("monai", "pytorch-ignite", "nibabel", "numpy")


class CheckedPart(NamedTuple):
    """A line of the table: what was done, its time (s), most memory (GB), a remark, whether it is as it should be."""

    what: str
    seconds: float | None = None
    gigabytes: float | None = None
    remark: str = ""
    well: bool = True


class CallCost(NamedTuple):
    """Wall time (s) and most memory (GB) of a call: of the GPU's tensors, or of the whole process on a CPU."""

    seconds: float
    gigabytes: float


@dataclass(frozen=True)
class CheckPlace:
    """What every step of the check gets.

    Attributes:
        device: that is checked.
        folder: for data and runs.
        smoke: at the smallest sizes.
    """

    device: torch.device
    folder: Path
    smoke: bool

    @property
    def cuda(self) -> bool:
        """Whether the device is a GPU of NVIDIA."""
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def cost(self, call: Callable[[], Any]) -> CallCost:
        """Of one call."""
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            forget_peak()
        seconds = self.seconds(call)
        peak = torch.cuda.max_memory_allocated(self.device) if self.cuda else peak_kilobytes() * 1024
        return CallCost(seconds, peak / 1e9)

    def seconds(self, call: Callable[[], Any]) -> float:
        """Wall time of one call."""
        self.wait()
        start = time.perf_counter()
        call()
        self.wait()
        return time.perf_counter() - start

    def median(self, call: Callable[[], Any], repeats: int = 5) -> float:
        """Median wall time (s) of ``repeats`` calls, after one more."""
        call()
        return statistics.median(self.seconds(call) for _ in range(repeats))

    def workflow(self, bundle: str, names: Sequence[str], values: Mapping[str, Any]) -> ConfigWorkflow:
        """A workflow of a bundle on the device, initialised (which seeds) and not run.

        Args:
            bundle: its name.
            names: config files after ``common.yaml``, in the order in which they are merged.
            values: ids and values that replace the configs'.
        """
        own = {"bundle_root": str(BUNDLES / bundle), "device": f"$torch.device('{self.device}')"}
        files = [str(BUNDLES / bundle / "configs" / name) for name in ("common.yaml", *names)]
        kind = "train" if any("train.yaml" in name for name in names) else None
        with without_remarks():
            flow = ConfigWorkflow(files, logging_file=False, workflow_type=kind, **own | dict(values))
        flow.initialize()
        return flow

    def run(self, bundle: str, *names: str, **values: Any) -> CallCost:
        """Run a workflow of a bundle, see :meth:`workflow`."""

        def run() -> None:
            flow = self.workflow(bundle, names, values)
            flow.run()
            flow.finalize()

        return self.cost(run)


def about_machine(place: CheckPlace) -> Iterator[CheckedPart]:
    """Versions, the device, and how fast it multiplies."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    yield CheckedPart(f"Python {platform.python_version()}, torch {torch.__version__}", remark=versions)
    if place.cuda:
        properties = torch.cuda.get_device_properties(place.device)
        gigabytes = properties.total_memory / 1e9
        remark = f"capability {properties.major}.{properties.minor}, cuDNN {torch.backends.cudnn.version()}"
        yield CheckedPart(properties.name, gigabytes=gigabytes, remark=remark)
    else:
        yield CheckedPart(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    for dtype in (torch.float32, torch.bfloat16):
        size = 8192 if place.cuda else 512
        matrix = torch.randn(size, size, device=place.device, dtype=dtype)
        seconds = place.median(lambda: matrix @ matrix)  # noqa: B023
        remark = f"{2 * size**3 / seconds / 1e12:.3g} TFLOP/s"
        yield CheckedPart(f"product of matrices, {str(dtype).removeprefix('torch.')}", seconds, remark=remark)
