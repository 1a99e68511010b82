"""``report.html`` of a training: its curves, its newest pictures, its settings and its files.

Written from what a bundle's training leaves in its ``output_dir``: ``metrics.csv`` (without which there is no report),
``pictures/<kind>_<epoch>.png``, and the settings, as ``settings.json`` or, in a stage of a study, ``overrides.yaml``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from shared_components.errors import InputError
from shared_components.files import write_text
from shared_components.report.curves import curve_names, curves_uri, number, read_csv
from shared_components.report.html import Html, element, missing, page, picture, section, table
from shared_components.report.links import file_link, size
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
        _settings(folder),
        _files(folder, output),
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


def _settings(folder: Path) -> Html:
    settings = read_settings(folder)
    if not settings:
        names = " or ".join(SETTINGS)
        return section("Settings", missing(f"no settings: the run left no {names}"))
    rows = [[name, element("code", _shown(value))] for name, value in settings.items()]
    return section("Settings", table(["Setting", "Value"], rows, numeric_from=9))


def read_settings(folder: Path) -> dict[str, Any]:
    """Ids and values of a run's settings; empty where it left none.

    Raises:
        InputError: the file is damaged.
    """
    for path in (folder / name for name in SETTINGS):
        if path.is_file():
            try:
                return dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {})  # JSON is YAML
            except (yaml.YAMLError, ValueError, TypeError) as error:
                text = " ".join(str(error).split())
                raise InputError(f"{path}: expected settings, found {text}; remove the file") from error
    return {}


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _files(folder: Path, output: Path) -> Html:
    rows = [
        [file_link(folder / name, output), what, _size(folder / name)]
        for name, what in FILES.items()
        if (folder / name).exists()
    ]
    return section("Files", table(["File", "What it is", "Size"], rows, numeric_from=2))


def _size(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return size(sum(file.stat().st_size for file in files))
