"""What injected faults have done, as rows of a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shared_components.benchmarks.tables import markdown


@dataclass(frozen=True)
class Outcome:
    """What a kind of fault has done.

    Attributes:
        fault: what was done.
        times: how often.
        survived: how it went on.
        lost: what was lost, a line each.
        engine: of the federation; the study's is the local one.
    """

    fault: str
    times: int
    survived: str
    lost: tuple[str, ...] = ()
    engine: str = "local"

    def __str__(self) -> str:
        head = f"{self.engine}, {self.fault}: {self.times} times; {self.survived}"
        return "\n  lost: ".join((head, *self.lost))


def outcome_table(outcomes: Iterable[Outcome]) -> str:
    """The outcomes as a table."""
    return markdown(
        ["Fault", "Engine", "Times", "What survived", "What was lost"],
        [[o.fault, o.engine, str(o.times), o.survived, "; ".join(o.lost) or "nothing"] for o in outcomes],
    )
