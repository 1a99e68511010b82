"""What a federation costs beside the training: time of a round, bytes of a client, memory of all processes."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shared_components.benchmarks import REPOSITORY
from shared_components.benchmarks.process_tree import Peak, watched
from shared_components.benchmarks.tables import machine, markdown, read_table
from shared_components.data.phantoms import make_heads
from shared_components.errors import InputError
from shared_components.federation.client import FederatedClient
from shared_components.federation.federation import Federation
from shared_components.federation.federation_file import read_federation
from shared_components.files import make_folder, remove_tree, write_text

DOMAINS = ("t1", "t2", "pet")
ENGINES = ("local", "nvflare")
ROUND = 100  # updates of the round that the overhead is compared with
ROUND_SECONDS = re.compile(r"^round (\d+)/.*\| ([\d.]+) s, [\d:]+ left$", re.MULTILINE)


@dataclass(frozen=True)
class FactorySize:
    """How large the factory is, and how much of it is run.

    Attributes:
        name: for the table.
        overrides: of the bundle's config.
        rounds, updates: of a run.
    """

    name: str
    overrides: Mapping[str, Any]
    rounds: int
    updates: int


def _overrides(channels: Sequence[int], width: int, image_size: int = 64) -> dict[str, Any]:
    """Widths of the generator and the discriminator, at the field of view of the bundle's own size."""
    same = {"channels": list(channels), "discriminator_channels": list(channels)}
    pixels = {"image_size": image_size, "spacing": 4.5 * 48 / image_size, "growth": {}, "picture_every": 0}
    return {**pixels, **same, "z_dim": width, "w_dim": width}


SIZES = (
    FactorySize("1 M", _overrides((64, 64, 64, 32, 16), 128), rounds=5, updates=4),
    FactorySize("30 M", _overrides((352, 352, 352, 224, 112), 512), rounds=4, updates=2),
)
SMOKE = (FactorySize("smoke", _overrides((8, 8, 8), 16, 32), rounds=2, updates=1),)


@dataclass(frozen=True)
class Cost:
    """What a run cost.

    Attributes:
        overhead: s of a round in which no client of the slowest worker trained, median over rounds.
        update: s of that worker's training in a round, over the updates of the round, median over rounds.
        up, down: bytes of one client in a round.
        peak: memory of all processes.
    """

    overhead: float
    update: float
    up: int
    down: int
    peak: Peak


def federation_benchmark(
    output_dir: str | Path,
    clients: Sequence[int] = (3, 8),
    engines: Sequence[str] = ENGINES,
    smoke: bool = False,
) -> str:
    """Run the factory with each engine, number of clients and size; the table, also in ``federation.md``.

    Args:
        output_dir: phantoms and runs go into ``<output_dir>/federation``, with the table.
        clients: numbers of clients.
        engines: of ``local`` and ``nvflare``.
        smoke: at the smallest size, to try it; in ``<output_dir>/federation_smoke``.
    Raises:
        InputError: a run failed.
    """
    folder = make_folder(Path(output_dir).resolve() / ("federation_smoke" if smoke else "federation"))
    data = folder / "data"
    for seed in range(-(-max(clients) // len(DOMAINS))):
        coarseness = 3.0 if smoke else 2.0
        make_heads(
            data / str(seed), seed=seed, workers=1, force=True, subjects=(1, 1, 1), coarseness=coarseness
        )
    lines = []
    for line in _lines(folder, data, SMOKE if smoke else SIZES, clients, engines):
        print(" | ".join(line), flush=True)
        lines.append(line)
    table = markdown(HEAD, lines) + f"\n{machine()}\n"
    write_text(folder / "federation.md", table)
    return table


HEAD = (
    *("engine", "clients", "parameters (M)", "overhead of a round (s)", "training an update (s)"),
    f"overhead / {ROUND} updates",
    *(
        "MB up and down, by default",
        "exchange: {what: weights}",
        "float32 G + D + average (MB)",
        "memory of all (GB)",
    ),
)


def _lines(
    folder: Path, data: Path, sizes: Sequence[FactorySize], clients: Sequence[int], engines: Sequence[str]
) -> Iterator[list[str]]:
    for size in sizes:
        whole = _bytes_of_networks(folder, data, size)
        for engine in engines:
            plain = _run(_federation(folder, data, size, min(clients), engine, plain=True), size)
            for number in clients:
                cost = _run(_federation(folder, data, size, number, engine), size)
                yield [
                    *(
                        engine,
                        str(number),
                        f"{whole / 4e6:.2f}",
                        f"{cost.overhead:.2f}",
                        f"{cost.update:.2f}",
                    ),
                    f"{cost.overhead / (ROUND * cost.update):.1%}",
                    *(_megabytes(cost), _megabytes(plain), f"{whole / 1e6:.1f}"),
                    f"{cost.peak.bytes / 1e9:.1f} ({cost.peak.processes} processes)",
                ]


def _megabytes(cost: Cost) -> str:
    return f"{cost.up / 1e6:.1f} + {cost.down / 1e6:.1f}"


def _federation(
    folder: Path, data: Path, size: FactorySize, clients: int, engine: str, plain: bool = False
) -> Path:
    """The file of a federation whose clients take the domains in turn."""
    name = f"{engine}-{clients}-{size.name.replace(' ', '')}{'-plain' if plain else ''}"
    places = {f"c{i}": divmod(i, len(DOMAINS)) for i in range(clients)}
    values = {
        "name": name,
        "bundle": str(REPOSITORY / "bundles" / "factory"),
        "domains": list(DOMAINS),
        "clients": {
            name: {"data_root": str(data / str(seed) / DOMAINS[i]), "domain": DOMAINS[i]}
            for name, (seed, i) in places.items()
        },
        "rounds": 1 if plain else size.rounds,
        "updates_per_round": size.updates,
        "overrides": {**size.overrides, "device": "$torch.device('cpu')"},
        "engine": engine,
        "output_dir": str(folder / name),
        **({"exchange": {"what": "weights"}} if plain else {}),
    }
    return write_text(folder / f"{name}.yaml", yaml.safe_dump(values, sort_keys=False))


def _run(file: Path, size: FactorySize) -> Cost:
    """Run a federation as a user would, and look at what it writes."""
    federation = read_federation(file)
    folder = Path(federation.output_dir)
    remove_tree(folder)
    command = (sys.executable, str(REPOSITORY / "scripts" / "federate.py"), "run", str(file), "--nocheck")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
    log = folder.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        with watched(process.pid) as peak:
            process.wait()
    said = log.read_text(encoding="utf-8", errors="replace")
    if process.returncode:
        raise InputError(f"{log}: the run failed: {said.strip().splitlines()[-1:]}")
    rows = read_table(folder / "rounds.csv")
    times = round_times(federation, said, rows)
    remove_tree(folder)
    return Cost(
        statistics.median(wall - busy for wall, busy in times),
        statistics.median(busy for _, busy in times) / size.updates,
        max(int(row["bytes_up"]) for row in rows),
        max(int(row["bytes_down"]) for row in rows),
        peak,
    )


def round_times(
    federation: Federation, said: str, rows: Sequence[Mapping[str, str]]
) -> list[tuple[float, float]]:
    """Seconds of each round, and how many of them the worker that trained longest trained.

    Args:
        federation: says which clients share a worker.
        said: what the run printed: each round's wall time.
        rows: of ``rounds.csv``: each client's seconds of training.
    """
    workers = federation.workers if federation.engine == "local" else len(federation.clients)
    worker = {name: i % workers for i, name in enumerate(federation.clients)}
    found = []
    for number, wall in ROUND_SECONDS.findall(said):
        busy = [0.0] * workers
        for row in rows:
            if row["round"] == number:
                busy[worker[row["client"]]] += float(row["seconds"])
        found.append((float(wall), max(busy)))
    return found


def _bytes_of_networks(folder: Path, data: Path, size: FactorySize) -> int:
    """Of generator, discriminator and average in float32."""
    federation = read_federation(_federation(folder, data, size, 1, "local"))
    client = FederatedClient(
        federation.bundle, federation.config_files, federation.client_overrides("c0"), size.updates
    )
    remove_tree(federation.output_dir)
    return sum(tensor.numel() * 4 for tensor in client.trainer.network.state_dict().values())
