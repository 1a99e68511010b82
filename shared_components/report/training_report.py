"""``report.html`` of a training: its curves, its newest pictures, its settings and its files.

Written from what a bundle's training leaves in its ``output_dir``: ``metrics.csv`` (without which there is no report),
``pictures/<kind>_<epoch>.png``, and the settings, as ``settings.json`` or, in a stage of a study, ``overrides.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shared_components.errors import InputError
from shared_components.report.curves import curve_names, curves_uri, number, read_csv
from shared_components.report.pages import Missing, Picture, write_page
from shared_components.report.run_sections import newest_pictures, run_files, run_settings, training_pictures

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
    return write_page(
        output,
        "training.html",
        f"Training in {folder.resolve().name}",
        _span(rows),
        _facts(rows, scores),
        validation=_curves(folder, scores) if scores else [],
        pictures=training_pictures(newest_pictures(folder / "pictures")),
        losses=_curves(folder, losses),
        settings=run_settings(folder, SETTINGS),
        files=run_files(folder, FILES, output),
    )


def _span(rows: Sequence[Row]) -> str:
    last = rows[-1]
    return ", ".join(f"{last[step]} {step}s" for step in ("epoch", "update") if last.get(step))


def _facts(rows: Sequence[Row], scores: Sequence[str]) -> list[tuple[object, str]]:
    facts: list[tuple[object, str]] = []
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


def _curves(folder: Path, names: Sequence[str]) -> list[Picture | Missing]:
    try:
        return [Picture(curves_uri(folder / "metrics.csv", names))]
    except InputError as error:
        return [Missing(str(error))]
