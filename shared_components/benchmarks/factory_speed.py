"""Time and memory of a full update of the factory, at published widths, against its textbook form.

That is the networks as the papers' formulas are written down: equal numbers, slower.

Source: Karras et al. 2020 (StyleGAN2), Sec. 2.2 and Appendix B; Karras et al. 2019, Sec. 2, for the filter.
"""

from __future__ import annotations

import copy
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from monai.bundle import ConfigParser
from torch import Tensor, nn

from shared_components.benchmarks import BUNDLES
from shared_components.benchmarks.component_speed import forget_peak, peak_kilobytes
from shared_components.benchmarks.tables import machine, markdown
from shared_components.engines.factory_trainer import FactoryTrainer, lazy_adam
from shared_components.networks.discriminator import Discriminator
from shared_components.networks.factory import FactoryNetwork
from shared_components.networks.generator import Generator
from shared_components.networks.style_layers import FirDownsample, FirUpsample, ModulatedConv2d

CONFIGS = BUNDLES / "factory" / "configs"
FORMS = {  # as in the table -> the form, and its switches
    "ours": ("ours", {}),
    "ours, bfloat16": ("ours", {"amp": True}),
    "textbook": ("textbook", {}),
}
DOMAINS = 6
KINDS = (2, 5, 1)  # iterations of a training: without lazy terms, with path length, with path length and R1
HEAD = (
    *("size (px)", "parameters (M)", *(f"s, {form}" for form in FORMS), "textbook / ours"),
    *("textbook / ours, bfloat16", *(f"GB, {form}" for form in FORMS)),
)
Network = TypeVar("Network", bound=nn.Module)


def factory_speed(sizes: Sequence[int], batch: int, repeats: int, threads: int, **widths: Any) -> str:
    """The table of full updates; the forms take turns, so that both see the same machine.

    Args:
        sizes: heights and widths of a slice, px; each 4 px times a power of two.
        batch: slices of an update.
        repeats: timed updates of each kind and form; the fastest counts.
        threads: of torch.
        widths: ``channels`` and ``width`` of :func:`networks`; the published ones by default.
    """
    lines = []
    for size in sizes:
        peaks = [_apart(_peak, form, size, batch, threads, widths) for form in FORMS]
        times = _apart(_seconds, size, batch, repeats, threads, widths)
        ratios = (times[-1] / ours for ours in times[:-1])
        millions = sum(p.numel() for p in networks(size, **widths).parameters()) / 1e6
        lines.append([str(size), f"{millions:.1f}", *(f"{n:.2f}" for n in (*times, *ratios, *peaks))])
        print(" | ".join(lines[-1]), flush=True)
    return f"{markdown(HEAD, lines)}\n{batch} slices, {threads} threads. {machine()}"


def _apart(call: Callable[..., Any], *arguments: Any) -> Any:
    """What ``call`` returns in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(call, arguments)


def _peak(form: str, size: int, batch: int, threads: int, widths: Mapping[str, Any]) -> float:
    """Most GB that an update of any kind takes, the process, the networks and Adam's moments included."""
    torch.set_num_threads(threads)
    trainer, data = _trainer(form, size, widths), batch_of(size, batch)
    forget_peak()
    for iteration in KINDS:
        update(trainer, data, iteration)
    return peak_kilobytes() * 1024 / 1e9


def _seconds(size: int, batch: int, repeats: int, threads: int, widths: Mapping[str, Any]) -> list[float]:
    """s of an update of each form, the lazy terms in their share."""
    torch.set_num_threads(threads)
    trainers, data = [_trainer(form, size, widths) for form in FORMS], batch_of(size, batch)
    fastest = [dict.fromkeys(KINDS, math.inf) for _ in FORMS]
    for _ in range(repeats):
        for iteration in KINDS:
            for trainer, times in zip(trainers, fastest, strict=True):
                start = time.perf_counter()
                update(trainer, data, iteration)
                times[iteration] = min(times[iteration], time.perf_counter() - start)
    return [share(times, trainer) for times, trainer in zip(fastest, trainers, strict=True)]


def share(seconds: Mapping[int, float], trainer: FactoryTrainer) -> float:
    """Mean s over the updates of a period, of which one has both lazy terms; ``seconds``: of each of ``KINDS``."""
    period, every = trainer.r1_every, trainer.path_length_every
    kinds = [1 if number == 0 else 5 if number % every == 0 else 2 for number in range(period)]
    return statistics.fmean(seconds[kind] for kind in kinds)


def _trainer(name: str, size: int, widths: Mapping[str, Any]) -> FactoryTrainer:
    form, switches = FORMS[name]
    return make_trainer(form, size, switches=switches, **widths)


def networks(size: int, channels: Sequence[int] | None = None, width: int | None = None) -> FactoryNetwork:
    """Generator, discriminator and average of ``paper.yaml`` at another size.

    Args:
        size: height and width of a slice, px.
        channels: widths per resolution, coarsest first; None: the published ones.
        width: of z and w; None: the published one.
    """
    paper = ConfigParser.load_config_file(CONFIGS / "paper.yaml")
    widths = list(channels or paper["channels"][: (size // 4).bit_length()])
    width = width or paper["w_dim"]
    common = {"size": size, "domains": DOMAINS, "positions": paper["positions"], "channels": widths}
    mapping = {"z_dim": width, "w_dim": width, "mapping_layers": paper["mapping_layers"], "mapping_lr": 0.01}
    return FactoryNetwork(Generator(**common, **mapping), Discriminator(**common, width=width))


def make_trainer(
    form: str,
    size: int,
    device: torch.device | str = "cpu",
    switches: Mapping[str, Any] | None = None,
    **widths: Any,
) -> FactoryTrainer:
    """A trainer with the published regularisers; the same initial weights for each ``form``.

    Args:
        form: ours or textbook.
        size: height and width of a slice, px.
        device: to train on.
        switches: of :class:`UpdateTrainer`, such as ``{"amp": True}``.
        widths: see :func:`networks`.
    """
    torch.manual_seed(0)
    network = networks(size, **widths)
    network = (textbook(network) if form == "textbook" else network).to(device)
    return FactoryTrainer(
        device=torch.device(device),
        max_epochs=1,
        train_data_loader=[],
        epoch_length=1,
        network=network,
        optimizer=lazy_adam(network.generator.parameters(), 2e-3, 4),
        discriminator_optimizer=lazy_adam(network.discriminator.parameters(), 2e-3, 16),
        r1_gamma=10.0,
        r1_every=16,
        path_length_weight=2.0,
        path_length_every=4,
        ema_decay=0.995,
        **(switches or {}),
    )


def batch_of(size: int, batch: int) -> dict[str, torch.Tensor]:
    """Noise in place of slices, the same every time."""
    torch.manual_seed(1)
    return {
        "image": torch.rand(batch, 1, size, size) * 2 - 1,
        "domain": torch.arange(batch) % DOMAINS,
        "interval": torch.linspace(0, 1, batch)[:, None].expand(-1, 2),
    }


def update(trainer: FactoryTrainer, data: dict[str, torch.Tensor], iteration: int) -> None:
    """An update as the ``iteration``-th of a training, with the same random numbers for each form."""
    torch.manual_seed(2)
    trainer.state.iteration = iteration
    trainer._iteration(trainer, data)


def _zero_insertion(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, 2H, 2W), whose odd rows and columns are 0."""
    batch, channels, height, width = x.shape
    wide = x.new_zeros(batch, channels, 2 * height, 2 * width)
    wide[..., ::2, ::2] = x
    return wide


def _fir(x: Tensor, gain: float) -> Tensor:
    """The filter [1, 3, 3, 1] at every pixel: (B, C, H, W) to (B, C, H - 3, W - 3).

    Args:
        x: images or features, padded.
        gain: sum of the filter's 16 numbers.
    """
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], device=x.device, dtype=x.dtype)
    kernel = torch.outer(taps, taps) * (gain / 64)
    return F.conv2d(x, kernel.expand(x.shape[1], 1, 4, 4), groups=x.shape[1])


class TextbookUpsample(nn.Module):
    """Zero insertion, then the filter at every pixel; (B, C, H, W) to (B, C, 2H, 2W)."""

    def forward(self, x: Tensor) -> Tensor:
        return _fir(F.pad(_zero_insertion(x), (2, 1, 2, 1)), 4.0)


class TextbookDownsample(nn.Module):
    """The filter at every pixel, then every second one; (B, C, H, W) to (B, C, H/2, W/2)."""

    def forward(self, x: Tensor) -> Tensor:
        return _fir(F.pad(x, (1, 2, 1, 2)), 1.0)[..., ::2, ::2]


class TextbookModulatedConv2d(nn.Module):
    """A weight for every sample in one grouped convolution, of zero-inserted features where they are upsampled.

    Args:
        layer: whose parameters it has.
    """

    def __init__(self, layer: ModulatedConv2d) -> None:
        super().__init__()
        self.weight, self.affine, self.scale = layer.weight, layer.affine, layer.scale
        self.demodulate, self.upsample = layer.demodulate, layer.upsample

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """``x`` (B, C_in, H, W) and ``w`` (B, w_dim) to (B, C_out, H, W), twice as large when upsampling."""
        kernels = self.weight * self.scale * self.affine(w)[:, None, :, None, None]  # (B, C_out, C_in, k, k)
        if self.demodulate:
            kernels = kernels * torch.rsqrt(kernels.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8)
        if self.upsample:  # a transposed convolution turns its kernel round
            x, kernels = F.pad(_zero_insertion(x), (2, 1, 2, 1)), kernels.flip(3, 4)
        out = F.conv2d(
            x.reshape(1, -1, *x.shape[2:]),
            kernels.flatten(0, 1),
            padding=0 if self.upsample else kernels.shape[-1] // 2,
            groups=len(w),
        ).reshape(len(w), -1, *self._size(x, kernels))
        return _fir(F.pad(out, (1, 1, 1, 1)), 4.0) if self.upsample else out

    def _size(self, x: Tensor, kernels: Tensor) -> tuple[int, int]:
        less = kernels.shape[-1] - 1 if self.upsample else 0
        return x.shape[-2] - less, x.shape[-1] - less


TEXTBOOK = {FirUpsample: TextbookUpsample, FirDownsample: TextbookDownsample}


def textbook(network: Network) -> Network:
    """A copy of ``network`` with the same parameters whose layers are the textbook's."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, ModulatedConv2d):
                setattr(module, name, TextbookModulatedConv2d(child))
            elif type(child) in TEXTBOOK:
                setattr(module, name, TEXTBOOK[type(child)]())
    return network
