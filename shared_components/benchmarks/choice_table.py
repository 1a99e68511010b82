"""What clients have chosen without labels, beside what their test labels say: regret, and harm done."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared_components.benchmarks.tables import markdown
from shared_components.metrics.subject_scores import SubjectScore, client_seed_means, subject_values

HEAD = ("client", "seed", "chosen", "Dice", "oracle's choice", "Dice", "regret", "below the best plain")


@dataclass(frozen=True)
class Choice:
    """Of one client in one seed.

    Attributes:
        chosen: the method, or several that answer together.
        own: Dice of what was chosen, mean over subjects and classes.
        dice: of every candidate that has been scored.
        ours: the candidate that needs a factory; all others are plain.
    """

    client: str
    seed: int
    chosen: str
    own: float
    dice: Mapping[str, float]
    ours: str

    @property
    def oracle(self) -> str:
        """The candidate that the test labels would choose."""
        return max(self.dice, key=lambda method: self.dice[method])

    @property
    def regret(self) -> float:
        """How far it is below the oracle's; negative where several together are above."""
        return self.dice[self.oracle] - self.own

    @property
    def harm(self) -> float | None:
        """How far it is below the best plain candidate; negative above; None where no plain one has been scored."""
        plain = [dice for method, dice in self.dice.items() if method != self.ours]
        return max(plain) - self.own if plain else None


def choices_of(
    scores: Sequence[SubjectScore],
    chosen: Mapping[tuple[str, int], str],
    method: str,
    candidates: Sequence[str],
    ours: str,
) -> list[Choice]:
    """Those whose chosen model has been scored.

    Args:
        scores: of all methods.
        chosen: client and seed to what was chosen, in words.
        method: under which its scores stand.
        candidates: methods that were to choose from.
        ours: see :class:`Choice`.
    """
    means = {m: client_seed_means(subject_values(scores, m)) for m in (*candidates, method)}
    found = []
    for (client, seed), words in chosen.items():
        dice = {m: own[client][seed] for m, own in means.items() if seed in own.get(client, {})}
        own = dice.pop(method, None)
        if own is not None and dice:
            found.append(Choice(client, seed, words, own, dice, ours))
    return sorted(found, key=lambda choice: (choice.client, choice.seed))


def choice_table(choices: Sequence[Choice]) -> str:
    """Markdown: a line for each choice, and the mean and the largest regret and harm."""
    lines = [
        [
            choice.client,
            str(choice.seed),
            choice.chosen,
            f"{choice.own:.3f}",
            choice.oracle,
            f"{choice.dice[choice.oracle]:.3f}",
            f"{choice.regret:.3f}",
            "" if choice.harm is None else f"{choice.harm:+.3f}",
        ]
        for choice in choices
    ]
    regrets = [choice.regret for choice in choices]
    harms = [choice.harm for choice in choices if choice.harm is not None]
    parts = [f"Regret against the oracle's choice: {_mean_and_largest(regrets, '')}"]
    if harms:
        parts.append(f"below the best candidate without a factory: {_mean_and_largest(harms, '+')}")
    return f"{markdown(HEAD, lines)}\n{'; '.join(parts)}.\n"


def _mean_and_largest(values: Sequence[float], sign: str) -> str:
    return f"mean {statistics.fmean(values):{sign}.3f}, largest {max(values):{sign}.3f}"
