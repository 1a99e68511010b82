"""``report.html`` of a federated run: its clients, what they exchanged, its losses, its newest pictures.

Written from the run's folder: ``rounds.csv``, ``federation.yaml``, and what each client left below ``clients/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.report.curves import curves_uri, number, read_csv
from shared_components.report.pages import Missing, Picture, Titled, write_page
from shared_components.report.privacy import NO_LOSSES, epsilon_text, losses_stayed, privacy_note
from shared_components.report.run_sections import (
    duration,
    left_out,
    newest_pictures,
    read_settings,
    run_files,
    run_settings,
    training_pictures,
)
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
    privacy = settings.get("privacy")
    spent = {row["client"]: float(row["epsilon"]) for row in rows if number(row.get("epsilon")) is not None}
    return write_page(
        output,
        "federated.html",
        str(settings.get("name", folder.resolve().name)),
        f"Federated run in {folder.resolve().name}",
        _facts(rows, settings),
        privacy=privacy_note(privacy),
        noisy=bool(spent),
        clients=_clients(rows, settings, spent),
        left_out=left_out(rows, folder),
        losses=[] if losses_stayed(privacy) else _curves(folder),
        no_losses=NO_LOSSES,
        pictures=_pictures(folder),
        settings=run_settings(folder, SETTINGS, without=("name", "clients")),
        files=run_files(folder, FILES, output),
    )


def _facts(rows: Sequence[Mapping[str, str]], settings: Mapping[str, Any]) -> list[tuple[object, str]]:
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


def _curves(folder: Path) -> list[Picture | Missing]:
    try:
        return [Picture(curves_uri(folder / "rounds.csv"), alternative="losses")]
    except InputError as error:
        return [Missing(str(error))]


def _pictures(folder: Path) -> list[tuple[str, list[Titled]]]:
    """Each client's newest."""
    places = sorted(folder.glob("clients/*/pictures"))
    found = [(place.parent.name, training_pictures(newest_pictures(place))) for place in places]
    return [(client, sheets) for client, sheets in found if sheets]
