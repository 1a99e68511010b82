"""The section of a study's report in which every model meets every client's test volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared_components.errors import InputError
from shared_components.metrics import read_scores, summarize
from shared_components.report.html import Html, element, missing, section, table
from shared_components.report.scores_table import best_methods
from shared_components.report.study import Study

NOTE = (
    "Every model of the study on the test volumes of every client that has labels of them: Dice, the mean over "
    "classes and subjects (n of them). The best of a column is in bold; a model's own client is told in its name."
)


def matrix_section(study: Study) -> Html:
    """A line for each model, a column for each client or unseen scanner; nothing where no model was tried so."""
    matrix = study.part("matrix", {})
    if not matrix.get("models") or not matrix.get("sites"):
        return Html("")
    sites, faults = [str(site) for site in matrix["sites"]], []
    found: dict[str, dict[str, Mapping]] = {
        site: {} for site in sites
    }  # site -> model -> class -> statistics
    for row in matrix["models"]:
        for site, file in row.get("scores", {}).items():
            try:
                found[site][row["model"]] = summarize(read_scores(study.path(file)))
            except InputError as error:
                faults.append(missing(study.told(error)))
    names = [str(row["model"]) for row in matrix["models"]]
    return section("Every model at every client", *faults, _table(study, names, found), note=NOTE)


def _table(study: Study, names: Sequence[str], found: Mapping[str, Mapping[str, Mapping]]) -> Html:
    best = {site: best_methods(by_model, "mean", "dice") for site, by_model in found.items()}
    rows = [
        [name, *(_cell(found[site].get(name), name in best[site]) for site in found)]
        for name in names  # one that was tried nowhere is a line of dashes
    ]
    unseen = study.part("unseen", {})
    heads = [
        f"{site}, unseen (n = {_cases(by_model)})" if site in unseen else f"{site} (n = {_cases(by_model)})"
        for site, by_model in found.items()
    ]
    return table(["Model", *heads], rows, class_="scores models", style=f"--columns: {len(found)}")


def _cases(by_model: Mapping[str, Mapping]) -> int:
    return max((int(summary["mean"]["cases"]) for summary in by_model.values()), default=0)


def _cell(summary: Mapping | None, is_best: bool) -> Html:
    if summary is None:
        return element("td", "–", class_="number")
    mean = summary["mean"]["dice_mean"]
    class_ = "number share best" if is_best else "number share"
    return element("td", f"{mean:.3f}", class_=class_, style=f"--share: {100 * mean:.0f}%")
