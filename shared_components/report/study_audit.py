"""What a study's report says of its factory: what it gives away of each client's images, and how well it draws."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from shared_components.audit.figures import Figure, Figures, read_figures
from shared_components.audit.page import number
from shared_components.audit.sentence import interval, is_flagged, percent, sentence
from shared_components.errors import InputError
from shared_components.report.pages import Missing, told
from shared_components.study_record import StudyRecord

PRIVACY = ("memorised_image", "memorised_features", "membership_image", "membership_features")
QUALITY = (
    *("frechet", "frechet_lower", "frechet_middle", "frechet_upper"),
    *("kernel_distance", "density", "coverage", "neighbour_difference"),
)


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


def factory_audit(study: StudyRecord, folder: Path) -> Audit:
    """What the factory gives away of each client's images, and how well it draws; empty where no audit was made."""
    found: dict[str, Figures] = {}
    faults = []
    for client, file in study.audit.items():
        try:
            figures = read_figures(file)
        except InputError as error:
            faults.append(Missing(told(error, folder)))
            continue
        found |= {
            client if len(figures) == 1 else f"{client}, {domain}": of for domain, of in figures.items()
        }
    return Audit(
        [AuditedClient(name, sentence(of), is_flagged(of)) for name, of in found.items()],
        [[name, *(_estimate(of.get(key)) for key in PRIVACY)] for name, of in found.items()],
        [[name, *(_beside(of.get(key)) for key in QUALITY)] for name, of in found.items()],
        faults,
    )


def _estimate(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    return percent(figure) if figure.real < 0.1 else interval(figure, 2)


def _beside(figure: Figure | None) -> str:
    return "–" if figure is None else f"{number(figure.value)} ({number(figure.real)})"
