"""Where the runs of the cardiac quality table lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared_components.benchmarks.cardiac_rows import ROWS
from shared_components.data.phantoms.cardiac import SCANNERS

DOMAINS = tuple(SCANNERS)


@dataclass(frozen=True)
class Place:
    """A run: one row, held-out domain and seed.

    Attributes:
        folder: of the whole benchmark.
        seed: of the subjects, the choice of labelled ones and the training.
        held_out: the domain that is scored.
        row: key of ``ROWS``.
    """

    folder: Path
    seed: int
    held_out: str
    row: str

    @property
    def data(self) -> Path:
        """Client data roots of the seed, one per domain."""
        return self.folder.resolve() / f"data{self.seed}"

    @property
    def training(self) -> Path:
        """Output of the training, or of the study that trains."""
        return self.folder.resolve() / f"seed{self.seed}" / self.held_out / self.row / "training"

    @property
    def trained(self) -> Path:
        """Where the training has put ``model.pt`` and ``metrics.csv``."""
        return self.training / "generalisation" if ROWS[self.row].synthetic else self.training

    @property
    def predictions(self) -> Path:
        """Segmentations of the held-out domain's test subjects, and their scores."""
        return self.training.parent / "predictions"

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.held_out} held out, {ROWS[self.row].name}"


def job_places(
    folder: Path, seeds: Sequence[int], domains: Sequence[str], rows: Sequence[str]
) -> list[Place]:
    """All runs, a seed after the other, so that whole tables of the first seeds come early."""
    return [Place(folder, seed, domain, row) for seed in seeds for row in rows for domain in domains]
