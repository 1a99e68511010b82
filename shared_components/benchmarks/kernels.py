"""Times of network kernels and of slice access, beside their alternatives, as ratios within one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from shared_components.data import ClientRoot, SliceDataset
from shared_components.networks.feature_classifier import FeatureClassifier
from shared_components.networks.style_layers import ModulatedConv2d

HEAD = "| kernel | size (px) | ms | alternative | ms | ratio |\n|---|---|---|---|---|---|"


def time_kernels(repeats: int) -> None:
    """Print times of kernels: forward and backward, one thread, batch 4, the median of ``repeats`` calls."""
    torch.set_num_threads(1)
    print(HEAD)
    for size in (8, 16, 32, 64, 128):
        _time_convolution(size, repeats)
    channels, sizes = (64, 64, 64, 32, 16), (4, 8, 16, 32, 64)
    features = [torch.randn(4, c, s, s) for c, s in zip(channels, sizes, strict=True)]
    times = []
    for progressive in (True, False):
        classifier = FeatureClassifier(channels, 2, progressive=progressive)
        times.append(_milliseconds(lambda: classifier(features).sum().backward(), repeats))  # noqa: B023
    _print_row("feature classifier, progressive", 64, times[0], "every level at full size", times[1])


def _time_convolution(size: int, repeats: int) -> None:
    layer, x, w = ModulatedConv2d(64, 64, 3, 128), torch.randn(4, 64, size, size), torch.randn(4, 128)
    times = []
    for fused in (False, True):
        layer.fused = fused
        times.append(_milliseconds(lambda: layer(x, w).sum().backward(), repeats))
    _print_row("modulated convolution, scaled activations", size, times[0], "grouped weights", times[1])


def time_slices(data_root: str, accesses: int) -> None:
    """Print times of slice access with and without the cache, mean of ``accesses`` random slices."""
    root = ClientRoot.load(data_root)
    times = {}
    for cache in ("memory", "none"):
        dataset = SliceDataset(root.items("training")[:4], [root.domain], 48, 4.5, cache=cache)
        order = torch.randint(len(dataset), (accesses,), generator=torch.Generator().manual_seed(0)).tolist()
        start = time.perf_counter()
        for index in order:
            dataset[index]
        times[cache] = (time.perf_counter() - start) * 1000 / accesses
    print(HEAD)
    _print_row("slice from the cache", 48, times["memory"], "volume decoded each time", times["none"])


def _milliseconds(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[2:])


def _print_row(name: str, size: int, first: float, alternative: str, second: float) -> None:
    print(f"| {name} | {size} | {first:.3g} | {alternative} | {second:.3g} | {second / first:.1f} |")
