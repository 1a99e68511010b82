"""The newest pictures of a training's ``pictures`` folder, each with what it shows."""

from __future__ import annotations

import re
from pathlib import Path

from shared_components.errors import InputError
from shared_components.report.figures import file_uri
from shared_components.report.html import Html, element, missing, picture

DISENTANGLED = ("reconstruction", "anatomy", "swaps")
CAPTIONS = {
    "reconstruction": (
        "Reconstructions",
        "Slices, and below them what the decoder makes of their anatomy, style and domain code.",
    ),
    "anatomy": (
        "Anatomy channels",
        "Slices, and below them the channels of their anatomy after soft-max, white where a channel is 1. The first "
        "channels are the classes and so the segmentation; the others are what else the decoder needs.",
    ),
    "swaps": (
        "Style swaps",
        "Each row has the anatomy of the slice at its left, each column the style and domain code of the slice above "
        "it; on the diagonal both are the slice's own. Shapes should follow the row, grey values the column.",
    ),
    "translation": (
        "Translations",
        "From above: synthetic source slices, their translations where a translator is trained, and their twins.",
    ),
    "factory": (
        "Generated slices",
        "The same latents in each row under one domain after the other, from the lowest to the highest position.",
    ),
}


def newest_pictures(folder: str | Path) -> dict[str, Path]:
    """The last picture of each kind in a folder of ``<kind>_<epoch>.png``, known kinds first."""
    found: dict[str, Path] = {}
    for path in sorted(Path(folder).glob("*.png")):
        match = re.fullmatch(r"(.+)_(\d+)", path.stem)
        if match:
            found[match[1]] = path  # epochs have as many digits, so that the last in order is the newest
    known = [kind for kind in CAPTIONS if kind in found]
    return {kind: found[kind] for kind in [*known, *(kind for kind in found if kind not in known)]}


def training_pictures(pictures: dict[str, Path]) -> list[Html]:
    """A titled figure for each picture; one that cannot be shown becomes a remark."""
    parts: list[Html] = []
    for kind, path in pictures.items():
        title, caption = CAPTIONS.get(kind, (kind.replace("_", " ").capitalize(), path.stem))
        parts.append(element("h3", f"{title}, epoch {int(path.stem.rsplit('_', 1)[1])}"))
        try:
            parts.append(picture(file_uri(path), caption, "sheet"))
        except InputError as error:
            parts.append(missing(error))
    return parts
