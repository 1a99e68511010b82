"""The section of a study's report on which model each client without labels uses, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared_components.errors import InputError
from shared_components.records import read_record
from shared_components.report.figures import file_uri
from shared_components.report.html import Html, element, missing, picture, section, table
from shared_components.report.study import Study

NOTE = (
    "Chosen at each client on its own unlabelled training images, without a label of that client. Shapes: distance of "
    "area, number and size of parts, outline and overlap of neighbouring slices from those of the labelled clients' "
    "label maps, in deviations (0: alike); what lies more than {margin:g} behind the best is refused. Edges: how much "
    "intensities differ across the borders that a model draws, in deviations along them; of the rest the largest wins, "
    "together with the next one where that comes near. "
    "Told beside them: steadiness, Dice of its segmentations of a slice and of slightly changed copies, and agreement, "
    "Dice with all candidates' mean. Labels of test volumes, where there are some, were not looked at."
)
COLUMNS = {"Shapes": "implausibility", "Edges": "edges", "Steadiness": "steadiness", "Agreement": "agreement"}


def choice_section(study: Study) -> Html:
    """A sentence, a table and a picture for each client that chose; nothing where none did."""
    files: Mapping[str, Mapping[str, str]] = study.part("choices", {})
    parts: list[Html] = []
    margin = 0.0
    for client, entry in files.items():
        try:
            if "record" not in entry:
                raise InputError(f"{client}: its choice is not here; run its stage again with --resume")
            record = read_record(study.path(entry["record"]), "run its stage again with --resume")
            parts += _client(study, client, entry, record)
            margin = max(margin, float(record["margin"]))
        except InputError as error:
            parts.append(missing(study.told(error)))
    if not parts:
        return Html("")
    return section("Which model each client uses, and why", *parts, note=NOTE.format(margin=margin))


def _client(study: Study, client: str, entry: Mapping[str, str], record: Mapping[str, Any]) -> Iterator[Html]:
    names = study.part("candidates", {})
    best = [str(name) for name in record["chosen"]]
    why = str(record["reason"])
    for name, method in names.items():
        why = why.replace(f"\u201c{name}\u201d", f"\u201c{method}\u201d")
    yield element("h3", f"{client}: {' and '.join(names.get(name, name) for name in best)}")
    doubtful = {"class_": "missing"} if record.get("doubtful") else {}
    yield element("p", f"{why[:1].upper()}{why[1:]}.", **doubtful)
    rows = [
        [
            _candidate(names.get(name, name), name, name in best),
            *(f"{verdict[key]:.2f}" for key in COLUMNS.values()),
            "chosen" if name in best else "" if verdict["plausible"] else "refused: shapes",
        ]
        for name, verdict in record["candidates"].items()
    ]
    yield table(["Candidate", *COLUMNS, ""], rows)
    if "picture" in entry:
        yield picture(
            file_uri(study.path(entry["picture"])), "Own images, and what each candidate finds in them"
        )


def _candidate(method: str, name: str, is_best: bool) -> Html:
    """A candidate as the tables call it, and beside it as pictures, folders and the federation file do."""
    shown = element("b", method) if is_best else method
    return element("td", shown, *([] if name == method else [" ", element("small", name)]))
