"""What injected faults have done, as rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shared_components.benchmarks.tables import markdown
from shared_components.records import found_record, write_record

LONGEST = 400  # letters of a message in the table


@dataclass(frozen=True)
class Outcome:
    """What a kind of fault has done.

    Attributes:
        fault: what was done.
        times: how often.
        survived: how it went on.
        lost: what was lost, a line each.
        engine: of the federation; the study's is the local one.
        told: the message.
    """

    fault: str
    times: int
    survived: str
    lost: tuple[str, ...] = ()
    engine: str = "local"
    told: str = ""

    def __str__(self) -> str:
        head = f"{self.engine}, {self.fault}: {self.times} times; {self.survived}"
        return "\n  lost: ".join(("\n  told: ".join((head, *filter(None, [self.told]))), *self.lost))


def outcome_table(outcomes: Iterable[Outcome]) -> str:
    """The outcomes as a table."""
    return markdown(
        ["Fault", "Engine", "Times", "What survived", "What was lost", "Message"],
        [
            [o.fault, o.engine, str(o.times), o.survived, "; ".join(o.lost) or "nothing", _in_cell(o.told)]
            for o in outcomes
        ],
    )


def _in_cell(text: str) -> str:
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
    return cut.replace("|", "/")


class KeptOutcomes:
    """Outcomes of several runs of the benchmark, so that a fault that is tried again replaces its own rows alone.

    Args:
        file: where they are kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._kept: dict[str, list[dict[str, Any]]] = dict((found_record(file) or {}).get("outcomes", {}))

    def put(self, key: str, outcomes: Iterable[Outcome]) -> None:
        """Keep what became of the group of faults called ``key``."""
        self._kept[key] = [asdict(outcome) for outcome in outcomes]
        write_record(self._file, {"outcomes": self._kept})

    def of(self, keys: Iterable[str]) -> list[Outcome]:
        """What became of groups, in that order; none of those that were never tried."""
        return [_outcome(values) for key in keys for values in self._kept.get(key, ())]


def _outcome(values: Mapping[str, Any]) -> Outcome:
    return Outcome(**{**values, "lost": tuple(values["lost"])})
