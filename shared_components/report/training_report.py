"""``report.html`` of a training, of one client or of several together.

Its curves, its newest pictures, its settings and its files, from what a bundle's training leaves in its ``output_dir``:
``metrics.csv`` (without which there is no report), ``pictures/<kind>_<epoch>.png``, and the settings, as
``settings.json`` or, in a stage of a study, ``overrides.yaml``. Of a federated run also its clients and what they
exchanged, from ``rounds.csv``, ``federation.yaml``, and what each client left below ``clients/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared_components.files import size
from shared_components.records import found_record
from shared_components.report.curves import curve_names, curves_uri, number, read_csv
from shared_components.report.pages import UNSHOWN, Missing, Picture, Titled, unshown, write_page
from shared_components.report.run_sections import (
    NO_LOSSES,
    duration,
    epsilon_text,
    left_out,
    losses_stayed,
    newest_pictures,
    privacy_note,
    read_settings,
    run_files,
    run_settings,
    training_pictures,
)

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
FEDERATION_SETTINGS = ("federation.yaml",)
FEDERATION_FILES = {
    "factory.pt": "the factory",
    "model.pt": "the model",
    "global.pt": "weights after the last round",
    "rounds.csv": "losses and exchange of every round",
    "federation.yaml": "the federation's settings",
    "bundle.yaml": "the bundle's settings",
    "versions.json": "software",
    "clients": "each client's own files",
    "tensorboard": "log for TensorBoard",
}


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
    except UNSHOWN as error:
        return [unshown(error, folder, "metrics.csv")]


def write_federated_report(run_dir: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of a federated run.

    Args:
        run_dir: the run's folder, with ``rounds.csv``.
        output: the page; by default ``<run_dir>/report.html``.
    Raises:
        InputError: no ``rounds.csv``, nothing in it, or ``federation.yaml`` is damaged.
    """
    folder = Path(run_dir)
    output = Path(output or folder / "report.html")
    rows = read_csv(folder / "rounds.csv")
    settings = read_settings(folder, FEDERATION_SETTINGS)
    privacy = settings.get("privacy")
    spent = dict((found_record(folder / "start.json") or {}).get("epsilons", {}))  # before the run began
    spent |= {row["client"]: float(row["epsilon"]) for row in rows if number(row.get("epsilon")) is not None}
    return write_page(
        output,
        "federated.html",
        str(settings.get("name", folder.resolve().name)),
        f"Federated run in {folder.resolve().name}",
        _federation_facts(rows, settings),
        privacy=privacy_note(privacy),
        noisy=bool(spent),
        clients=_clients(rows, settings, spent),
        left_out=left_out(rows, folder),
        losses=[] if losses_stayed(privacy) else _federation_curves(folder),
        no_losses=NO_LOSSES,
        pictures=_pictures(folder),
        settings=run_settings(folder, FEDERATION_SETTINGS, without=("name", "clients")),
        files=run_files(folder, FEDERATION_FILES, output),
    )


def _federation_facts(
    rows: Sequence[Mapping[str, str]], settings: Mapping[str, Any]
) -> list[tuple[object, str]]:
    last = max(int(row["round"]) for row in rows)
    planned = f" of {settings['rounds']}" if "rounds" in settings else ""
    exchanged = sum(_sum(rows, name) for name in ("bytes_up", "bytes_down"))
    return [
        (f"{last}{planned}", "rounds"),
        (len({row["client"] for row in rows}), "clients"),
        (size(int(exchanged)), "exchanged"),
        (duration(_sum(rows, "seconds")), "of training, all clients"),
    ]


def _sum(rows: Sequence[Mapping[str, str]], name: str) -> float:
    return sum(number(row.get(name)) or 0.0 for row in rows)


def _clients(
    rows: Sequence[Mapping[str, str]], settings: Mapping[str, Any], spent: Mapping[str, float]
) -> list[list[object]]:
    lines = []
    for client in dict.fromkeys(row["client"] for row in rows):
        own = [row for row in rows if row["client"] == client]
        domain = settings.get("clients", {}).get(client, {}).get("domain", "")
        names = ", ".join(domain) if isinstance(domain, list) else domain
        traffic = [size(int(_sum(own, name))) for name in ("bytes_up", "bytes_down")]
        images = max((row.get("images", "") for row in own), key=lambda images: number(images) or 0.0)
        line = [client, names, len(own), images, duration(_sum(own, "seconds")), *traffic]
        lines.append([*line, *([epsilon_text(spent.get(client))] if spent else [])])
    return lines


def _federation_curves(folder: Path) -> list[Picture | Missing]:
    try:
        return [Picture(curves_uri(folder / "rounds.csv"), alternative="losses")]
    except UNSHOWN as error:
        return [unshown(error, folder, "rounds.csv")]


def _pictures(folder: Path) -> list[tuple[str, list[Titled]]]:
    """Each client's newest."""
    places = sorted(folder.glob("clients/*/pictures"))
    found = [(place.parent.name, training_pictures(newest_pictures(place))) for place in places]
    return [(client, sheets) for client, sheets in found if sheets]
