"""Clients whose updates did not count in some rounds of a federated run, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shared_components.report.html import Html, section, table
from shared_components.report.run_sections import read_settings

EXPORTS = "exports.json"  # clients that have no model of their own where each should
NAMED = 12  # rounds that a line lists


def left_out_section(rows: Sequence[Mapping[str, str]], folder: Path) -> Html:
    """Tables of clients and reasons; nothing where every update counted and every client has its model.

    Args:
        rows: of the ``rounds.csv``.
        folder: of the run, which may hold a note on its exports.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        if row.get("left_out"):
            found.setdefault((row["client"], row["left_out"]), []).append(int(row["round"]))
    return Html(_of_rounds(found) + _of_export(read_settings(folder, [EXPORTS]).get("left_out", {})))


def _of_rounds(found: Mapping[tuple[str, str], Sequence[int]]) -> Html:
    if not found:
        return Html("")
    lines = [[client, rounds_text(rounds), reason] for (client, reason), rounds in found.items()]
    return section(
        "Left out of rounds",
        table(["Client", "Rounds", "Why"], lines, numeric_from=3),
        note="These rounds were made of the other clients' updates; a client goes on from its own state afterwards.",
    )


def _of_export(without_model: Mapping[str, str]) -> Html:
    if not without_model:
        return Html("")
    return section(
        "Without a model of their own",
        table(["Client", "Why"], list(without_model.items()), numeric_from=2),
        note="They could not write it at the end of the run; --resume lets them, once they are back.",
    )


def rounds_text(rounds: Sequence[int]) -> str:
    """Numbers of rounds, the first of them where there are many.

    >>> rounds_text([2, 3]), rounds_text(range(1, 21))
    ('2, 3', '1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 8 more')
    """
    named = ", ".join(map(str, rounds[:NAMED]))
    return named if len(rounds) <= NAMED else f"{named} and {len(rounds) - NAMED} more"
