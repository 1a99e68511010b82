"""The choice among candidates, from verdicts alone."""

from __future__ import annotations

from collections.abc import Mapping

from shared_components.choice.criteria import Verdict

MARGIN = 0.5  # deviations by which shapes may be less plausible than the most plausible candidate's
PARTNER = 0.8  # share of the clearest edges from which the next candidate answers together with the clearest


def plausible(verdicts: Mapping[str, Verdict], margin: float = MARGIN) -> list[str]:
    """Candidates whose shapes are about as plausible as the best one's, in their order."""
    best = min(verdict.implausibility for verdict in verdicts.values())
    return [name for name, verdict in verdicts.items() if verdict.implausibility <= best + margin]


def chosen(
    verdicts: Mapping[str, Verdict], margin: float = MARGIN, partner: float | None = PARTNER
) -> tuple[str, ...]:
    """Of the plausible candidates the one whose borders lie on the strongest edges; of equals the first.

    Where the next one's edges are nearly as strong, verdicts cannot tell the two apart: both are chosen, the first
    before the second, and answer together, which is seldom worse than either.

    Shapes tell what cannot be right (nothing found, or half of the image), and hardly more: among what could be right
    they prefer what looks most like the labelled patients. Edges tell where a border is, and mistake any strong edge
    for one. Each covers for the other; the adaptation bundle's docs say what was measured.

    Args:
        verdicts: candidate to what is said for it.
        margin: see :func:`plausible`.
        partner: share of the strongest edges that the second must have; None: one is chosen.
    """
    first, *others = sorted(plausible(verdicts, margin), key=lambda name: -verdicts[name].edges)
    clearest = verdicts[first].edges
    if partner is None or clearest == 0:
        return (first,)
    return (first, *(name for name in others[:1] if verdicts[name].edges >= partner * clearest))
