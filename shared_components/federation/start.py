"""Where a federation goes on from: a trained factory's file, or the last whole round of a finished run.

A file has the network's tensors under ``model`` and plain values under ``description``, as bundles export it. Of a
run, the tensors are those that it exchanged, and its clients' own states lie at the clients.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from torch import Tensor

from shared_components.errors import InputError
from shared_components.federation.file_digests import digest
from shared_components.federation.sites import read_committed
from shared_components.files import load_tensors
from shared_components.networks.weights import is_state_dict
from shared_components.records import found_record, read_record

GLOBAL, SETTINGS, CONFIG = "global.pt", "federation.yaml", "bundle.yaml"  # in the folder of a run
KEPT = ("image_size", "spacing", "orientation", "percentiles", "positions", "mapping_lr")
"""Ids of a bundle's config that say what weights mean and cannot be told from their shapes."""

IN_STUDY = "factory"  # the folder in a study's in which the federation's bundle is trained

CURE = "put a copy of it back, or name another start"


@dataclass(frozen=True)
class Start:
    """What a federation goes on from.

    Attributes:
        place: the file or the run's folder; of what a job carries, one of this machine that says nothing.
        weights: name -> tensor.
        description: what is known of them: ``domains``, ``labels``, ids of :data:`KEPT`, and whatever else a file says.
        digest: of the file that holds them.
        name: of the file or the run's folder as it was first read, for messages.
        run: the name of the run; empty for a file that a bundle has exported.
        within: the run's folder below that of its study; empty if it is none's.
        states: client to the round of its own state that goes with the weights.
    """

    place: str
    weights: dict[str, Tensor]
    description: dict[str, Any]
    digest: str
    name: str = ""
    run: str = ""
    within: str = ""
    states: dict[str, int] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """What it is, in a few words."""
        return f"the last round of {self.run}" if self.run else self.name

    def record(self) -> dict[str, str]:
        """What a run's folder keeps of it."""
        return {"from": self.words, "digest": self.digest}

    def content(self, clients: Iterable[str]) -> dict[str, Any]:
        """For a file that travels, which :func:`read_start` reads; without the place, which is one machine's.

        Args:
            clients: to which it travels, and of which alone it says something.
        """
        values = {key: value for key, value in asdict(self).items() if key in TRAVELS}
        states = {name: self.states[name] for name in clients if name in self.states}
        return {"start": {**values, "states": states}}


TRAVELS = {each.name for each in fields(Start)} - {"place"}


def read_start(place: str | Path, bundle: str) -> Start:
    """Read a start.

    Args:
        place: a bundle's deliverable, the folder of a finished run or of a study, or what a job carries.
        bundle: name of the bundle, which may be that of the run's folder.
    Raises:
        InputError: it is none of these, unfinished, or damaged.
    """
    path = Path(place)
    if path.is_dir():
        return _of_run(path, bundle)
    content = load_tensors(path, cure=CURE)
    if isinstance(content.get("start"), dict) and set(content["start"]) == TRAVELS:
        return Start(place=str(path), **content["start"])
    weights = content if is_state_dict(content) else content.get("model")
    if not isinstance(weights, dict) or not is_state_dict(weights):
        raise InputError(
            f"{path}: expected a start, which is a file with weights under 'model', such as a factory.pt, or the "
            f"folder of a finished run; found {', '.join(sorted(map(str, content))[:8])}; name one of these"
        )
    return Start(
        str(path), dict(weights), dict(content.get("description") or {}), str(digest(path)), path.name
    )


def run_of(place: Path, bundle: str) -> Path | None:
    """The folder of a run: the place itself, or the folder in a study's in which the bundle was trained."""
    folders = (place, place / bundle, place / IN_STUDY)
    return next((folder for folder in folders if (folder / GLOBAL).is_file()), None)


def _of_run(place: Path, bundle: str) -> Start:
    folder = run_of(place, bundle)
    if folder is None:
        raise InputError(
            f"{place}: expected a start, which is a factory file or the folder of a finished run, found no {GLOBAL} "
            "in it; name another"
        )
    committed = read_committed(folder / GLOBAL, CURE)
    settings = read_record(folder / SETTINGS, CURE, sealed=True)
    if committed.round != settings["rounds"]:
        raise InputError(
            f"{folder}: expected a finished run to start from, found round {committed.round} of "
            f"{settings['rounds']}; let it end (--resume), with fewer rounds if these are enough"
        )
    config = ConfigParser(read_record(folder / CONFIG, CURE, sealed=True))
    kept = {id: config.get_parsed_content(id) for id in (*KEPT, "labels") if id in config}
    kept |= {"labels": settings["labels"]} if settings.get("labels") else {}
    return Start(
        place=str(folder),
        weights=dict(committed.weights),
        description={"domains": list(settings["domains"]), **kept},
        digest=str(digest(folder / GLOBAL)),
        name=folder.name,
        run=str(settings["name"]),
        within="" if folder == place else folder.name,
        states={name: round for name, round in committed.states.items() if round},
    )


def own_state(start: Start, folders: Iterable[Path], client: str) -> str:
    """The state that a client kept when the run ended.

    Args:
        start: of the run.
        folders: at the client's site, in one of which the run was kept.
        client: the client's name.
    Returns:
        The file, which is missing if none of the folders has it; empty if the client was not in the run.
    """
    round = int(start.states.get(client, 0))
    files = [folder / "clients" / client / f"state.{round}.pt" for folder in folders]
    return str(next((file for file in files if file.is_file()), files[0])) if round else ""


def refuse_other_start(file: Path, start: Start | None) -> None:
    """A run goes on with the start with which it began, or without any as it began.

    Args:
        file: of the run, with what it keeps of its start; there is none where it has none.
        start: which it has now.
    Raises:
        InputError: it is another.
    """
    before = found_record(file) or {}
    if before.get("digest") == (start.digest if start else None):
        return
    began, goes_on = (words or "nothing" for words in (before.get("from"), start and start.words))
    other = f"{goes_on}, of other contents" if began == goes_on else goes_on
    raise InputError(
        f"{file}: the run to resume began from {began}; 'start' is now {other}; put it back, or start over with --force"
    )


def refuse_other_meaning(start: Start, domains: list[str], kept: Mapping[str, Any]) -> None:
    """The start's domains must be the federation's first, and its slices must mean the same.

    Args:
        start: what the federation goes on from.
        domains: of the federation.
        kept: values of its ids of :data:`KEPT`, and ``labels`` where their order means something.
    Raises:
        InputError: they are not, naming the key.
    """
    known = start.description.get("domains")
    if isinstance(known, list | tuple) and list(known) != domains[: len(known)]:
        raise InputError(
            f"{start.name}: 'domains': expected those of the start first and in its order, "
            f"{', '.join(map(str, known))}, found {', '.join(domains)}; put new ones behind them"
        )
    for id, value in kept.items():
        if id in start.description and _plain(start.description[id]) != _plain(value):
            where = "as the start has it" if id == "labels" else "in 'overrides'"
            raise InputError(
                f"{start.name}: '{id}': expected {start.description[id]}, with which the start was trained, found "
                f"{value}; set it {where}, or name another start"
            )


def _plain(value: Any) -> Any:
    """A number and a list of it twice are the same spacing; lists and tuples are alike, and 1 and "1" as keys."""
    if isinstance(value, Mapping):
        return {str(key): entry for key, entry in value.items()}
    if isinstance(value, list | tuple):
        numbers = list(value)
        return numbers[0] if numbers and all(number == numbers[0] for number in numbers) else numbers
    return value
