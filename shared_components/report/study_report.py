"""``report.html`` of a study: what the clients had, what the factory draws, and how well each model segments."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from shared_components.audit.figures import Figure, read_figures
from shared_components.audit.page import interval, is_flagged, number, percent, sentence
from shared_components.report.curves import curves_uri, read_csv
from shared_components.report.pages import UNSHOWN, Missing, Picture, Titled, unshown, within, write_page
from shared_components.report.run_sections import (
    NO_LOSSES,
    LeftOut,
    duration,
    epsilon_text,
    left_out,
    losses_stayed,
    privacy_note,
)
from shared_components.report.study_pictures import (
    StudyOverlays,
    StudyPictures,
    study_overlays,
    study_pictures,
)
from shared_components.report.study_scores import StudyScores, model_choices, model_matrix, study_scores
from shared_components.study_record import StageTime, StudyRecord, read_study_record

ROUNDS = "rounds.csv"
PRIVACY = ("memorised_image", "memorised_features", "membership_image", "membership_features")
QUALITY = (
    *("frechet", "frechet_lower", "frechet_middle", "frechet_upper"),
    *("kernel_distance", "density", "coverage", "neighbour_difference"),
)


class ClientsSection(NamedTuple):
    """What the table of clients shows beside the record: its columns, their epsilons, and what privacy means."""

    heads: list[str]
    splits: list[str]
    epsilons: dict[str, str]
    partly: bool
    privacy: str


def write_study_report(run_dir: str | Path, output: str | Path | None = None) -> Path:
    """Write a study's report.

    Args:
        run_dir: the study's folder, with ``study.json``.
        output: the page; by default ``<run_dir>/report.html``.
    Raises:
        InputError: no ``study.json``, or it is damaged.
    """
    study, folder = read_study_record(run_dir), Path(run_dir)
    faults: list[Missing] = []
    made = partial(_made, faults, folder)
    choices, rules = made("choices", ([], ""), model_choices, study, folder)
    return write_page(
        Path(output or folder / "report.html"),
        "study.html",
        study.name,
        " · ".join((study.date, study.machine, f"seed {study.seed}")),
        made("facts", [], _facts, study),
        study=study,
        choices=choices,
        rules=rules,
        scores=made("scores", StudyScores(None, [], [], [], []), study_scores, study, folder),
        matrix=made("matrix", None, model_matrix, study, folder),
        clients=made("clients", ClientsSection([], [], {}, False, ""), _clients, study),
        left_out=made("updates left out", [], _left_out, folder),
        pictures=made("pictures", StudyPictures([], [], [], [], []), study_pictures, study, folder),
        audit=made("audit", Audit([], [], [], []), _factory_audit, study, folder),
        overlays=made("segmentations", StudyOverlays([], [], []), study_overlays, study, folder),
        curves=made("training curves", [], _curves, study, folder),
        no_losses=NO_LOSSES,
        stages=made("time", [], _stages, study),
        exchange=made("what was sent", [], _exchange, study),
        faults=faults,
    )


def _made(
    faults: list[Missing], folder: Path, what: str, empty: Any, make: Callable[..., Any], *given: Any
) -> Any:
    """A section, or an empty one where its data are damaged; then a remark joins ``faults``, and the page goes on."""
    try:
        return make(*given)
    except UNSHOWN as error:
        faults.append(unshown(error, folder, what))
        return empty


def _facts(study: StudyRecord) -> list[tuple[object, str]]:
    clients = study.clients.values()
    return [
        (len(clients), "clients"),
        (sum(client.role == "unlabelled" for client in clients), "of them without labels"),
        (sum(counts.total for client in clients for counts in client.subjects.values()), "volumes"),
        (len(study.domains), "domains"),
        (duration(sum(stage.seconds for stage in study.stages)), "in all stages"),
    ]


def _clients(study: StudyRecord) -> ClientsSection:
    members = study.members
    splits = list(dict.fromkeys(split for client in members.values() for split in client.subjects))
    noisy = any(client.epsilon is not None for client in members.values())
    epsilons = {name: epsilon_text(client.epsilon, client.epsilons) for name, client in members.items()}
    return ClientsSection(
        [*(split.capitalize() for split in splits), *(["Epsilon"] if noisy else [])],
        splits,
        epsilons if noisy else {},
        any(counts.partly for client in members.values() for counts in client.subjects.values()),
        privacy_note(study.privacy),
    )


def _left_out(folder: Path) -> list[LeftOut]:
    """Of each federated training."""
    found = []
    for file in sorted(folder.glob(f"*/{ROUNDS}")):
        with contextlib.suppress(*UNSHOWN):  # the curves say what is wrong with it
            found.append(left_out(read_csv(within(folder, file)), file.parent))
    return found


def _curves(study: StudyRecord, folder: Path) -> list[Titled]:
    """Of each training; nothing under the title of one whose losses stayed at the clients."""
    found = []
    for file in _tables(folder):
        place = file.relative_to(folder)
        parts: list[Picture | Missing] = []
        if file.name != ROUNDS or not losses_stayed(study.privacy):
            try:
                parts.append(Picture(curves_uri(within(folder, file)), str(place)))
            except UNSHOWN as error:
                parts.append(unshown(error, folder, file))
        found.append(Titled(", ".join(place.parts[:-1]).replace("clients, ", ""), parts))
    return found


def _tables(folder: Path) -> list[Path]:
    """Tables of losses of federated trainings, then of stages."""
    patterns = (f"factory/{ROUNDS}", f"source_model/{ROUNDS}", "*/metrics.csv", "clients/*/**/metrics.csv")
    return [file for pattern in patterns for file in sorted(folder.glob(pattern))]


def _stages(study: StudyRecord) -> list[tuple[StageTime, str, str]]:
    """Each stage, its wall time, and the length of its bar, %."""
    longest = max((stage.seconds for stage in study.stages), default=0) or 1.0
    return [(s, duration(s.seconds), f"{100 * s.seconds / longest:.1f}") for s in study.stages]


def _exchange(study: StudyRecord) -> list[tuple[str, str, str, str]]:
    return [(sent.origin, sent.target, sent.what, _size(sent.size)) for sent in study.exchange]


def _size(number: int) -> str:
    return f"{number / 2**20:.1f} MB" if number >= 2**20 else f"{number / 2**10:.1f} kB"


class AuditedClient(NamedTuple):
    """What an audit of the factory means for a client; ``flagged``: it is a warning."""

    name: str
    sentence: str
    flagged: bool


class Audit(NamedTuple):
    """Audits of the factory: a sentence for each client, lines of two tables, and what cannot be read."""

    clients: list[AuditedClient]
    privacy: list[list[str]]
    quality: list[list[str]]
    faults: list[Missing]


def _factory_audit(study: StudyRecord, folder: Path) -> Audit:
    """What the factory gives away of each client's images, and how well it draws; empty where no audit was made."""
    audit = Audit([], [], [], [])
    for client, file in study.audit.items():
        try:
            figures = read_figures(within(folder, file))
            names = [client if len(figures) == 1 else f"{client}, {domain}" for domain in figures]
            found = dict(zip(names, figures.values(), strict=True))
            clients = [AuditedClient(name, sentence(of), is_flagged(of)) for name, of in found.items()]
            privacy = [[name, *(_estimate(of.get(key)) for key in PRIVACY)] for name, of in found.items()]
            quality = [[name, *(_beside(of.get(key)) for key in QUALITY)] for name, of in found.items()]
        except UNSHOWN as error:
            audit.faults.append(unshown(error, folder, file))
            continue
        audit.clients.extend(clients)
        audit.privacy.extend(privacy)
        audit.quality.extend(quality)
    return audit


def _estimate(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    return percent(figure) if figure.real < 0.1 else interval(figure, 2)


def _beside(figure: Figure | None) -> str:
    return "–" if figure is None else f"{number(figure.value)} ({number(figure.real)})"
