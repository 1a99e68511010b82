"""What the studies of a quality benchmark have found: every test subject's scores by every method.

Beside them, what clients have chosen without labels, and what their test labels say of it: the regret.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared_components.benchmarks.comparison import Comparison
from shared_components.benchmarks.quality_rows import ROWS, row_tables
from shared_components.benchmarks.runs import FOLDER
from shared_components.benchmarks.tables import check_reference, markdown
from shared_components.choice.client_choice import chosen_names
from shared_components.metrics.intervals import Design
from shared_components.metrics.subject_scores import (
    SubjectScore,
    client_seed_means,
    seed_means,
    subject_scores,
    subject_values,
)
from shared_components.records import found_record
from shared_components.study.methods import METHODS
from shared_components.study.stage import DONE
from shared_components.study_record import FILE_NAME, StudyRecord, read_study_record

OURS = METHODS["adaptation"].name
CHOSEN = "choice"  # of METHODS: what a client chose among the study's candidates
ROW_NAMES = [row.name for row in ROWS.values()]
KNOWN = [*(method.name for method in METHODS.values()), *ROW_NAMES]  # all that a table may have
LABELLED = "labelled"  # the role of clients that need no adaptation
HEAD = ("client", "seed", "chosen", "Dice", "oracle's choice", "Dice", "regret", "below the best plain")


@dataclass(frozen=True)
class Found:
    """Scores of finished studies.

    Attributes:
        scores: of every seed, client and method; clients are called by their domains.
        targets: domains of the clients that adapt.
        sources: domains of those that have labels.
        methods: in the order of the studies' reports, then of the rows.
        chosen: domain and seed to what its client has chosen, in words.
        candidates: methods that were to choose from.
    """

    scores: Sequence[SubjectScore]
    targets: Sequence[str]
    sources: Sequence[str]
    methods: Sequence[str]
    chosen: Mapping[tuple[str, int], str]
    candidates: Sequence[str]

    def comparison(self, design: Design, reference: str | None = None) -> Comparison:
        """All methods that any client that adapts has been tried with.

        Args:
            design: of the intervals.
            reference: the method to compare with; by default what clients have chosen, or the adaptation.
        Raises:
            InputError: the reference is none of them.
        """
        own = [score for score in self.scores if score.client in self.targets]
        tried = {score.method for score in own}
        methods = [method for method in self.methods if method in tried]
        if reference is None:
            chosen = METHODS[CHOSEN].name
            reference = OURS if OURS in methods and chosen not in methods else chosen
        check_reference(reference, methods)
        return Comparison(own, methods, self.targets, reference, design)

    def choices(self) -> list[Choice]:
        """What clients have chosen, and how well."""
        return choices_of(self.scores, self.chosen, METHODS[CHOSEN].name, self.candidates, OURS)

    def at_home(self) -> dict[str, float]:
        """Domain of a labelled client to the mean Dice of its own source model."""
        method = METHODS["source_model"].name
        own = [score for score in self.scores if score.method == method]
        found = Comparison(own, [method], self.sources, method)
        means = {domain: seed_means(found.values(method), [domain]) for domain in self.sources}
        return {domain: sum(own.values()) / len(own) for domain, own in means.items() if own}


def read_studies(studies: Mapping[int, Path]) -> Found:
    """Read what is finished.

    Args:
        studies: seed to the folder of a study.
    """
    scores: list[SubjectScore] = []
    roles: dict[str, str] = {}
    methods: dict[str, None] = {}
    chosen: dict[tuple[str, int], str] = {}
    candidates: dict[str, None] = {}
    for seed, folder in studies.items():
        if (folder / FILE_NAME).is_file():
            study = read_study_record(folder)
            roles |= {client.domain: client.role for client in study.clients.values()}
            methods |= dict.fromkeys(tests.method for tests in study.scores)
            scores += _scores(seed, folder, study)
            candidates |= dict.fromkeys(study.candidates.values())
            chosen |= {(domain, seed): method for domain, method in _chosen(study)}
    targets = [domain for domain, role in roles.items() if role != LABELLED]
    sources = [domain for domain in roles if domain not in targets]
    return Found(scores, targets, sources, [*methods, *ROW_NAMES], chosen, list(candidates))


def _chosen(study: StudyRecord) -> Iterator[tuple[str, str]]:
    """Domain of each client that chose, and what: a method, or two together."""
    for client, files in study.choices.items():
        record = None if files.record is None else found_record(files.record)
        if record is not None:
            called = (study.candidates.get(name, name) for name in chosen_names(record, files.record))
            yield study.clients[client].domain, " + ".join(called)


def _scores(seed: int, folder: Path, study: StudyRecord) -> Iterator[SubjectScore]:
    """Of the study's own methods, then of the rows that have been run beside."""
    for tests in study.scores:
        scored = study.clients.get(tests.client)
        if scored is not None and tests.csv is not None and tests.csv.is_file():
            yield from subject_scores(tests.csv, seed, scored.domain, tests.method)
    for client, described in study.clients.items():
        for key, table in row_tables(folder / FOLDER / client):
            if found_record(table.parent / DONE) is not None:
                yield from subject_scores(table, seed, described.domain, ROWS[key].name)


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
