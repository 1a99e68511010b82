"""What a study's report says of models in numbers: how well they segment, and which were chosen."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from shared_components.choice.client_choice import chosen_names, rule
from shared_components.errors import InputError
from shared_components.metrics import read_scores, summarize
from shared_components.records import read_record
from shared_components.report.pages import UNSHOWN, Missing, Picture, told, unshown, within
from shared_components.report.run_sections import picture_part
from shared_components.report.scores_table import ClientsTable, best_methods, clients_table
from shared_components.study_record import ChoiceFiles, StudyRecord

# numbers of a candidate, in the table's order
VERDICT = ("implausibility", "edges", "steadiness", "agreement")


class StudyScores(NamedTuple):
    """Scores of every client by every method.

    Attributes:
        table: of the mean over classes; None where nothing is scored.
        classes: of several classes, (name, table) of each.
        methods: (name, what it is) of those that the table shows.
        unscored: what to look at for clients whose test volumes have no labels, or that have none.
        faults: tables that cannot be read.
    """

    table: ClientsTable | None
    classes: list[tuple[str, ClientsTable]]
    methods: list[tuple[str, str]]
    unscored: list[str]
    faults: list[Missing]


class MatrixCell(NamedTuple):
    """Dice of a model at a client, the length of its bar, %, and whether no model is better there."""

    mean: str
    share: str
    best: bool


class Matrix(NamedTuple):
    """Every model (lines) at every client or unseen scanner (``heads``); None: it was not tried there."""

    heads: list[str]
    lines: list[tuple[str, list[MatrixCell | None]]]
    faults: list[Missing]


class Candidate(NamedTuple):
    """A model that a client could choose: its numbers, and what came of it.

    Attributes:
        method: as the tables call it.
        name: as pictures, folders and the federation file do, where that is another.
    """

    method: str
    name: str
    numbers: list[str]
    chosen: bool
    plausible: bool


class Chosen(NamedTuple):
    """A client's choice of a model and why.

    Attributes:
        doubtful: ``why`` is a warning.
        advice: what to do about a choice that is doubtful, or among candidates that find different things.
    """

    client: str
    chosen: str
    why: str
    doubtful: bool
    advice: list[str]
    candidates: list[Candidate]
    pictures: list[Picture | Missing]


def study_scores(study: StudyRecord, folder: Path) -> StudyScores:
    """Tables of every class, what each method is, and what to look at where nothing can be scored."""
    scores, faults = _summaries(study, folder)
    shown = dict.fromkeys(tests.method for tests in study.scores)
    classes = list(study.classes.values())
    return StudyScores(
        table=clients_table(scores) if scores else None,
        classes=[(n, clients_table(scores, n)) for n in classes] if scores and len(classes) > 1 else [],
        methods=[(name, study.methods[name]) for name in shown if name in study.methods],
        unscored=list(_unscored(study, folder)),
        faults=faults,
    )


def _unscored(study: StudyRecord, folder: Path) -> Iterator[str]:
    """What to look at for clients whose test volumes have no labels, or that have none."""
    places: dict[str, list[str]] = {}
    for tests in study.scores:
        place = told(tests.predictions, folder)
        if tests.csv is None and tests.at:
            yield (
                f"{tests.client}, {tests.method}: its test volumes have no labels, so there is nothing to score "
                f"against; the segmentations are at its site, in {place}."
            )
        elif tests.csv is None:
            places.setdefault(tests.client, []).append(place)
    for client, folders in places.items():
        yield (
            f"{client}: its test volumes have no labels, so there is nothing to score against. Look at its "
            f"segmentations under “Segmentations” below; all of them lie in {folders[-1]}, and "
            f"python -m shared_components.report on that folder shows each with its volumes. A few test volumes that "
            "somebody labels would tell how good they are."
        )
    segmented = {tests.client for tests in study.scores}
    for name, member in study.clients.items():
        if name not in segmented and not member.volumes("test").total:
            yield f"{name}: has no test volumes, so nothing of it was segmented."


def _summaries(study: StudyRecord, folder: Path) -> tuple[dict[str, dict[str, dict]], list[Missing]]:
    scores: dict[str, dict[str, dict]] = {}
    faults = []
    for tests in study.scores:
        if tests.csv is None:  # without labels to score against; see _unscored
            continue
        try:
            rows = read_scores(within(folder, tests.csv))
            summary = summarize(rows) if rows else {}
        except UNSHOWN as error:
            faults.append(unshown(error, folder, tests.csv))
            continue
        if rows:
            name = f"{tests.client}, unseen" if tests.client in study.unseen else tests.client
            scores.setdefault(name, {})[tests.method] = summary
    return scores, faults


def model_matrix(study: StudyRecord, folder: Path) -> Matrix | None:
    """A line for each model, a column for each client or unseen scanner; None where no model was tried so."""
    matrix = study.matrix
    if matrix is None or not matrix.models or not matrix.sites:
        return None
    faults = []
    found: dict[str, dict[str, Mapping]] = {site: {} for site in matrix.sites}  # model -> class -> statistics
    for row in matrix.models:
        for site, file in row.scores.items():
            try:
                found[site][row.model] = summarize(read_scores(within(folder, file)))
            except UNSHOWN as error:
                faults.append(unshown(error, folder, file))
    best = {site: best_methods(by_model, "mean", "dice") for site, by_model in found.items()}
    lines = [
        (row.model, [_cell(found[site].get(row.model), row.model in best[site]) for site in found])
        for row in matrix.models  # one that was tried nowhere is a line of dashes
    ]
    return Matrix([_head(study, site, by_model) for site, by_model in found.items()], lines, faults)


def _head(study: StudyRecord, site: str, by_model: Mapping[str, Mapping]) -> str:
    cases = max((int(summary["mean"]["cases"]) for summary in by_model.values()), default=0)
    return f"{site}, unseen (n = {cases})" if site in study.unseen else f"{site} (n = {cases})"


def _cell(summary: Mapping | None, is_best: bool) -> MatrixCell | None:
    if summary is None:
        return None
    mean = summary["mean"]["dice_mean"]
    return MatrixCell(f"{mean:.3f}", f"{100 * mean:.0f}", is_best)


def model_choices(study: StudyRecord, folder: Path) -> tuple[list[Chosen | Missing], str]:
    """The choice of each client that chose, and the rules of these choices, in words."""
    found: list[Chosen | Missing] = []
    rules: dict[str, None] = {}
    for client, files in study.choices.items():
        try:
            if files.record is None:
                raise InputError(f"{client}: its choice is not here; run its stage again with --resume")
            for file in filter(None, (files.record, files.picture)):
                within(folder, file)
            record = read_record(files.record, "run its stage again with --resume")
            chosen = _chosen(study, client, files, record)
            rules[str(record.get("rule", rule(record["margin"], None)))] = None
            found.append(chosen)
        except UNSHOWN as error:
            found.append(unshown(error, folder, files.record))
    return found, "; or ".join(rules)


def _chosen(study: StudyRecord, client: str, files: ChoiceFiles, record: Mapping[str, Any]) -> Chosen:
    names, why = study.candidates, str(record["reason"])
    unasked = VERDICT[0] if record["margin"] is None else None
    best = chosen_names(record, files.record)
    for name, method in names.items():
        why = why.replace(f"\u201c{name}\u201d", f"\u201c{method}\u201d")
    candidates = [
        Candidate(
            names.get(name, name),
            "" if name == names.get(name, name) else name,
            ["–" if key == unasked else f"{verdict[key]:.2f}" for key in VERDICT],
            name in best,
            bool(verdict["plausible"]),
        )
        for name, verdict in record["candidates"].items()
    ]
    caption = "Own images, and what each candidate finds in them"
    pictures = [] if files.picture is None else [picture_part(files.picture, caption, "sheet")]
    why = f"{why[:1].upper()}{why[1:]}"
    called = " and ".join(names.get(name, name) for name in best)
    doubtful = bool(record.get("doubtful"))
    needed = doubtful or record.get("disagree")
    advice = _advice(study, files.models, record) if needed else []
    return Chosen(client, called, why, doubtful, advice, candidates, pictures)


def _advice(study: StudyRecord, models: Mapping[str, Path], record: Mapping[str, Any]) -> list[str]:
    """What an engineer can do before such a choice is trusted."""
    shapes = {name: verdict["implausibility"] for name, verdict in record["candidates"].items()}
    safe = min(shapes, key=shapes.__getitem__)
    here = safe in models and models[safe].is_file()
    model = shlex.quote(str(models[safe].absolute())) if here else f"the model.pt of {safe}"
    safest = (
        f"Until you know, the safest candidate is “{study.candidates.get(safe, safe)}”: its shapes are nearest to "
        f"those of labelled patients. --ckpt_path {model} behind the command that segments takes it."
    )
    return [
        "Look at the picture under the table and at “Segmentations” below: the better candidate follows the anatomy in "
        "every slice, at the ends of the volume too.",
        *([] if record["margin"] is None else [safest]),
        'Label three slices of one or two test volumes (in dataset.json "label", and "annotated" with their numbers), '
        "and go on with the study by --resume: its report then scores every candidate on them.",
    ]
