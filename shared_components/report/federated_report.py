"""``report.html`` of a federated run: its clients, what they exchanged, its losses, its newest pictures.

Written from the run's folder: ``rounds.csv``, ``federation.yaml``, and what each client left below ``clients/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.files import write_text
from shared_components.report.curves import curves_uri, number, read_csv
from shared_components.report.html import Html, element, missing, page, picture, section, table
from shared_components.report.left_out import left_out_section
from shared_components.report.privacy import NO_LOSSES, epsilon_text, losses_stayed, privacy_note
from shared_components.report.run_sections import files_section, read_settings, settings_section
from shared_components.report.study_report import duration
from shared_components.report.training_pictures import newest_pictures, training_pictures
from shared_components.sizes import size

SETTINGS = ("federation.yaml",)
FILES = {
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
    settings = read_settings(folder, SETTINGS)
    sections = [
        _clients(rows, settings),
        left_out_section(rows, folder),
        section(
            "Losses", _curves(folder, settings), note="Of each client, at its local training in a round."
        ),
        _pictures(folder),
        settings_section(folder, SETTINGS, without=("name", "clients")),
        files_section(folder, FILES, output),
    ]
    title = str(settings.get("name", folder.resolve().name))
    return write_text(
        output, page(title, f"Federated run in {folder.resolve().name}", _facts(rows, settings), sections)
    )


def _facts(rows: Sequence[Mapping[str, str]], settings: Mapping[str, Any]) -> list[tuple[object, object]]:
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


def _clients(rows: Sequence[Mapping[str, str]], settings: Mapping[str, Any]) -> Html:
    lines = []
    spent = {row["client"]: float(row["epsilon"]) for row in rows if number(row.get("epsilon")) is not None}
    for client in dict.fromkeys(row["client"] for row in rows):
        own = [row for row in rows if row["client"] == client]
        domain = settings.get("clients", {}).get(client, {}).get("domain", "")
        names = ", ".join(domain) if isinstance(domain, list) else domain
        traffic = [size(int(_sum(own, name))) for name in ("bytes_up", "bytes_down")]
        images = max((row.get("images", "") for row in own), key=lambda images: number(images) or 0.0)
        line = [client, names, len(own), images, duration(_sum(own, "seconds")), *traffic]
        lines.append([*line, *([epsilon_text(spent.get(client))] if spent else [])])
    head = ["Client", "Domain", "Rounds", "Images", "Training", "Sent", "Received"]
    head += ["Epsilon"] if spent else []
    note = privacy_note(settings.get("privacy"))
    return section("Clients", table(head, lines, numeric_from=2), note=note)


def _curves(folder: Path, settings: Mapping[str, Any]) -> Html:
    if losses_stayed(settings.get("privacy")):
        return element("p", NO_LOSSES)
    try:
        return picture(curves_uri(folder / "rounds.csv"), alternative="losses")
    except InputError as error:
        return missing(error)


def _pictures(folder: Path) -> Html:
    parts: list[Html] = []
    for place in sorted(folder.glob("clients/*/pictures")):
        sheets = training_pictures(newest_pictures(place))
        parts += [element("p", place.parent.name, class_="note"), *sheets] if sheets else []
    return section("Pictures", *parts) if parts else Html("")
