"""Time and memory of a full update of the factory, at published widths, against its textbook form."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from monai.bundle import ConfigParser

from shared_components.benchmarks.meta_step import forget_peak, peak_kilobytes
from shared_components.benchmarks.repository import BUNDLES
from shared_components.benchmarks.tables import machine, markdown
from shared_components.benchmarks.textbook_factory import textbook
from shared_components.engines.factory_trainer import FactoryTrainer, lazy_adam
from shared_components.networks.discriminator import Discriminator
from shared_components.networks.factory import FactoryNetwork
from shared_components.networks.generator import Generator

CONFIGS = BUNDLES / "factory" / "configs"
FORMS = ("ours", "textbook")
DOMAINS = 6
KINDS = {2: "plain", 5: "path length", 1: "path length and R1"}  # iteration -> which lazy terms it has
HEAD = ("size (px)", "parameters (M)", "s, ours", "s, textbook", "ratio", "GB, ours", "GB, textbook")


@dataclass(frozen=True)
class Update:
    """What an update takes.

    Attributes:
        seconds: of a discriminator and a generator step, the lazy terms in their share.
        gigabytes: peak memory of the process, the networks, their gradients and Adam's moments included.
    """

    seconds: float
    gigabytes: float


def factory_speed(sizes: Sequence[int], batch: int, repeats: int, threads: int) -> str:
    """The table of full updates at published widths, each form and size in a process of its own.

    Args:
        sizes: heights and widths of a slice, px; each 4 px times a power of two.
        batch: slices of an update.
        repeats: timed updates of each kind, after one that warms up; the fastest counts.
        threads: of torch.
    """
    lines = []
    for size in sizes:
        ours, other = (_apart(form, size, batch, repeats, threads) for form in FORMS)
        numbers = (ours.seconds, other.seconds, other.seconds / ours.seconds, ours.gigabytes, other.gigabytes)
        millions = sum(p.numel() for p in networks(size).parameters()) / 1e6
        lines.append([str(size), f"{millions:.1f}", *(f"{number:.2f}" for number in numbers)])
        print(" | ".join(lines[-1]), flush=True)
    return f"{markdown(HEAD, lines)}\n{batch} slices, {threads} threads. {machine()}"


def _apart(form: str, size: int, batch: int, repeats: int, threads: int) -> Update:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (form, size, batch, repeats, threads))


def _measure(form: str, size: int, batch: int, repeats: int, threads: int) -> Update:
    torch.set_num_threads(threads)
    forget_peak()
    trainer = make_trainer(form, size)
    data = batch_of(size, batch)
    seconds = {kind: [] for kind in KINDS}
    for turn in range(repeats + 1):
        for iteration in KINDS:
            start = time.perf_counter()
            update(trainer, data, iteration)
            if turn:  # the first warms up
                seconds[iteration].append(time.perf_counter() - start)
    return Update(
        _share({kind: min(times) for kind, times in seconds.items()}, trainer), peak_kilobytes() / 1e6
    )


def _share(seconds: dict[int, float], trainer: FactoryTrainer) -> float:
    """Mean over the updates of a period, of which one has both lazy terms."""
    period, every = trainer.r1_every, trainer.path_length_every
    kinds = [1 if number == 0 else 5 if number % every == 0 else 2 for number in range(period)]
    return statistics.fmean(seconds[kind] for kind in kinds)


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
    mapping = {"z_dim": width, "w_dim": width, "mapping_layers": paper["mapping_layers"]}
    return FactoryNetwork(Generator(**common, **mapping), Discriminator(**common, width=width))


def make_trainer(form: str, size: int, **widths: Sequence[int] | int) -> FactoryTrainer:
    """A trainer with the published regularisers; the same initial weights for each ``form``."""
    torch.manual_seed(0)
    network = networks(size, **widths)
    network = textbook(network) if form == "textbook" else network
    return FactoryTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[],
        epoch_length=1,
        network=network,
        optimizer=lazy_adam(network.generator.parameters(), 2e-3, 4),
        discriminator_optimizer=lazy_adam(network.discriminator.parameters(), 2e-3, 16),
        r1_every=16,
        path_length_every=4,
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
