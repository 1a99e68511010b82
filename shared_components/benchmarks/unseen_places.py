"""Where the runs of a table of unseen domains lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared_components.benchmarks.unseen_rows import ROWS
from shared_components.benchmarks.unseen_scenarios import SCENARIOS, UnseenScenario


@dataclass(frozen=True)
class UnseenBench:
    """A scenario at a size, in a folder of its own.

    Attributes:
        name: key of ``SCENARIOS``.
        output_dir: the folder lies in it, see :attr:`folder`.
        fast: a third of the updates of everything.
        smoke: the smallest sizes.
    """

    name: str
    output_dir: Path
    fast: bool = False
    smoke: bool = False

    @property
    def scenario(self) -> UnseenScenario:
        """What is done."""
        return SCENARIOS[self.name]

    @property
    def folder(self) -> Path:
        """``<output_dir>/<scenario>``, with the size."""
        size = [word for word in ("fast", "smoke") if getattr(self, word)]
        return Path(self.output_dir).resolve() / "_".join([self.name, *size])

    @property
    def rows(self) -> tuple[str, ...]:
        """Keys of the rows that there are."""
        return tuple(row for row in ROWS if row not in self.scenario.without)

    def data(self, seed: int) -> Path:
        """Client data roots of a seed, one per domain."""
        return self.folder / f"data{seed}"

    def places(self, seeds: Sequence[int], domains: Sequence[str], rows: Sequence[str]) -> list[Place]:
        """All runs, a seed after the other, so that whole tables of the first seeds come early."""
        return [Place(self, seed, domain, row) for seed in seeds for row in rows for domain in domains]

    def found(self) -> list[Place]:
        """Runs of which something lies in the folder."""
        seeds = sorted(int(path.name.removeprefix("seed")) for path in self.folder.glob("seed[0-9]*"))
        places = self.places(seeds, self.scenario.domains, self.rows)
        return [place for place in places if place.predictions.is_dir()]


@dataclass(frozen=True)
class Place:
    """A run: one row, held-out domain and seed.

    Attributes:
        bench: whose run.
        seed: of the subjects, the choice of labelled ones and the training.
        held_out: the domain that is scored.
        row: key of ``ROWS``.
    """

    bench: UnseenBench
    seed: int
    held_out: str
    row: str

    @property
    def data(self) -> Path:
        """Client data roots of the seed, one per domain."""
        return self.bench.data(self.seed)

    @property
    def tested(self) -> Path:
        """The data root whose test volumes are scored."""
        return self.data / self.bench.scenario.tests / self.held_out

    @property
    def training(self) -> Path:
        """Output of the training, or of the study that trains."""
        return self.bench.folder / f"seed{self.seed}" / self.held_out / self.row / "training"

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
