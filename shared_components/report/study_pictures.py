"""What a study's report shows: slices, translations, and segmentations drawn on their volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from shared_components.data.client_root import data_roots
from shared_components.data.dataset_json import DATASET_FILE
from shared_components.data.image_files import files_of
from shared_components.data.label_maps import IGNORE
from shared_components.errors import InputError
from shared_components.files import lies_in
from shared_components.inferers import read_case_list
from shared_components.inferers.case_dataset import FAULT
from shared_components.inferers.cases import Case
from shared_components.metrics import read_scores
from shared_components.report.case_table import rows_by_case
from shared_components.report.overlays import legend, overlay
from shared_components.report.pages import UNSHOWN, Missing, Picture, Titled, file_uri, told, unshown, within
from shared_components.report.run_sections import DISENTANGLED, newest_pictures, training_pictures
from shared_components.study_record import SegmentedTests, StudyRecord


class StudyPictures(NamedTuple):
    """Sheets of slices.

    Attributes:
        slices: of each client, real and generated.
        away: clients whose images are at their own sites.
        translations: of each client whose adaptation drew some.
        adapting: clients that should have some, where none has and their images are here.
        taken_apart: (place, sheets) of trainings that took slices apart into anatomy and style.
    """

    slices: list[Titled]
    away: list[str]
    translations: list[Titled]
    adapting: list[str]
    taken_apart: list[tuple[str, list[Titled]]]


class StudyOverlays(NamedTuple):
    """Segmentations of each client, the legend of their colours, and sites that keep theirs."""

    clients: list[Titled]
    legend: list[tuple[str, str]]
    away: list[str]


def study_pictures(study: StudyRecord, folder: Path) -> StudyPictures:
    """Slices of each client's scanner, and what was made of them or in their place."""
    away = sorted(name for name, client in study.clients.items() if client.at)
    slices, translations = [], []
    for client, sheets in study.pictures.items():
        real = [] if client in away else [_sheet(sheets.real, "real slices", folder)]
        slices.append(
            Titled(client, [*real, _sheet(sheets.generated, "slices that the factory drew", folder)])
        )
        if sheets.translations is not None:
            translations.append(Titled(client, [_sheet(sheets.translations, "", folder)]))
    adapting = [name for name, client in study.clients.items() if client.adapts and not away]
    return StudyPictures(slices, away, translations, adapting, _taken_apart(folder))


def _taken_apart(folder: Path) -> list[tuple[str, list[Titled]]]:
    found = []
    for drawn in sorted([*folder.glob("*/pictures"), *folder.glob("clients/*/*/pictures")]):
        newest = {kind: file for kind, file in newest_pictures(drawn).items() if lies_in(file, folder)}
        sheets = training_pictures({kind: newest[kind] for kind in DISENTANGLED if kind in newest})
        place = [part for part in drawn.parent.relative_to(folder).parts if part != "clients"]
        found += [(", ".join(place), sheets)] if sheets else []
    return found


def _sheet(file: Path | None, caption: str, folder: Path) -> Picture | Missing:
    """A sheet of slices, or a remark that it cannot be shown."""
    if file is None:
        return Missing(f"no {caption}")
    try:
        return Picture(file_uri(within(folder, file)), caption or file.stem.replace("_", " "), "slices")
    except UNSHOWN as error:
        return unshown(error, folder, file)


def study_overlays(study: StudyRecord, folder: Path) -> StudyOverlays:
    """Telling cases of each client under each method, drawn on their volumes."""
    runs: dict[str, list[SegmentedTests]] = {}
    for tests in study.scores:
        if not tests.at:
            runs.setdefault(tests.client, []).append(tests)
    clients = [Titled(name, _client_overlays(study, own, folder)) for name, own in runs.items()]
    away = list(dict.fromkeys(tests.at for tests in study.scores if tests.at))
    return StudyOverlays(clients, legend(study.classes, reference=True), away)


def _client_overlays(
    study: StudyRecord, runs: Sequence[SegmentedTests], folder: Path
) -> list[Picture | Missing]:
    cases, segmentations, parts = _cases(runs, folder)
    ours, table, roots = runs[-1].method, runs[-1].csv, _data_roots(study, runs[-1].client)
    telling = _evenly(list(cases)) if table is None else _telling_cases(table, list(cases), folder)
    for place, (name, dice) in enumerate(telling.items()):
        case, own = cases[name], segmentations[name]
        # the first case under every method, the others (the worst) under ours: a page that one can still read
        shown = own if place == 0 else {method: file for method, file in own.items() if method == ours}
        caption = f"{name}: Dice {dice:.3f} with {ours}" if dice is not None else f"{name}: no label"
        try:
            for file in (part for each in shown.values() for part in files_of(each)):
                within(folder, file)
            _refuse_others_images(case, [folder, *roots])
            reference, ignore = case.get("label"), case.get(IGNORE)
            parts.append(overlay(case["image"], reference, shown, list(study.classes), caption, ignore))
        except UNSHOWN as error:
            parts.append(unshown(error, folder, name))
    return parts


def _data_roots(study: StudyRecord, client: str) -> list[Path]:
    """Those of a client, or of an unseen scanner, that are here: no other folder that a record calls so."""
    roots = map(Path, data_roots(study.members[client].data_root) if client in study.members else ())
    return [root for root in roots if root.is_absolute() and (root / DATASET_FILE).is_file()]


def _refuse_others_images(case: Case, places: Sequence[Path]) -> None:
    """Refuse a case whose image or label, or a file that their headers name, lies in none of some folders."""
    for file in (case[key] for key in ("image", "label") if key in case):
        if not any(all(lies_in(part, place) for part in files_of(file)) for place in places):
            raise InputError(
                f"{file}: expected an image in the study's folder or in a data root that study.json names for "
                "its client, found one elsewhere, which is not shown; copy it there"
            )


def _cases(
    runs: Sequence[SegmentedTests], folder: Path
) -> tuple[dict[str, Case], dict[str, dict[str, str]], list[Picture | Missing]]:
    """Cases by name, of each the segmentations by method, and what cannot be read."""
    cases: dict[str, Case] = {}
    segmentations: dict[str, dict[str, str]] = {}
    faults: list[Picture | Missing] = []
    for tests in runs:
        try:
            for case in read_case_list(within(folder, tests.predictions))[0]:
                if FAULT in case:
                    faults.append(Missing(told(case[FAULT], folder)))
                    continue
                cases.setdefault(case["case"], case)
                segmentations.setdefault(case["case"], {})[tests.method] = case["segmentation"]
        except UNSHOWN as error:
            faults.append(unshown(error, folder, tests.predictions))
    return cases, segmentations, faults


def _evenly(cases: list[str]) -> dict[str, float | None]:
    """The first, the middle and the last of the cases."""
    return dict.fromkeys(cases[i] for i in sorted({0, len(cases) // 2, len(cases) - 1}) if cases)


def _telling_cases(scores: Path, cases: list[str], folder: Path) -> dict[str, float | None]:
    """The cases of median and of lowest Dice (mean over classes); the first case where nothing is scored."""
    try:
        rows = read_scores(within(folder, scores))
    except UNSHOWN:  # told with the tables of scores
        rows = []
    scored = rows_by_case(cases, rows)
    dice = {name: float(np.mean([row["dice"] for row in own])) for name, own in scored.items() if own}
    order = sorted(dice, key=dice.__getitem__)
    return (
        {name: dice[name] for name in (order[len(order) // 2], order[0])}
        if order
        else dict.fromkeys(cases[:1])
    )
