"""Where a federation goes on from, and the global weights of round 0 that it gives.

A start is a trained factory's file, or the last whole round of a finished run. A file has the network's tensors under
``model`` and plain values under ``description``, as bundles export it. Of a run, the tensors are those that it
exchanged, and its clients' own states lie at the clients. Without a start, round 0 has the first client's weights.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor

from shared_components.errors import InputError
from shared_components.federation.budget import Budget
from shared_components.federation.bundle_workflow import LABELLED, bundle_config
from shared_components.federation.federation import Federation
from shared_components.federation.federation_file import programs
from shared_components.federation.file_digests import digest
from shared_components.federation.sites import read_committed
from shared_components.federation.spending import ROUNDS, START, spent_at_site, spent_before, spent_in
from shared_components.files import load_tensors
from shared_components.networks.weights import as_compared, is_state_dict
from shared_components.records import found_record, read_record
from shared_components.tensors import misfit
from shared_components.value_rules import Rule, number, table, text, whole

GLOBAL, SETTINGS, CONFIG = "global.pt", "federation.yaml", "bundle.yaml"  # in the folder of a run
KEPT = ("image_size", "spacing", "orientation", "percentiles", "positions", "mapping_lr", "common_rows")
"""Ids of a bundle's config that say what weights mean and cannot be told from their shapes."""
_EARLIER = {"common_rows": 0}  # what those that configs of earlier versions lack were

IN_STUDY = "factory"  # the folder in a study's in which the federation's bundle is trained

CURE = "put a copy of it back, or name another start"
_RULES = {
    "weights": Rule(
        "tensors by name", lambda value: isinstance(value, dict) and all(map(torch.is_tensor, value.values()))
    ),
    "description": Rule("a table", lambda value: isinstance(value, dict)),
    **dict.fromkeys(("digest", "name", "run", "within"), text(r".{0,4000}")),
    "states": table(text(), whole(0, 10**9), 10**6),
    "spent": table(text(), number(0, sys.float_info.max), 10**6),
}
CarryOver = Callable[[Mapping[str, Tensor], Mapping[str, Any]], dict[str, Tensor]]
HOOK = "federation::start"
"""Id of a bundle's config: called with the tensors and the description of a start, it gives the network's tensors."""


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
        spent: client to what its updates have spent in the run and in those that it went on from, see ``spending.py``.
    """

    place: str
    weights: dict[str, Tensor]
    description: dict[str, Any]
    digest: str
    name: str = ""
    run: str = ""
    within: str = ""
    states: dict[str, int] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Whoever wrote the file, what stands in it counts rounds, and what is left of a site's budget."""
        faults = [rule.fault(f"'{key}'", getattr(self, key)) for key, rule in _RULES.items()]
        fault = next(filter(None, faults), None)
        if fault:
            raise InputError(f"{self.place}: {fault}; {CURE}")

    @property
    def words(self) -> str:
        """What it is, in a few words."""
        return f"the last round of {self.run}" if self.run else self.name

    def record(self) -> dict[str, Any]:
        """What a run's folder keeps of it."""
        return {"from": self.words, "digest": self.digest, "spent": self.spent}

    def content(self, clients: Iterable[str]) -> dict[str, Any]:
        """For a file that travels, which :func:`read_start` reads; without the place, which is one machine's.

        Args:
            clients: to which it travels, and of which alone it says something.
        """
        values, names = {key: value for key, value in asdict(self).items() if key in TRAVELS}, set(clients)
        for of_clients in ("states", "spent"):
            values[of_clients] = {name: each for name, each in values[of_clients].items() if name in names}
        return {"start": values}


TRAVELS = {each.name for each in fields(Start)} - {"place"}


def read_start(place: str | Path, bundle: str) -> Start:
    """Read a start.

    Args:
        place: a bundle's deliverable, the folder of a finished run or of a study, or what a job carries.
        bundle: name of the bundle, which may be that of the run's folder.
    Raises:
        InputError: it is none of these, unfinished, or damaged, holds what no run writes, or nothing tells what its
            clients have spent.
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
        place=str(path),
        weights=dict(weights),
        description=dict(content.get("description") or {}),
        digest=str(digest(path)),
        name=path.name,
        spent=_spent_by_writer(path),
    )


def _run_of(place: Path, bundle: str) -> Path | None:
    """The folder of a run: the place itself, or the folder in a study's in which the bundle was trained."""
    folders = (place, place / bundle, place / IN_STUDY)
    return next((folder for folder in folders if (folder / GLOBAL).is_file()), None)


def _spent_by_writer(file: Path) -> dict[str, float]:
    """What the clients of the run have spent in whose folder, or in a client's there, it has exported a file."""
    for folder in (file.parent, file.parent.parent.parent):
        if (folder / GLOBAL).is_file() and (folder / SETTINGS).is_file():
            return _spent(folder)
    return {}


def _spent(folder: Path) -> dict[str, float]:
    """Client to what its updates have spent in a run, in its study's other trainings, and before.

    Raises:
        InputError: something that counts them is damaged or missing.
    """
    settings = read_record(folder / SETTINGS, CURE, sealed=True)
    if (settings.get("privacy") or {}).get("noise") and not (folder / ROUNDS).is_file():
        raise InputError(
            f"{folder / ROUNDS}: expected the rounds, by which epsilon goes on being counted, found no file; {CURE}"
        )
    total = Counter(_spent_before(folder, settings))
    for training, of in {folder: settings, **_beside(folder, settings)}.items():
        total.update(spent_in(training, of))
    return dict(total)


def _beside(folder: Path, settings: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """Other trainings of a study, those of its source model, with their settings; their names begin with its own."""
    if folder.name not in (IN_STUDY, Path(settings["bundle"]).name):
        return {}
    found = {file.parent: found_record(file) or {} for file in sorted(folder.parent.glob(f"*/{SETTINGS}"))}
    return {
        place: of for place, of in found.items() if str(of.get("name")).startswith(f"{settings['name']}, ")
    }


def _spent_before(folder: Path, settings: Mapping[str, Any]) -> dict[str, float]:
    """What a run keeps of it; one of an earlier version kept nothing, and its start tells it if it is still there."""
    noted, earlier = spent_before(folder), settings.get("start")
    if noted is not None or earlier is None or not Path(earlier).exists():
        return noted or {}
    start = read_start(earlier, Path(settings["bundle"]).name)
    return start.spent if start.digest == (found_record(folder / START) or {}).get("digest") else {}


def _of_run(place: Path, bundle: str) -> Start:
    folder = _run_of(place, bundle)
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
    kept = {**_EARLIER, **_meaning(read_record(folder / CONFIG, CURE, sealed=True))}
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
        spent=_spent(folder),
    )


def _meaning(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's merged config says of its weights. A start is no program: what is only known by running something
    stays as it is written.
    """
    plain = ConfigParser(
        {id: value for id, value in config.items() if not programs({"overrides": {id: value}})}
    )
    found = {}
    for id in (*KEPT, "labels", *([LABELLED] if config.get(LABELLED) else [])):
        if id in config:
            try:
                found[id] = plain.get_parsed_content(id)
            except (LookupError, ValueError):  # it is a program, or refers to one
                found[id] = config[id]
    return found


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


def carry_spent(start: Start | None, budget: str, client: str) -> None:
    """Let the budget of a site on this machine, of one run or study, hold what its client had spent before.

    Args:
        start: what the federation goes on from, if anything.
        budget: the site's file.
        client: its name.
    Raises:
        InputError: a site's file is damaged, or cannot be written.
    """
    if start is not None:
        place = Path(start.place)
        folder = place if place.is_dir() else place.parent
        squares = max(start.spent.get(client, 0.0), spent_at_site(folder, client))
        if squares:
            Budget(budget).carry(start.digest, squares)


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
        if id in start.description and as_compared(start.description[id]) != as_compared(value):
            where = "as the start has it" if id == "labels" else "in 'overrides'"
            raise InputError(
                f"{start.name}: '{id}': expected {start.description[id]}, with which the start was trained, found "
                f"{value}; set it {where}, or name another start"
            )


def start_of(federation: Federation) -> Start | None:
    """What a federation goes on from; None if it begins anew.

    Raises:
        InputError: see :func:`read_start`.
    """
    return None if federation.start is None else read_start(federation.start, Path(federation.bundle).name)


def first_weights(federation: Federation, start: Start, built: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a start, as those of round 0.

    A module of the network of which the start knows nothing, such as a discriminator that an exported factory has
    not, is as it was built. Where the bundle draws label maps (``label_domains``), the labels must be the start's too.

    Args:
        federation: that goes on.
        start: from which it does.
        built: the exchanged tensors of a client as it was built, or their layout: name -> tensor.
    Raises:
        InputError: domains, a setting or a tensor does not fit; the message names it.
    """
    parser = ConfigParser(bundle_config(federation))
    parser.update(federation.client_overrides(next(iter(federation.clients))))
    drawn = ["labels"] if LABELLED in parser and parser.get_parsed_content(LABELLED) else []
    kept = {
        id: parser.get_parsed_content(id)
        for id in (*KEPT, *drawn)
        if id in parser and as_compared(parser.get(id)) != as_compared(start.description.get(id))
    }
    refuse_other_meaning(start, list(federation.domains), kept)
    with torch.random.fork_rng(devices=[]):
        return weights_of(start, carry_over_of(parser, federation.bundle), built)


def weights_of(start: Start, carry_over: CarryOver | None, built: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a start by the names and in the shapes of ``built``, of which a module that it has not is taken.

    Raises:
        InputError: a tensor does not fit; the message names it.
    """
    found = carry_over(start.weights, start.description) if carry_over else dict(start.weights)
    return _fitted(built, {name: tensor.cpu() for name, tensor in found.items()}, start.name)


def carry_over_of(parser: ConfigParser, bundle_root: str) -> CarryOver | None:
    """What a bundle's config says of going on; None if it says nothing."""
    if bundle_root not in sys.path:
        sys.path.insert(1, bundle_root)
    return parser.get_parsed_content(HOOK) if HOOK in parser else None


def start_faults(federation: Federation, layout: Mapping[str, Tensor]) -> list[str]:
    """What keeps a federation from going on from its start, given the layout of what it exchanges."""
    try:
        start = start_of(federation)
        if start is not None:
            first_weights(federation, start, layout)
    except InputError as error:
        return [str(error)]
    return []


def _fitted(built: Mapping[str, Tensor], found: Mapping[str, Tensor], place: str) -> dict[str, Tensor]:
    known = {_module(name) for name in found}
    taken = {name: found[name] for name in built if name in found}
    expected = {name: tensor for name, tensor in built.items() if _module(name) in known}
    if not expected:
        raise InputError(
            f"{place}: expected weights of {', '.join(sorted({_module(name) for name in built}))}, found "
            f"{', '.join(sorted(known)[:8]) or 'none'}; name a start of this bundle"
        )
    fault = misfit(expected, taken)
    if fault:
        raise InputError(
            f"{place}: its weights do not fit this federation ({fault}); set the sizes of the networks and image_size "
            "in 'overrides' to those of the start, or name another start"
        )
    return {name: taken[name].to(tensor.dtype) if name in taken else tensor for name, tensor in built.items()}


def _module(name: str) -> str:
    """The child module of the network that a tensor is of."""
    return name.split(".", 1)[0]
