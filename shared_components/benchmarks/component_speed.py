"""Time and memory of parts, beside their alternatives, as ratios within one run.

Network kernels, slice access, and a meta-learning update against its textbook form.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.func import functional_call

from shared_components.benchmarks import BUNDLES
from shared_components.data import ClientRoot, SliceDataset
from shared_components.engines.meta_step import Losses, MetaGradients, adapted_parameters, meta_gradients
from shared_components.errors import InputError
from shared_components.networks.feature_classifier import FeatureClassifier
from shared_components.networks.style_layers import ModulatedConv2d
from shared_components.value_rules import whole

CONFIGS = BUNDLES / "segmentation" / "configs"
SUBSET = ("style_encoder", "domain_classifier", "decoder", "anatomy_encoder.final_conv")
"""What the published code's inner step moves."""

FORMS = (
    "one differentiation per tensor, published subset",
    "ours, published subset",
    "ours, whole network",
    "ours, whole network, first order",
)
INNER_RATE = 1e-3
SMALLEST = 16  # px; the encoder halves a slice four times
HEAD = "| kernel | size (px) | ms | alternative | ms | ratio |\n|---|---|---|---|---|---|"


def meta_step(
    size: int = 96, batch: int = 4, repeats: int = 5, threads: int = 2, memory: bool = True
) -> None:
    """Time the labelled meta-learning update at published widths and print time, memory and ratios.

    Args:
        size: height and width of a slice, pixels.
        batch: slices in each half of the episode.
        repeats: timed updates of each form, in turns; the median counts.
        threads: of torch.
        memory: measure it, in a fresh process for each form.
    Raises:
        InputError: a number that is too small.
    """
    least = {"size": (size, SMALLEST), "batch": (batch, 1), "repeats": (repeats, 1), "threads": (threads, 1)}
    for name, (found, smallest) in least.items():
        if fault := whole(smallest).fault(name, found):
            raise InputError(fault)
    torch.set_num_threads(threads)
    update = _Update(size, batch)
    difference = update.difference(FORMS[0], FORMS[1])
    seconds: dict[str, list[float]] = {form: [] for form in FORMS}
    for turn in range(repeats + 1):
        for form in FORMS:
            start = time.perf_counter()
            update(form)
            if turn:  # the first warms up
                seconds[form].append(time.perf_counter() - start)
    peaks = {form: _peak_memory(form, size, batch) if memory else float("nan") for form in FORMS}
    print(_table({form: statistics.median(times) for form, times in seconds.items()}, peaks))
    count = sum(p.numel() for p in update.network.parameters() if p.requires_grad) / 1e6
    print(
        f"\n{count:.1f} M parameters, {size} px, {batch} slices in each half of an episode, {threads} threads. "
        f"Largest difference of a gradient between the two forms of the subset: {difference:.1e}."
    )


def _table(seconds: dict[str, float], memory: dict[str, float]) -> str:
    lines = [
        "| meta-learning update | s | times as fast as the first | peak memory (MB) |",
        "|---|---|---|---|",
    ]
    first = seconds[FORMS[0]]
    lines += [
        f"| {form} | {seconds[form]:.3g} | {first / seconds[form]:.2f} | {memory[form]:.0f} |"
        for form in FORMS
    ]
    return "\n".join(lines)


class _Update:
    """A network of the segmentation bundle, an episode, and the forms of its gradient."""

    def __init__(self, size: int, batch: int) -> None:
        from monai.bundle import ConfigParser

        torch.manual_seed(0)
        parser = ConfigParser()
        parser.read_config(
            [str(CONFIGS / f"{name}.yaml") for name in ("common", "train", "meta_learning", "paper")]
        )
        parser["device"] = "cpu"
        self.network: nn.Module = parser.get_parsed_content("disentangled_network").train()
        self.loss = parser.get_parsed_content("loss")
        classes, domains = len(parser["labels"]), len(parser.get_parsed_content("source_domains"))
        self.halves = [self._half(size, batch, classes, domains) for _ in range(2)]

    @staticmethod
    def _half(size: int, batch: int, classes: int, domains: int) -> dict[str, torch.Tensor]:
        return {
            "image": torch.rand(batch, 1, size, size) * 2 - 1,
            "label": torch.randint(classes, (batch, 1, size, size)),
            "domain": torch.arange(batch) % domains,
        }

    def __call__(self, form: str) -> MetaGradients:
        """The update's gradients; the same random numbers every time."""
        torch.manual_seed(1)
        names = adapted_parameters(self.network, SUBSET if "subset" in form else ("",))
        if form == FORMS[0]:
            return self._textbook(names)
        return meta_gradients(
            self.network, self._meta_train, self._meta_test, names, INNER_RATE, "first order" not in form
        )

    def difference(self, form: str, other: str) -> float:
        """Largest absolute difference of a gradient's entry."""
        first, second = self(form).gradients, self(other).gradients
        return max((first[name] - second[name]).abs().max().item() for name in first)

    def _meta_train(self, forward: Callable) -> Losses:
        return self.loss.meta_train(forward(self.halves[0]["image"]), self.halves[0], True)

    def _meta_test(self, forward: Callable) -> Losses:
        return self.loss.meta_test(forward(self.halves[1]["image"]), self.halves[1], True)

    def _textbook(self, names: Sequence[str]) -> MetaGradients:
        """As the formula is written down: differentiate by each tensor, step, and differentiate it all."""
        parameters = dict(self.network.named_parameters())
        train = self._meta_train(self.network)
        total, moved = sum(train.values()), {}
        for name in names:
            (slope,) = torch.autograd.grad(total, parameters[name], create_graph=True, allow_unused=True)
            moved[name] = parameters[name] if slope is None else parameters[name] - INNER_RATE * slope
        test = self._meta_test(lambda *inputs: functional_call(self.network, moved, inputs))
        self.network.zero_grad(set_to_none=True)
        (total + sum(test.values())).backward()
        gradients = {name: p.grad for name, p in parameters.items() if p.grad is not None}
        return MetaGradients(gradients, train, test)


def _peak_memory(form: str, size: int, batch: int) -> float:
    """Megabytes that one update adds to a fresh process that holds the network."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measure_memory, (form, size, batch))


def _measure_memory(form: str, size: int, batch: int) -> float:
    torch.set_num_threads(1)
    update = _Update(size, batch)
    forget_peak()
    before = peak_kilobytes()
    update(form)
    return (peak_kilobytes() - before) / 1024


def forget_peak() -> None:
    """Count the peak memory of this process from now on, without that of the imports (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_kilobytes() -> int:
    """Peak resident memory of this process since it was last reset (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


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
