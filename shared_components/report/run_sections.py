"""What the reports of several kinds of runs have in common: settings, files, pictures, clients that were left out.

Also what clipping and noise promise, in words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from shared_components.errors import InputError
from shared_components.files import size
from shared_components.records import read_record
from shared_components.report.pages import Link, Missing, Picture, Titled, file_link, file_uri

EXPORTS = "exports.json"  # clients that have no model of their own where each should
NAMED = 12  # rounds that a line lists
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
NO_LOSSES = "Losses stayed at the clients, since what leaves them gets noise and losses would not."


class Settings(NamedTuple):
    """Names and values of a run's settings, or why there are none."""

    rows: Sequence[tuple[str, str]]
    missing: str = ""


class RunFile(NamedTuple):
    """A file or folder of a run, and what it is."""

    link: Link
    what: str
    size: str


class LeftOut(NamedTuple):
    """(client, rounds, why) of updates that did not count, and (client, why) without a model of its own."""

    rounds: Sequence[tuple[str, str, str]]
    models: Sequence[tuple[str, str]]


def run_settings(folder: Path, names: Sequence[str], without: Sequence[str] = ()) -> Settings:
    """The settings in the first of some files of a folder.

    Args:
        folder: the run's.
        names: JSON or YAML files.
        without: settings that the page shows elsewhere.
    Raises:
        InputError: the file is damaged.
    """
    settings = read_settings(folder, names)
    if not settings:
        return Settings((), f"no settings: the run left no {' or '.join(names)}")
    return Settings([(name, _shown(value)) for name, value in settings.items() if name not in without])


def read_settings(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Ids and values of a run's settings; empty where it left none.

    Raises:
        InputError: the file is damaged.
    """
    for path in (folder / name for name in names):
        if path.is_file():
            return read_record(path, "remove the file")
    return {}


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def run_files(folder: Path, files: Mapping[str, str], page: Path) -> list[RunFile]:
    """Those of some files and folders that are there.

    Args:
        folder: the run's.
        files: name to what it is.
        page: the HTML file.
    """
    there = {name: what for name, what in files.items() if (folder / name).exists()}
    return [RunFile(file_link(folder / n, page), what, _size(folder / n)) for n, what in there.items()]


def _size(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return size(sum(file.stat().st_size for file in files))


def newest_pictures(folder: str | Path) -> dict[str, Path]:
    """The last picture of each kind in a folder of ``<kind>_<epoch>.png``, known kinds first."""
    found: dict[str, Path] = {}
    for path in sorted(Path(folder).glob("*.png")):
        match = re.fullmatch(r"(.+)_(\d+)", path.stem)
        if match:
            found[match[1]] = path  # epochs have as many digits, so that the last in order is the newest
    known = [kind for kind in CAPTIONS if kind in found]
    return {kind: found[kind] for kind in [*known, *(kind for kind in found if kind not in known)]}


def training_pictures(pictures: Mapping[str, Path]) -> list[Titled]:
    """A title for each picture; one that cannot be shown becomes a remark."""
    found = []
    for kind, path in pictures.items():
        title, caption = CAPTIONS.get(kind, (kind.replace("_", " ").capitalize(), path.stem))
        head = f"{title}, epoch {int(path.stem.rsplit('_', 1)[1])}"
        found.append(Titled(head, [picture_part(path, caption, "sheet")]))
    return found


def picture_part(
    path: Path, caption: str = "", kind: str = "wide", alternative: str = ""
) -> Picture | Missing:
    """A picture file, or a remark that it cannot be shown; further arguments as of :class:`Picture`."""
    try:
        return Picture(file_uri(path), caption, kind, alternative)
    except InputError as error:
        return Missing(str(error))


def left_out(rows: Sequence[Mapping[str, str]], folder: Path) -> LeftOut:
    """Clients whose updates did not count in some rounds of a federated run, and why.

    Args:
        rows: of the ``rounds.csv``.
        folder: of the run, which may hold a note on its exports.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        if row.get("left_out"):
            found.setdefault((row["client"], row["left_out"]), []).append(int(row["round"]))
    rounds = [(client, _rounds_text(numbers), reason) for (client, reason), numbers in found.items()]
    return LeftOut(rounds, list(read_settings(folder, [EXPORTS]).get("left_out", {}).items()))


def _rounds_text(rounds: Sequence[int]) -> str:
    """Numbers of rounds, the first of them where there are many.

    >>> rounds_text([2, 3]), rounds_text(range(1, 21))
    ('2, 3', '1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 8 more')
    """
    named = ", ".join(map(str, rounds[:NAMED]))
    return named if len(rounds) <= NAMED else f"{named} and {len(rounds) - NAMED} more"


def duration(seconds: float) -> str:
    """Seconds as people read them: ``45 s``, ``12 min 5 s``, ``2 h 3 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def losses_stayed(settings: Mapping[str, Any] | None) -> bool:
    """Whether the section ``privacy`` of a federation file kept losses at the clients."""
    return bool(settings) and not settings.get("losses", True)


def epsilon_text(epsilon: float | None, parts: Mapping[str, float] | None = None) -> str:
    """A client's epsilon in a cell of a table, and what each of several trainings has spent of it.

    >>> epsilon_text(5.2, {"factory": 3.7, "source_model": 3.7})
    '5.2 (factory 3.7, source_model 3.7)'
    """
    if epsilon is None:
        return ""
    told = ", ".join(f"{name} {value:.3g}" for name, value in (parts or {}).items())
    return f"{epsilon:.3g} ({told})" if len(parts or {}) > 1 else f"{epsilon:.3g}"


def privacy_note(settings: Mapping[str, Any] | None) -> str:
    """What the section ``privacy`` of a federation file means for the updates of its clients."""
    if not settings:
        return "Updates were neither clipped nor given noise."
    clipped = f"Each update was clipped to a norm of {settings['clip']:g}"
    if not settings["noise"]:
        return f"{clipped} and given no noise, which promises no privacy."
    return (
        f"{clipped} and given noise of {settings['noise']:g} times that on every number. Epsilon is what all updates "
        f"of a client have spent, at delta {settings['delta']:g}, against any other data that it could have had; the "
        "smaller, the less they tell. It covers these updates alone."
    )
