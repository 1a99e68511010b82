"""The sections of a study's report that show slices and segmentations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from shared_components.data.annotations import IGNORE
from shared_components.errors import InputError
from shared_components.inferers import read_case_list
from shared_components.inferers.case_list import FAULT
from shared_components.metrics import read_scores
from shared_components.report.case_table import rows_of
from shared_components.report.figures import file_uri, read_slices, slices_uri
from shared_components.report.html import Html, element, missing, picture, section
from shared_components.report.overlays import legend, overlay
from shared_components.report.study import Study
from shared_components.report.training_pictures import DISENTANGLED, newest_pictures, training_pictures


def pictures_section(study: Study) -> Html:
    """Real slices of each client that is here, above slices drawn under its condition."""
    away = {client for client, content in study.part("clients", {}).items() if content.get("at")}
    parts = [
        part
        for client, kinds in study.part("pictures", {}).items()
        for part in (
            element("h3", client),
            *(_sheets(study, kinds.get("real"), "real slices") if client not in away else ()),
            *_sheets(study, kinds.get("generated"), "slices that the factory drew"),
        )
    ]
    note = "Slices of each client's scanner, and what the shared factory draws under that client's condition."
    if away:
        note += f" The images of {', '.join(sorted(away))} are at their own sites alone, so none is shown."
    return section("Real against generated", *(parts or [missing("no pictures (“pictures”)")]), note=note)


def translations_section(study: Study) -> Html:
    """Synthetic source slices above their translations and twins, of each client that adapted."""
    parts: list[Html] = []
    for client, kinds in study.part("pictures", {}).items():
        sheets = _sheets(study, kinds.get("translations"), "") if kinds.get("translations") else []
        parts += [element("h3", client), *sheets] if sheets else []
    note = (
        "From above: synthetic source slices, their translations where a translator was trained, and their twins, "
        "which the factory drew of the same latents under the client's condition."
    )
    adapting = [
        name
        for name, client in study.part("clients", {}).items()
        if client.get("role") in ("unlabelled", "few labels")
    ]
    if not parts and any(client.get("at") for client in study.part("clients", {}).values()):
        return Html("")  # drawn of images that are at their own sites
    if not parts and not adapting:  # every client has labels: nothing was adapted
        return Html("")
    none = element(
        "p",
        f"None: the adaptation of {', '.join(adapting)} drew no pictures (picture_every: 0). Look at the "
        "segmentations below.",
    )
    return section("Translations", *(parts or [none]), note=note)


def disentanglement_section(study: Study) -> Html:
    """What trainings took apart into anatomy and style; nothing at all for a study without such a training."""
    parts: list[Html] = []
    folders = [*study.root.glob("*/pictures"), *study.root.glob("clients/*/*/pictures")]
    for folder in sorted(folders):
        found = newest_pictures(folder)
        sheets = training_pictures({kind: found[kind] for kind in DISENTANGLED if kind in found})
        place = [part for part in folder.parent.relative_to(study.root).parts if part != "clients"]
        parts += [element("p", ", ".join(place), class_="note"), *sheets] if sheets else []
    note = "Slices taken apart into what is shown and how it was imaged, so that one can be kept and the other changed."
    return section("Anatomy and style", *parts, note=note) if parts else Html("")


def _sheets(study: Study, paths: str | Iterable[str] | None, caption: str) -> list[Html]:
    """Pictures of a list of files; a file that cannot be shown becomes a remark."""
    if not paths:
        return [missing(f"no {caption}")]
    sheets: list[Html] = []
    for path in [paths] if isinstance(paths, str) else list(paths):
        try:
            sheets += _sheet(study.path(path), caption)
        except InputError as error:
            sheets.append(missing(study.told(error)))
    return sheets


def _sheet(path: Path, caption: str) -> list[Html]:
    if path.suffix == ".npz":
        rows = read_slices(path)
        if len(rows) == 1 and caption:
            return [picture(slices_uri(list(rows.values())), caption, "slices")]
        return [picture(slices_uri([row]), name.replace("_", " "), "slices") for name, row in rows.items()]
    return [picture(file_uri(path), caption or path.stem.replace("_", " "), "slices")]


def overlays_section(study: Study) -> Html:
    """Telling cases of each client with the outlines of what every method found in them."""
    runs: dict[str, dict[str, tuple[Path, Path | None]]] = {}
    away = dict.fromkeys(str(entry["at"]) for entry in study.part("scores", []) if entry.get("at"))
    for entry in study.part("scores", []):
        if entry.get("at"):
            continue
        csv = study.path(entry["csv"]) if entry.get("csv") else None
        folder = (
            study.path(entry["predictions"]) if entry.get("predictions") else study.path(entry["csv"]).parent
        )
        runs.setdefault(str(entry.get("client")), {})[str(entry.get("method"))] = (folder, csv)
    parts = [part for client, methods in runs.items() for part in _client_overlays(study, client, methods)]
    if parts:
        parts.insert(0, legend(study.labels, reference=True))
    if away:
        parts.append(
            element(
                "p", f"Images, labels and segmentations of {', '.join(away)} are at their own sites alone."
            )
        )
    note = (
        "Per client the test volume of median Dice under each method, and the one of lowest Dice under the "
        "client's own model, the last of the methods; where there are no labels, the first, the middle and the last."
    )
    return section("Segmentations", *(parts or [missing("no segmentations (“scores”)")]), note=note)


def _client_overlays(
    study: Study, client: str, methods: Mapping[str, tuple[Path, Path | None]]
) -> list[Html]:
    parts = [element("h3", client)]
    cases: dict[str, dict] = {}
    for method, (folder, _) in methods.items():
        try:
            for case in read_case_list(folder)[0]:
                if FAULT in case:
                    parts.append(missing(study.told(case[FAULT])))
                    continue
                cases.setdefault(case["case"], case | {"methods": {}})["methods"][method] = case[
                    "segmentation"
                ]
        except InputError as error:
            parts.append(missing(study.told(error)))
    ours = list(methods)[-1]
    table = methods[ours][1]
    telling = _evenly(list(cases)) if table is None else _telling_cases(table, list(cases))
    for place, (name, dice) in enumerate(telling.items()):
        case = cases[name]
        # the first case under every method, the others (the worst) under ours: a page that one can still read
        shown = case["methods"] if place == 0 else {ours: case["methods"].get(ours)}
        caption = f"{name}: Dice {dice:.3f} with {ours}" if dice is not None else f"{name}: no label"
        try:
            files = {method: path for method, path in shown.items() if path}
            reference, ignore = case.get("label"), case.get(IGNORE)
            parts.append(overlay(case["image"], reference, files, list(study.labels), caption, ignore))
        except InputError as error:
            parts.append(missing(study.told(error)))
    return parts


def _evenly(cases: list[str]) -> dict[str, float | None]:
    """The first, the middle and the last of the cases."""
    return dict.fromkeys(cases[i] for i in sorted({0, len(cases) // 2, len(cases) - 1}) if cases)


def _telling_cases(scores: Path, cases: list[str]) -> dict[str, float | None]:
    """The cases of median and of lowest Dice (mean over classes); the first case where nothing is scored."""
    try:
        rows = read_scores(scores)
    except InputError:
        rows = []
    scored = {name: [float(row["dice"]) for row in rows_of(name, rows)] for name in cases}
    dice = {name: float(np.mean(values)) for name, values in scored.items() if values}
    order = sorted(dice, key=dice.__getitem__)
    return (
        {name: dice[name] for name in (order[len(order) // 2], order[0])}
        if order
        else dict.fromkeys(cases[:1])
    )
