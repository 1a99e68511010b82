"""Clients whose updates did not count in some rounds of a federated run, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared_components.report.html import Html, section, table

NAMED = 12  # rounds that a line lists


def left_out_section(rows: Sequence[Mapping[str, str]]) -> Html:
    """A table of clients and reasons, by the rows of a ``rounds.csv``; nothing where every update counted."""
    found: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        if row.get("left_out"):
            found.setdefault((row["client"], row["left_out"]), []).append(int(row["round"]))
    if not found:
        return Html("")
    lines = [[client, rounds_text(rounds), reason] for (client, reason), rounds in found.items()]
    return section(
        "Left out of rounds",
        table(["Client", "Rounds", "Why"], lines, numeric_from=3),
        note="These rounds were made of the other clients' updates; a client goes on from its own state afterwards.",
    )


def rounds_text(rounds: Sequence[int]) -> str:
    """Numbers of rounds, the first of them where there are many.

    >>> rounds_text([2, 3]), rounds_text(range(1, 21))
    ('2, 3', '1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 8 more')
    """
    named = ", ".join(map(str, rounds[:NAMED]))
    return named if len(rounds) <= NAMED else f"{named} and {len(rounds) - NAMED} more"
