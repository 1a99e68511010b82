"""The section of a study's report on what its factory gives away of each client's images, and how well it draws."""

from __future__ import annotations

from collections.abc import Mapping

from shared_components.audit.figures import Figure, Figures, read_figures
from shared_components.audit.page import number
from shared_components.audit.sentence import interval, is_flagged, percent, sentence
from shared_components.errors import InputError
from shared_components.report.html import Html, element, missing, section, table
from shared_components.report.study import Study

PRIVACY = (
    "Counted at each client on its own images; these numbers alone have left it. Memorised: slices of the factory "
    "that are nearer to one training slice than 99 % of the client's held-out slices (validation and test volumes) "
    "are, in pixels and in features of a fixed random network, with the 95 % interval; 1 % is what chance gives. "
    "Membership: how well somebody who has an image and the factory guesses whether it was trained on (AUC; 0.5: not "
    "at all). The nearest pairs, as pictures of real images, are in the folder audit of each client and stay there."
)
QUALITY = (
    "In brackets what real training slices give in the generated ones' place: the floor. Distances are from held-out "
    "slices, over features of the same fixed network. Density: 1 where generated slices lie as real ones do; coverage: "
    "share of held-out slices that something generated is near to. Neighbours: mean absolute difference of "
    "neighbouring slices of a volume, in brackets that of real volumes."
)
PRIVACY_COLUMNS = {
    "Memorised, pixels": "memorised_image",
    "Memorised, features": "memorised_features",
    "Membership, pixels": "membership_image",
    "Membership, features": "membership_features",
}
QUALITY_COLUMNS = {
    "Fréchet distance": "frechet",
    "lowest third": "frechet_lower",
    "middle": "frechet_middle",
    "highest third": "frechet_upper",
    "Kernel distance": "kernel_distance",
    "Density": "density",
    "Coverage": "coverage",
    "Neighbours": "neighbour_difference",
}


def audit_section(study: Study) -> Html:
    """A sentence for each client, and two tables; nothing where no audit was made."""
    files: Mapping[str, str] = study.part("audit", {})
    found: dict[str, Figures] = {}
    faults = []
    for client, file in files.items():
        try:
            figures = read_figures(study.path(file))
        except InputError as error:
            faults.append(missing(study.told(error)))
            continue
        found |= {
            client if len(figures) == 1 else f"{client}, {domain}": of for domain, of in figures.items()
        }
    if not found and not faults:
        return Html("")
    return section("What the factory gives away, and how well it draws", *faults, *_parts(found))


def _parts(found: Mapping[str, Figures]) -> list[Html]:
    lines = [_line(name, figures) for name, figures in found.items()]
    privacy = [
        [name, *(_estimate(of.get(key)) for key in PRIVACY_COLUMNS.values())] for name, of in found.items()
    ]
    quality = [
        [name, *(_beside(of.get(key)) for key in QUALITY_COLUMNS.values())] for name, of in found.items()
    ]
    return [
        element("ul", *lines),
        table(["Client", *PRIVACY_COLUMNS], privacy),
        element("p", PRIVACY, class_="note"),
        table(["Client", *QUALITY_COLUMNS], quality),
        element("p", QUALITY, class_="note"),
    ]


def _line(name: str, figures: Figures) -> Html:
    class_ = "missing" if is_flagged(figures) else None
    return element("li", element("b", name), f": {sentence(figures)}", class_=class_)


def _estimate(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    return percent(figure) if figure.real < 0.1 else interval(figure, 2)


def _beside(figure: Figure | None) -> str:
    return "–" if figure is None else f"{number(figure.value)} ({number(figure.real)})"
