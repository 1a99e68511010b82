"""What each round cost and gave: a CSV with a row per round and client, a printed line, TensorBoard."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from shared_components.errors import InputError, counted
from shared_components.records import read_table, write_table

CURE = "remove it to go on without its rows"
FIXED = (
    *("round", "client", "images", "seconds", "bytes_up", "bytes_down"),
    *("update_norm", "left_out", "released", "epsilon"),
)


class RoundsCsv:
    """``rounds.csv``: the columns of ``FIXED`` and one for each metric.

    ``update_norm`` is the L2 norm of what a client's round has changed, where it counts.
    ``left_out`` says why a client's update does not count in a round; it has no images and no bytes up then.
    ``released`` is how many updates have left a client so far, those of rounds that were done again included, and
    ``epsilon`` what they and those of runs that it went on from have spent, if they get noise (see ``privacy.py``).

    Rows of a round are written before the round is whole, so rows may exist of a round that never became so;
    ``last_round`` drops those when a run is resumed. The table is written anew each round, whole or not at all.

    Args:
        path: the CSV file.
        last_round: rows of later rounds are dropped.
    Raises:
        InputError: the table that is there is damaged, or has no row of ``last_round``.
    """

    def __init__(self, path: str | os.PathLike, last_round: int) -> None:
        self.path = Path(path)
        self.rows = [row for row in read_rows(self.path) if int(row["round"]) <= last_round]
        if last_round and self.path.is_file() and not any(int(r["round"]) == last_round for r in self.rows):
            raise InputError(f"{self.path}: expected rows of round {last_round}, found none; {CURE}")
        self._write()

    def append(self, rows: list[dict[str, object]]) -> None:
        """Add a round's rows; a metric that no round had before gets a new column."""
        self.rows += [{k: str(v) for k, v in row.items()} for row in rows]
        self._write()

    def norms(self) -> list[float]:
        """Of all updates that have counted."""
        return [float(row["update_norm"]) for row in self.rows if "update_norm" in row]

    def _write(self) -> None:
        metrics = dict.fromkeys(key for row in self.rows for key in row if key not in FIXED)
        write_table(self.path, (*FIXED, *metrics), self.rows)


def read_rows(path: str | os.PathLike) -> list[dict[str, str]]:
    """Rows of a ``rounds.csv`` without empty values; none of a table that is not there.

    Raises:
        InputError: the table is damaged.
    """
    if not Path(path).is_file():
        return []
    rows = read_table(path, CURE)
    return [{k: v for k, v in row.items() if v != ""} for row in rows]


def released(path: str | os.PathLike, before: Mapping[str, int] | None = None) -> dict[str, int]:
    """Client to how many of its updates have left it, by a ``rounds.csv``, for those whose updates get noise.

    Args:
        path: the table.
        before: client to how many had left it when the table was begun.
    Raises:
        InputError: the table is damaged, or does not say it.
    """
    # client to what was counted before it lost its count, and since
    counts = {client: (0, number) for client, number in (before or {}).items()}
    for row in read_rows(path):
        if "epsilon" in row:
            if "released" not in row:
                raise InputError(f"{path}: expected a column 'released', found none; start over with --force")
            number, (lost, since) = int(row["released"]), counts.get(row["client"], (0, 0))
            counts[row["client"]] = (lost, number) if number > since else (lost + since, number)
    return {client: sum(each) for client, each in counts.items()}


class Progress:
    """One line a round, a bar over the rounds (on a terminal), and TensorBoard curves.

    Args:
        rounds: rounds of the whole run.
        first: rounds that are done already.
        folder: TensorBoard's folder.
        quiet: print nothing.
        delta: of the clients' epsilons.
    """

    def __init__(
        self, rounds: int, first: int, folder: Path, quiet: bool = False, delta: float | None = None
    ) -> None:
        self._delta = delta
        self._rounds, self._first, self._quiet = rounds, first, quiet
        self._start = self._last = time.perf_counter()
        self._bar = tqdm(total=rounds, initial=first, unit="round", disable=True if quiet else None)
        self._board = SummaryWriter(str(folder), purge_step=first + 1)

    def report(self, round: int, rows: list[dict]) -> None:
        """Tell of a whole round by its clients' rows."""
        now = time.perf_counter()
        for row in rows:
            for name in row.keys() - set(FIXED):
                self._board.add_scalar(f"{name}/{row['client']}", row[name], round)
        if not self._quiet:
            left = (now - self._start) / (round - self._first) * (self._rounds - round)
            line = round_line(round, self._rounds, rows, self._delta)
            tqdm.write(f"{line} | {now - self._last:.2f} s, {_clock(left)} left")
            sys.stdout.flush()  # a log file shows the round as soon as it is whole
        self._last = now
        self._bar.update()

    def close(self) -> None:
        """End the bar and TensorBoard's file."""
        self._bar.close()
        self._board.close()


def round_line(round: int, rounds: int, rows: list[dict], delta: float | None = None) -> str:
    """The line of a round: mean of each metric weighted by images, clients, bytes exchanged, largest epsilon.

    >>> row = {"round": 2, "client": "north", "images": 4, "seconds": 1.0,
    ...        "bytes_up": 2_000_000, "bytes_down": 1_000_000, "loss": 0.5}
    >>> round_line(2, 9, [row])
    'round 2/9 | loss 0.500 | 1 client | 2.0 MB up, 1.0 MB down'
    """
    names = sorted({name for row in rows for name in row} - set(FIXED))
    means = []
    for name in names:
        having = [row for row in rows if name in row]
        total = sum(row["images"] for row in having)
        means.append(f"{name} {sum(row[name] * row['images'] for row in having) / max(total, 1):.3f}")
    up, down = (sum(row[key] for row in rows) / 1e6 for key in ("bytes_up", "bytes_down"))
    left_out = [f"left out: {row['client']} ({row['left_out']})" for row in rows if row.get("left_out")]
    clients = counted(len(rows) - len(left_out), "client")
    parts = [f"round {round}/{rounds}", "  ".join(means) or "no losses", clients]
    epsilons = [row["epsilon"] for row in rows if "epsilon" in row]
    spent = [f"epsilon up to {max(epsilons):.3g} at delta {delta:g}"] if epsilons else []
    return " | ".join([*parts, f"{up:.1f} MB up, {down:.1f} MB down", *spent, *left_out])


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
