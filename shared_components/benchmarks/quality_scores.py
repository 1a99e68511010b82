"""What the studies of a quality benchmark have found: every test subject's scores by every method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared_components.benchmarks.choice_table import Choice, choices_of
from shared_components.benchmarks.comparison_tables import Comparison
from shared_components.benchmarks.quality_rows import ROWS, row_tables
from shared_components.benchmarks.study_stage import FOLDER
from shared_components.errors import InputError
from shared_components.metrics.paired_differences import Design
from shared_components.metrics.subject_scores import SubjectScore, seed_means, subject_scores
from shared_components.records import found_record
from shared_components.study.methods import METHODS
from shared_components.study.stage import DONE
from shared_components.study_record import FILE_NAME, StudyRecord, read_study_record

OURS = METHODS["adaptation_predictions"].name
CHOSEN = "choice_predictions"  # of METHODS: what a client chose among the study's candidates
LABELLED = "labelled"  # the role of clients that need no adaptation


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
        if reference not in methods:
            raise InputError(f"reference: expected one of {', '.join(methods)}, found {reference!r}")
        return Comparison(own, methods, self.targets, reference, design)

    def choices(self) -> list[Choice]:
        """What clients have chosen, and how well."""
        return choices_of(self.scores, self.chosen, METHODS[CHOSEN].name, self.candidates, OURS)

    def at_home(self) -> dict[str, float]:
        """Domain of a labelled client to the mean Dice of its own source model."""
        method = METHODS["source_model_predictions"].name
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
    lines = [*methods, *(row.name for row in ROWS.values())]
    return Found(scores, targets, sources, lines, chosen, list(candidates))


def _chosen(study: StudyRecord) -> Iterator[tuple[str, str]]:
    """Domain of each client that chose, and what: a method, or two together."""
    for client, files in study.choices.items():
        record = None if files.record is None else found_record(files.record)
        if record is not None:
            called = (study.candidates.get(name, name) for name in record["chosen"])
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
