"""What an update waits for: how busy the GPU is, how many kernels are launched, how often the host waits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from shared_components.benchmarks.gpu.place import Place

LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
TOLD = 3  # of what takes most of the time


def waits(place: Place, call: Callable[[], Any]) -> str:
    """A line about one call: on a GPU its share of the time that kernels run, launches, waits, and what takes most."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if place.cuda else [])]
    with profile(activities=activities) as found:
        seconds = place.seconds(call)
    events = found.key_averages()
    if not place.cuda:
        return f"most of it: {_most(events, 'self_cpu_time_total', seconds)}"
    kernels = [event for event in events if event.device_type == DeviceType.CUDA]
    busy = sum(event.self_device_time_total for event in kernels) / 1e6
    counts = {event.key: event.count for event in events}
    launched, waited = (sum(counts.get(name, 0) for name in names) for names in (LAUNCHES, WAITS))
    most = _most(kernels, "self_device_time_total", seconds)
    return f"kernels run {busy / seconds:.0%} of it, {launched} launches, {waited} waits; most of it: {most}"


def _most(events: Any, time: str, seconds: float) -> str:
    """The operations with most time of their own, with their share of ``seconds``."""
    first = sorted(events, key=lambda event: getattr(event, time), reverse=True)[:TOLD]
    return ", ".join(f"{event.key[:60]} {getattr(event, time) / 1e6 / seconds:.0%}" for event in first)


@contextlib.contextmanager
def free_choice() -> Iterator[None]:
    """cuDNN tries its ways to convolve and takes the fastest, where a training's seed has it take a repeatable one."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
