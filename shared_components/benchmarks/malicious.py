"""A federation of four hospitals of which one is malicious, by every aggregator: where does the loss end?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared_components.benchmarks import BUNDLES
from shared_components.benchmarks.tables import machine, markdown
from shared_components.data.phantoms import make_cardiac
from shared_components.errors import InputError
from shared_components.federation import FedAvg, FedMedian, MultiKrum, NormBounded, TrimmedMean
from shared_components.federation.aggregators.aggregation import l2_norm
from shared_components.federation.bundle_workflow import build_workflow
from shared_components.federation.client import FederatedClient
from shared_components.files import write_text

BUNDLE = BUNDLES / "adaptation"
CONFIGS = ("common.yaml", "pretrain.yaml")
LABELS = {0: "background", 1: "left ventricle", 2: "myocardium", 3: "right ventricle"}
HOSPITALS = ("east", "north", "south", "west")
MALICIOUS = "west"
MAKERS: dict[str, Callable[[], FedAvg]] = {
    "FedAvg": FedAvg,
    "FedMedian": FedMedian,
    "TrimmedMean, beta 0.2": TrimmedMean,
    "NormBounded": NormBounded,
    "MultiKrum, odd 1": MultiKrum,
}
Weights = Mapping[str, Tensor]
Attack = Callable[[Weights, Weights, torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True)
class MaliciousSize:
    """How large the federation is.

    Attributes:
        rounds, updates: of the federation, and of each client in a round.
        subjects: of each hospital: training, validation, test volumes.
        coarseness: factor on the voxel size of the phantoms.
        overrides: of the bundle's config.
    """

    rounds: int
    updates: int
    subjects: tuple[int, int, int]
    coarseness: float
    overrides: Mapping[str, Any]


COMMON = {"image_size": 32, "spacing": 5.5, "orientation": "native", "learning_rate": 0.01}
USUAL = MaliciousSize(20, 10, (8, 3, 0), 2.0, {"segmenter_channels": [8, 16, 32], "looks": "none"})
SMOKE = MaliciousSize(2, 2, (1, 1, 0), 4.0, {"segmenter_channels": [4, 8], "batch_size": 2})


def scaled(factor: float) -> Attack:
    """A client that sends ``factor`` times its change."""

    def attack(sent: Weights, start: Weights, generator: torch.Generator) -> dict[str, Tensor]:
        return {name: start[name] + factor * (tensor - start[name]) for name, tensor in sent.items()}

    return attack


def noise(factor: float) -> Attack:
    """A client that sends Gaussian noise ``factor`` times as long as its change."""

    def attack(sent: Weights, start: Weights, generator: torch.Generator) -> dict[str, Tensor]:
        drawn = {name: torch.randn(tensor.shape, generator=generator) for name, tensor in sent.items()}
        scale = factor * l2_norm(sent, start) / l2_norm(drawn)
        return {name: start[name] + scale * tensor for name, tensor in drawn.items()}

    return attack


ATTACKS: dict[str, Attack] = {
    "none": scaled(1.0),
    "10⁶-fold": scaled(1e6),
    "sign flipped, 10-fold": scaled(-10.0),
    "random, 10-fold": noise(10.0),
}


class Hospitals:
    """Four clients, built once, and the loss of their models.

    Args:
        folder: for their phantoms and states.
        size: of everything.
    """

    def __init__(self, folder: Path, size: MaliciousSize) -> None:
        self._folder, self._size = folder, size
        self.clients = {name: self._client(seed, name) for seed, name in enumerate(HOSPITALS)}
        self.start = self.clients[HOSPITALS[0]].shared_weights()
        for name, client in self.clients.items():
            client.save_state(folder / f"{name}.pt")
        judges = [self._workflow(name) for name in HOSPITALS]
        self._network, self._loss = (judges[0].parser.get_parsed_content(id) for id in ("network", "loss"))
        self._batches = [
            batch for judge in judges for batch in judge.parser.get_parsed_content("validate::dataloader")
        ]

    def train(self, aggregator: FedAvg, attack: Attack) -> float:
        """The loss after all rounds, from the same start each time.

        Raises:
            InputError: a client's training diverged.
        """
        for name, client in self.clients.items():
            client.load_state(self._folder / f"{name}.pt")
        weights, generator = self.start, torch.Generator().manual_seed(0)
        for _ in range(self._size.rounds):
            updates = {name: client.run_round(weights) for name, client in self.clients.items()}
            sent = {name: update.weights for name, update in updates.items()}
            sent[MALICIOUS] = attack(sent[MALICIOUS], weights, generator)
            weights = aggregator(sent, {name: update.images for name, update in updates.items()}, weights)
        return self.loss(weights)

    @torch.no_grad()
    def loss(self, weights: Weights) -> float:
        """The training's loss, over the validation slices of all hospitals."""
        trained = {name.removeprefix("trained."): tensor for name, tensor in weights.items()}
        self._network.trained.load_state_dict(trained)
        self._network.eval()
        counts = [len(batch["image"]) for batch in self._batches]
        losses = [self._loss(self._network(b["image"]), b["label"]).item() for b in self._batches]
        return sum(n * loss for n, loss in zip(counts, losses, strict=True)) / sum(counts)

    def _client(self, seed: int, name: str) -> FederatedClient:
        """Hearts as scanner A sees them: other people in every hospital."""
        subjects = {"A": self._size.subjects, **dict.fromkeys("BCD", (0, 0, 0))}
        make_cardiac(
            self._folder / name,
            seed=seed,
            subjects=subjects,
            workers=1,
            coarseness=self._size.coarseness,
            generalisation=True,
        )
        overrides = self._overrides(name) | {"seed": seed, "val_interval": 0}
        return FederatedClient(str(BUNDLE), self._files, overrides, self._size.updates)

    def _workflow(self, name: str) -> Any:
        return build_workflow(str(BUNDLE), self._files, self._overrides(name) | {"val_interval": 1})

    @property
    def _files(self) -> list[str]:
        return [str(BUNDLE / "configs" / name) for name in CONFIGS]

    def _overrides(self, name: str) -> dict[str, Any]:
        rounds, updates = self._size.rounds, self._size.updates
        paths = {
            "dataset_dir": str(self._folder / name / "A"),
            "output_dir": str(self._folder / "out" / name),
        }
        return {
            **COMMON,
            "average": 0.0,  # what is attacked is the network that trains, exchanged alone
            **self._size.overrides,
            **paths,
            "domains": ["A"],
            "labels": LABELS,
            "device": "$torch.device('cpu')",
            "quiet": True,
            "epoch_length": updates,
            "max_epochs": rounds,
        }


def malicious_benchmark(output_dir: str | Path, smoke: bool = False) -> str:
    """Train by every aggregator beside every kind of malicious client; the table, also in ``malicious.md``.

    What the malicious client sends is spoilt after its own training and before the aggregation; nothing screens it.

    Args:
        output_dir: phantoms, states and the table go into ``<output_dir>/malicious``.
        smoke: at the smallest size, to try it.
    """
    folder, size = Path(output_dir).resolve() / ("malicious_smoke" if smoke else "malicious"), _size(smoke)
    torch.set_num_threads(1)
    hospitals = Hospitals(folder, size)
    began = time.perf_counter()
    ends = {maker: {attack: _end(hospitals, maker, attack) for attack in ATTACKS} for maker in MAKERS}
    table = result_table(ends, hospitals.loss(hospitals.start))
    runs = len(MAKERS) * len(ATTACKS)
    table += (
        f"\n{runs} trainings of {size.rounds} rounds of {size.updates} updates at each of {len(HOSPITALS)} clients, "
        f"{time.perf_counter() - began:.0f} s. {machine()}\n"
    )
    write_text(folder / "malicious.md", table)
    return table


def _size(smoke: bool) -> MaliciousSize:
    return SMOKE if smoke else USUAL


def _end(hospitals: Hospitals, maker: str, attack: str) -> float | None:
    """The final loss, None where the training diverged; says so, since all of them take minutes."""
    try:
        loss = hospitals.train(MAKERS[maker](), ATTACKS[attack])
    except InputError as error:
        print(f"{maker}, {attack}: {error}", flush=True)
        return None
    print(f"{maker}, {attack}: {loss:.4g}", flush=True)
    return loss


def result_table(ends: Mapping[str, Mapping[str, float | None]], untrained: float) -> str:
    """Final losses as multiples of FedAvg's without an attack.

    Args:
        ends: aggregator -> attack -> loss, None: diverged.
        untrained: the loss at the start.
    """
    attacks = list(next(iter(ends.values())))
    clean = ends["FedAvg"]["none"]
    if clean is None:
        raise InputError("FedAvg without an attack has diverged; lower the learning rate")
    lines = [
        [maker, *("diverged" if loss is None else _times(loss / clean) for loss in row.values())]
        for maker, row in ends.items()
    ]
    head = markdown(["final loss / clean FedAvg's", *attacks], lines)
    return f"{head}\nClean FedAvg ends at {clean:.3f}; untrained {untrained:.3f}, {untrained / clean:.1f} times that.\n"


def _times(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio < 10 else f"{ratio:.3g}"
