"""``report.html`` of a training: its curves, its newest pictures, its settings and its files.

Written from what a bundle's training leaves in its ``output_dir``: ``metrics.csv`` (without which there is no report),
``pictures/<kind>_<epoch>.png``, and the settings, as ``settings.json`` or, in a stage of a study, ``overrides.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shared_components.errors import InputError
from shared_components.files import write_text
from shared_components.report.curves import curve_names, curves_uri, number, read_csv
from shared_components.report.html import Html, missing, page, picture, section
from shared_components.report.run_sections import files_section, settings_section
from shared_components.report.training_pictures import newest_pictures, training_pictures

VALIDATION = "validation"  # how columns of metrics.csv begin that training does not see
SETTINGS = ("settings.json", "overrides.yaml")
FILES = {
    "model.pt": "the model",
    "checkpoint.pt": "state to resume from",
    "metrics.csv": "losses and scores of every epoch",
    "log.txt": "what the run printed",
    "tensorboard": "log for TensorBoard",
    "pictures": "pictures of all epochs",
}

Row = Mapping[str, str]


def write_training_report(output_dir: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of a training.

    Args:
        output_dir: the training's output folder, with ``metrics.csv``.
        output: the page; by default ``<output_dir>/report.html``.
    Raises:
        InputError: no ``metrics.csv``, or nothing in it.
    """
    folder = Path(output_dir)
    output = Path(output or folder / "report.html")
    rows = read_csv(folder / "metrics.csv")
    names = curve_names(rows)
    scores = [name for name in names if name.startswith(VALIDATION)]
    losses = [name for name in names if name not in scores]
    pictures = training_pictures(newest_pictures(folder / "pictures"))
    sections = [
        _validation(folder, rows, scores),
        section("Pictures", *pictures) if pictures else Html(""),
        section("Losses", _curves(folder, losses), note="Means over each epoch."),
        settings_section(folder, SETTINGS),
        files_section(folder, FILES, output),
    ]
    title = f"Training in {folder.resolve().name}"
    return write_text(output, page(title, _span(rows), _facts(rows, scores), sections))


def _span(rows: Sequence[Row]) -> str:
    last = rows[-1]
    return ", ".join(f"{last[step]} {step}s" for step in ("epoch", "update") if last.get(step))


def _facts(rows: Sequence[Row], scores: Sequence[str]) -> list[tuple[object, object]]:
    facts: list[tuple[object, object]] = []
    for name in scores:
        value, epoch = best(rows, name)
        facts += [(f"{value:.3f}", f"best {_words(name)}, epoch {epoch}")]
        last = [number(row.get(name)) for row in rows if number(row.get(name)) is not None][-1]
        facts += [(f"{last:.3f}", f"last {_words(name)}")]
    return facts


def best(rows: Sequence[Row], name: str) -> tuple[float, str]:
    """Highest value of a column and the epoch of its first occurrence."""
    known = [(number(row.get(name)), row.get("epoch", "")) for row in rows]
    return max(((value, epoch) for value, epoch in known if value is not None), key=lambda pair: pair[0])


def _words(name: str) -> str:
    return name.replace("_", " ").replace("dice", "Dice")


def _validation(folder: Path, rows: Sequence[Row], scores: Sequence[str]) -> Html:
    if not scores:
        return section("Validation", missing("no validation: metrics.csv has no column of its scores"))
    note = "Scores on the validation subjects, which nothing is trained on."
    return section("Validation", _curves(folder, scores), note=note)


def _curves(folder: Path, names: Sequence[str]) -> Html:
    try:
        return picture(curves_uri(folder / "metrics.csv", names), "", "wide")
    except InputError as error:
        return missing(error)
