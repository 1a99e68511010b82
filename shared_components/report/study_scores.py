"""The section of a study's report that says how well each client's models segment."""

from __future__ import annotations

from collections.abc import Iterator

from shared_components.errors import InputError
from shared_components.metrics import read_scores, summarize
from shared_components.report.html import Html, element, missing, section
from shared_components.report.scores_table import scores_table
from shared_components.report.study import Study


def scores_section(study: Study) -> Html:
    """Tables of every class, what each method is, and what to look at where nothing can be scored."""
    scores, faults = _summaries(study)
    parts: list[Html] = [*faults]
    if scores:
        parts.append(scores_table(scores))
    elif not study.part("scores", []):
        parts.append(missing("no scores: the study lists none (“scores”)"))
    parts += [_methods(study), *(element("p", remark) for remark in _unscored(study))]
    classes = list(study.labels.values())
    for name in classes if scores and len(classes) > 1 else []:
        parts += [element("h3", name), scores_table(scores, name)]
    note = (
        "Held-out volumes on their own grid: a line for each client, a column for each method; above Dice, below it "
        "HD95, the 95 % Hausdorff distance in mm. Mean ± standard deviation over subjects, best in bold; “without”: "
        "subjects in which a class was not found, so that no distance exists."
    )
    return section("How well the models segment", *parts, note=note if scores else None)


def _methods(study: Study) -> Html:
    """A sentence for each method that the page shows."""
    shown = dict.fromkeys(str(entry.get("method")) for entry in study.part("scores", []))
    what = study.part("methods", {})
    lines = [element("li", element("b", name), f": {what[name]}") for name in shown if name in what]
    return element("ul", *lines, class_="note") if lines else Html("")


def _unscored(study: Study) -> Iterator[str]:
    """What to look at for clients whose test volumes have no labels, or that have none."""
    places: dict[str, list[str]] = {}
    for entry in study.part("scores", []):
        if not entry.get("csv") and entry.get("at"):
            yield (
                f"{entry.get('client')}, {entry.get('method')}: its test volumes have no labels, so there is nothing "
                f"to score against; the segmentations are at its site, in {entry.get('predictions')}."
            )
        elif not entry.get("csv"):
            places.setdefault(str(entry.get("client")), []).append(str(entry.get("predictions", "")))
    for client, folders in places.items():
        yield (
            f"{client}: its test volumes have no labels, so there is nothing to score against. Look at its "
            f"segmentations under “Segmentations” below; all of them lie in {folders[-1]}, and "
            f"python -m shared_components.report on that folder shows each with its volumes. A few test volumes that "
            "somebody labels would tell how good they are."
        )
    for client, content in study.part("clients", {}).items():
        if client not in {str(entry.get("client")) for entry in study.part("scores", [])} and not int(
            content.get("subjects", {}).get("test", {}).get("total", 0)
        ):
            yield f"{client}: has no test volumes, so nothing of it was segmented."


def _summaries(study: Study) -> tuple[dict[str, dict[str, dict]], list[Html]]:
    scores: dict[str, dict[str, dict]] = {}
    faults = []
    for entry in study.part("scores", []):
        if not entry.get("csv"):  # without labels to score against; see _unscored
            continue
        try:
            rows = read_scores(study.path(entry["csv"]))
        except InputError as error:
            faults.append(missing(study.told(error)))
            continue
        if rows:
            name = str(entry.get("client"))
            name += ", unseen" if name in study.part("unseen", {}) else ""
            scores.setdefault(name, {})[str(entry.get("method"))] = summarize(rows)
    return scores, faults
