"""``study.json``: what a finished study tells of itself, for its report, its summary and whoever compares studies.

Its classes are the file's description: a field with a default is absent where a study has nothing of it, every other
one must be there. Keys of other versions are ignored; a file that lacks what this version needs is refused, and
``--resume`` writes it again without training anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared_components.errors import InputError
from shared_components.records import plain_values, read_record, typed_values, write_record

FILE_NAME = "study.json"
CURE = "write it again with federate.py study FILE --resume"


@dataclass(frozen=True)
class VolumeCounts:
    """Volumes of a split, those with labels, and those of whose labels a part is known."""

    total: int
    labelled: int
    partly: int = 0


@dataclass(frozen=True)
class MemberRecord:
    """A client or an unseen scanner.

    Attributes:
        domain: or several, separated by commas.
        role: labelled, few labels, unlabelled or unseen.
        subjects: split to its volumes.
        data_root: one or several; of a site elsewhere words.
        at: the site that has its data, where they are not on this machine.
        epsilon: what its updates have spent of its privacy, in all trainings together.
        epsilons: the same by training; ``before`` is what went before them, where the study goes on from a run.
    """

    domain: str
    role: str
    subjects: Mapping[str, VolumeCounts]
    data_root: str | tuple[str, ...] = ""
    at: str = ""
    epsilon: float | None = None
    epsilons: Mapping[str, float] = field(default_factory=dict)

    def volumes(self, split: str) -> VolumeCounts:
        """Of a split; none of one that is not listed."""
        return self.subjects.get(split, VolumeCounts(0, 0))

    @property
    def adapts(self) -> bool:
        """Whether it gets a model made for its own images."""
        return self.role in ("unlabelled", "few labels")


@dataclass(frozen=True)
class StageTime:
    """How long a stage took, s; client ``all``: everybody's."""

    client: str
    stage: str
    seconds: float
    status: str = "done"


@dataclass(frozen=True)
class SegmentedTests:
    """Test volumes of a client, or of an unseen scanner, segmented by a method.

    Attributes:
        client: whose volumes.
        method: as tables call it.
        predictions: the folder of the inference run, with its ``cases.json``.
        csv: the scores; None without labels to score against.
        at: the site where the segmentations are, where they are not on this machine.
    """

    client: str
    method: str
    predictions: Path
    csv: Path | None = None
    at: str = ""


@dataclass(frozen=True)
class TriedModel:
    """A model of the matrix, and the table of scores of each client at which it was tried."""

    model: str
    scores: Mapping[str, Path]


@dataclass(frozen=True)
class ModelMatrix:
    """Every model at every client with labelled test volumes (``sites``, in the order of the columns)."""

    sites: tuple[str, ...]
    models: tuple[TriedModel, ...]


@dataclass(frozen=True)
class ChoiceFiles:
    """Files of a client's choice of a model.

    Attributes:
        record: what spoke for each candidate.
        picture: of what each finds, where that is here.
        models: candidate to its model.
    """

    record: Path | None = None
    picture: Path | None = None
    models: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class ClientPictures:
    """Sheets of slices: real ones, and translations, where they are here, and what the factory drew."""

    generated: Path
    real: Path | None = None
    translations: Path | None = None


@dataclass(frozen=True)
class TogetherTrained:
    """A source model that several clients have trained together, and which they are."""

    model: Path
    clients: tuple[str, ...]


@dataclass(frozen=True)
class FailedStage:
    """A stage that failed, without which the others went on."""

    client: str
    stage: str
    cause: str


@dataclass(frozen=True)
class Sent:
    """Something that went from one place to another; ``what`` in words, ``size`` in bytes."""

    origin: str
    target: str
    what: str
    size: int


@dataclass(frozen=True)
class StudyRecord:
    """A finished study.

    Attributes:
        name: of the federation.
        date: of its end, as 2026-01-31.
        machine: in words.
        seed: of the federation.
        domains: in order.
        labels: value to class name, the background included.
        source: the client whose model the unlabelled ones use.
        origins: sentences, whose images and labels are in what, and what left whom.
        clients: by name.
        stages: how long each took.
        factory: the exported factory.
        models: client to the model that it is to use, of those that are here.
        scores: in the order of the methods in tables, the client's own model last.
        coverage: lines on what the networks see of each client's images.
        methods: method to a sentence about it.
        pictures: by client.
        engine: ``local`` or ``nvflare``.
        privacy: the section of the federation file.
        unseen: scanners whose test volumes alone were used.
        federated_source: the source model that several have trained.
        generalisation: the model for scanners that nobody has seen.
        matrix: every model at every client.
        audit: client to the table of what the factory gives away.
        choices: by client that chose a model.
        candidates: names in the records of such choices to methods.
        failed: stages without which the study went on.
        waiting: keys of stages that need one of these.
        exchange: what went between places, beside the rounds.
        changed: images and labels that were replaced while the study ran, in words.
    """

    name: str
    date: str
    machine: str
    seed: int
    domains: tuple[str, ...]
    labels: Mapping[int, str]
    source: str
    origins: tuple[str, ...]
    clients: Mapping[str, MemberRecord]
    stages: tuple[StageTime, ...]
    factory: Path
    models: Mapping[str, Path]
    scores: tuple[SegmentedTests, ...]
    coverage: tuple[str, ...]
    methods: Mapping[str, str]
    pictures: Mapping[str, ClientPictures]
    engine: str = "local"
    privacy: Mapping[str, bool | float] | None = None
    unseen: Mapping[str, MemberRecord] = field(default_factory=dict)
    federated_source: TogetherTrained | None = None
    generalisation: Path | None = None
    matrix: ModelMatrix | None = None
    audit: Mapping[str, Path] = field(default_factory=dict)
    choices: Mapping[str, ChoiceFiles] = field(default_factory=dict)
    candidates: Mapping[str, str] = field(default_factory=dict)
    failed: tuple[FailedStage, ...] = ()
    waiting: tuple[str, ...] = ()
    exchange: tuple[Sent, ...] = ()
    changed: str = ""

    @property
    def members(self) -> dict[str, MemberRecord]:
        """Clients and unseen scanners."""
        return {**self.clients, **self.unseen}

    @property
    def classes(self) -> dict[int, str]:
        """Label value to name, without the background."""
        return {value: name for value, name in self.labels.items() if value != 0}


def write_study_record(folder: str | os.PathLike, record: StudyRecord) -> Path:
    """Write ``study.json``.

    Raises:
        InputError: it cannot be written.
    """
    return write_record(Path(folder) / FILE_NAME, plain_values(record, Path(folder)))


def read_study_record(folder: str | os.PathLike) -> StudyRecord:
    """Read ``study.json``; relative paths in it lead from the folder.

    Raises:
        InputError: there is none, it is damaged, or it lacks what this version needs.
    """
    file = Path(folder) / FILE_NAME
    if not file.is_file():
        raise InputError(f"{file}: expected a finished study, found none; name its folder or let it end")
    content = read_record(file, CURE)
    try:
        return typed_values(StudyRecord, content, Path(folder), str(file))
    except InputError as error:
        raise InputError(f"{error}; {CURE}") from error
