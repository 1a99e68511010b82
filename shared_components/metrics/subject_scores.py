"""Scores of single subjects of several methods, seeds and clients: what tables, intervals and plots are made from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared_components.metrics.score_files import read_scores
from shared_components.records import write_table


class SubjectScore(NamedTuple):
    """One class of one test subject, as a method found it.

    Attributes:
        seed: of the run.
        client: whose subject it is, as tables call the column.
        method: as tables call the line.
        case: the subject's name, unique at its client.
        name: of the class.
        dice: 0 to 1.
        hd95_mm: 95th percentile of the Hausdorff distance; ``nan`` where one of the two lacks the class.
        variant: of the experiment, where the same subjects have been tried in several.
    """

    seed: int
    client: str
    method: str
    case: str
    name: str
    dice: float
    hd95_mm: float
    variant: str = ""

    @property
    def subject(self) -> Subject:
        """Whose it is."""
        return Subject(self.seed, self.client, self.case, self.variant)


class Subject(NamedTuple):
    """A test subject of a run. Its name alone may be another person's in another seed, not in another variant."""

    seed: int
    client: str
    case: str
    variant: str = ""


Values = Mapping[Subject, float]
"""A method's value for each subject."""


def subject_scores(table: str | Path, seed: int, client: str, method: str) -> list[SubjectScore]:
    """Rows of a CSV of :func:`write_scores`.

    Raises:
        InputError: no such file, or it is damaged.
    """
    return [
        SubjectScore(
            seed,
            client,
            method,
            str(row["case"]),
            str(row["name"]),
            float(row["dice"]),
            float(row["hd95_mm"]),
        )
        for row in read_scores(table)
    ]


def write_subject_scores(scores: Iterable[SubjectScore], path: str | Path) -> Path:
    """All rows as CSV."""
    return write_table(path, SubjectScore._fields, (score._asdict() for score in scores))


def subject_values(
    scores: Sequence[SubjectScore], method: str, measure: str = "dice", name: str | None = None
) -> dict[Subject, float]:
    """A method's value for each subject: the mean over its classes.

    Args:
        scores: of any methods.
        method: whose.
        measure: ``dice`` or ``hd95_mm``.
        name: of the class; by default all.
    Returns:
        Of subjects with a value: a distance that is ``nan`` is left out.
    """
    return _subject_means(_class_values(scores, method, measure, name))


def paired_values(
    scores: Sequence[SubjectScore], methods: tuple[str, str], measure: str = "dice", name: str | None = None
) -> tuple[dict[Subject, float], dict[Subject, float]]:
    """The values of two methods for each subject: both times the mean over the classes that have a value by both.

    A method that misses a class has no distance there: over the classes of each alone it would be compared by its easy
    classes with the other by all of them.

    Args:
        scores, measure, name: see :func:`subject_values`.
        methods: whose.
    """
    first, second = (_class_values(scores, method, measure, name) for method in methods)
    one, other = ({key: own[key] for key in first if key in second} for own in (first, second))
    return _subject_means(one), _subject_means(other)


def _class_values(
    scores: Sequence[SubjectScore], method: str, measure: str, name: str | None
) -> dict[tuple[Subject, str], float]:
    """A method's finite values for each subject and class."""
    found = {
        (score.subject, score.name): getattr(score, measure)
        for score in scores
        if score.method == method and name in (None, score.name)
    }
    return {key: value for key, value in found.items() if math.isfinite(value)}


def _subject_means(values: Mapping[tuple[Subject, str], float]) -> dict[Subject, float]:
    found: dict[Subject, list[float]] = {}
    for (subject, _), value in values.items():
        found.setdefault(subject, []).append(value)
    return {subject: float(np.mean(own)) for subject, own in found.items()}


def variant_means(values: Values) -> dict[Subject, float]:
    """Each subject once, with its mean over the variants of the experiment in which it has a value."""
    found: dict[Subject, list[float]] = {}
    for subject, value in values.items():
        found.setdefault(subject._replace(variant=""), []).append(value)
    return {subject: float(np.mean(own)) for subject, own in found.items()}


def client_seed_means(values: Values) -> dict[str, dict[int, float]]:
    """Client to seed to the mean over the subjects, both in order of appearance."""
    groups: dict[str, dict[int, list[float]]] = {}
    for subject, value in variant_means(values).items():
        groups.setdefault(subject.client, {}).setdefault(subject.seed, []).append(value)
    return {
        client: {seed: float(np.mean(own)) for seed, own in seeds.items()} for client, seeds in groups.items()
    }


def seed_means(values: Values, clients: Iterable[str]) -> dict[int, float]:
    """Seed to the mean over clients of their subjects' means, of the seeds that have a value at every client."""
    means = client_seed_means(values)
    columns = [means.get(client, {}) for client in clients]
    seeds = sorted({seed for column in columns for seed in column})
    return {
        seed: float(np.mean([column[seed] for column in columns]))
        for seed in seeds
        if all(seed in column for column in columns)
    }
