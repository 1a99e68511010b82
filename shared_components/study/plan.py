"""What a federation or a study will do, in how many updates and roughly how long; every part of it is built first."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shared_components.errors import InputError, counted
from shared_components.federation.bundle_workflow import Layout
from shared_components.federation.exchange_table import exchange_faults, exchange_table, rounds_of_clients
from shared_components.federation.federation import Federation
from shared_components.federation.start import Start, start_faults, start_of
from shared_components.hyper_parameters import has_our_values, value_faults
from shared_components.study.client_stages import study_stages
from shared_components.study.origins import joined
from shared_components.study.rehearsal import Rehearsal, rehearse, with_overrides
from shared_components.study.roles import plan_study
from shared_components.study.section_check import section_faults
from shared_components.study.settings import SHAPES
from shared_components.study.source_model import check_source_federation, source_federations
from shared_components.study.stage import Stage
from shared_components.study.study import AUDIT_STAGE, CHOICE, Study
from shared_components.yaml_files import read_configs

UNTRAINED = {  # stages that train nothing
    "synthetic": "draws volumes",
    AUDIT_STAGE: "audits the factory",
    SHAPES: "describes its labels",
    CHOICE: "chooses its model",
}
BESIDE = {  # of these that take seconds each, in one line
    AUDIT_STAGE: "at each client the audit of the factory on its own images",
    SHAPES: "at each labelled client the shapes of its labels, in numbers",
    CHOICE: "at each other client the choice of its model",
}
SEGMENTER = ("segmenter_channels", "network_def")  # ids of the adaptation's configs that shape it
UNKNOWN = "what is exchanged: not known before the bundle has read its data; rounds.csv tells the bytes"
UNPROTECTED = (
    "what a study passes on beside it (source model, synthetic volumes, shapes of labels, scores) gets no clipping "
    "and no noise"
)

Kind = tuple[str, str, frozenset[str]]
"""A stage's name, its bundle, and which ids it sets."""


@dataclass(frozen=True)
class Step:
    """A line of the plan.

    Attributes:
        name: of the stage.
        what: in words.
        updates: at one client, None where nothing is trained.
        seconds: rough, of all updates together; None where nothing was timed.
    """

    name: str
    what: str
    updates: int | None
    seconds: float | None


def check_settings(federation: Federation) -> None:
    """Check the values of the bundle's config with the federation's overrides, and a ``study``; reads no data.

    Raises:
        InputError: every value that is not what it may be, one a line.
    """
    config = read_configs(federation.config_files)
    faults = {"": section_faults(federation)}
    if has_our_values(config):
        merged = with_overrides(config, federation.client_overrides(next(iter(federation.clients))))
        faults["overrides"] = value_faults(merged)
    _refuse(faults, federation.name)


def plan(federation: Federation, study: bool | None = None) -> str:
    """Build what every client and every stage would build, and tell what they will do.

    Args:
        federation: the federation.
        study: whether a whole study follows the federated training; None: if its bundle is a factory of which a
            study can be made, or the file has a section ``study``.
    Returns:
        What is exchanged, a line for each step, and a rough time.
    Raises:
        InputError: every value that is not what it may be, and everything that cannot be built, one a line.
    """
    with _threads(federation.threads_per_worker):
        trainings = [(federation, *_training(federation, Path(federation.bundle).name))]
        planned, unplanned = _planned(federation, study)
        if planned is not None and planned.federates_source:
            check_source_federation(planned)
            for variant, together in source_federations(planned).items():
                trainings.append((together, *_training(together, variant)))
        steps = [] if planned is None else _stages(planned)
    jobs = 1 if planned is None else planned.jobs
    told = trainings[:2]  # every variant of the source model is exchanged alike
    tables = [UNKNOWN if layout is None else exchange_table(of, layout) for of, _, layout in told]
    also = [] if planned is None else [f"  {UNPROTECTED}"]
    if len(tables) > 1:
        tables.insert(1, f"then the source model, among {joined(list(trainings[1][0].clients))}:")
    start = start_of(federation)
    also += _spent_in_all([of for of, _, _ in trainings], start)
    begins = [] if start is None else [f"goes on from {start.words}"]
    return "\n".join(
        [*begins, *tables, *also, *_lines([step for _, step, _ in trainings], steps, jobs), *unplanned]
    )


def _spent_in_all(trainings: Sequence[Federation], start: Start | None) -> Iterator[str]:
    """What clients spend of their privacy in several trainings together, and in those that went before."""
    privacy = trainings[0].privacy
    if privacy is None or not privacy.noise:
        return
    drawn = Counter[str]()
    for one in trainings:
        drawn.update(rounds_of_clients(one))
    if len(trainings) > 1:
        epsilon = privacy.spent(max(drawn[name] for name in trainings[-1].clients))
        yield f"  a labelled client's updates of all {len(trainings)} trainings count together: epsilon {epsilon:.3g}"
    known = {name: start.spent[name] for name in drawn if name in start.spent} if start else {}
    if known:
        epsilon = max(privacy.spent(drawn[name], before) for name, before in known.items())
        yield f"  with what had left before, where this goes on from, up to epsilon {epsilon:.3g} at the end"


def _training(federation: Federation, name: str) -> tuple[Step, Layout | None]:
    """The federated training, built for each client and timed for the first, and what it exchanges."""
    config = read_configs(federation.config_files)
    aggregator = federation.make_aggregator()
    results = {
        name: rehearse(config, federation.client_overrides(name), federation.bundle, number == 0, aggregator)
        for number, name in enumerate(federation.clients)
    }
    _refuse({f"client {name}: overrides": result.faults for name, result in results.items()}, federation.name)
    layout = next(iter(results.values())).layout
    if layout is not None:
        found = [*exchange_faults(federation, layout), *start_faults(federation, layout.shared)]
        _refuse({"": found}, federation.name)
    updates = federation.rounds * federation.updates_per_round
    at_once = min(max(federation.workers, 1), os.cpu_count() or 1)
    one = next(iter(results.values())).seconds
    seconds = None if one is None else one * updates * -(-federation.clients_per_round // at_once)
    drawn, of = federation.clients_per_round, len(federation.clients)
    at = "each client" if drawn == of else f"{counted(drawn, 'client')} of {of}"
    updates_each = counted(federation.updates_per_round, "update")
    what = f"{counted(federation.rounds, 'round')} of {updates_each} at {at}"
    return Step(name, what, updates, seconds), layout


def _planned(federation: Federation, study: bool | None) -> tuple[Study | None, list[str]]:
    """The study that follows the training, and why none can where the file asks for none."""
    if study is None and not federation.study:
        if "generator_def" not in read_configs(federation.config_files):
            return None, []
        try:
            return plan_study(federation), []
        except InputError as error:  # such as no client with labels
            return None, [f"it can be run; for a study: {error}"]
    return (None if study is False else plan_study(federation)), []


def _stages(study: Study) -> list[Step]:
    """The stages of a study, of each kind one built and timed."""
    stages = study_stages(study)
    kinds: dict[Kind, Stage] = {}
    for stage in stages:
        kinds.setdefault(_kind(stage), stage)
    configs = {
        kind: with_overrides(read_configs(stage.config_files), _own(stage)) for kind, stage in kinds.items()
    }
    of_segmenters = {
        name: config for (name, bundle, _), config in configs.items() if bundle == study.adaptation
    }
    _refuse({"": list(_unlike(of_segmenters))}, study.federation.name)
    results = {
        kind: rehearse(read_configs(stage.config_files), _own(stage), stage.bundle)
        for kind, stage in kinds.items()
    }
    faults: dict[str, list[str]] = {}
    for (name, *_), result in results.items():
        told = faults.setdefault(f"study: {name}", [])
        told += [fault for fault in result.faults if fault not in told]
    _refuse(faults, study.federation.name)
    return [_step(stage, results[_kind(stage)]) for stage in stages]


def _kind(stage: Stage) -> Kind:
    return stage.name, stage.bundle, frozenset(stage.overrides)


def _own(stage: Stage) -> dict[str, Any]:
    return {"bundle_root": stage.bundle, "output_dir": str(stage.folder), **stage.overrides}


def _unlike(configs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for each id that shapes the segmenter and differs between stages, which read one another's models.

    Args:
        configs: a stage's name to its config, with its overrides.
    """
    for id in SEGMENTER:
        values = {name: repr(config[id]) for name, config in configs.items() if id in config}
        if len(set(values.values())) > 1:
            told = "; ".join(
                f"{value} in {joined([name for name in values if values[name] == value])}"
                for value in dict.fromkeys(values.values())
            )
            yield (
                f"study: '{id}' shapes the segmenter, whose weights the stages hand on, and differs: {told}; set it "
                "under 'study: overrides', which are of every stage"
            )


def _step(stage: Stage, result: Rehearsal) -> Step:
    what = "trains" if result.updates else UNTRAINED.get(stage.name, "segments")
    seconds = result.updates * result.seconds if result.updates and result.seconds else None
    return Step(stage.key, what, result.updates, seconds)


def _refuse(faults: Mapping[str, Sequence[str]], name: str) -> None:
    """Raise with every fault, one that is the same everywhere once."""
    places: dict[str, list[str]] = {}
    for place, found in faults.items():
        for fault in found:
            places.setdefault(fault, []).append(place)
    if places:
        lines = [
            f"{_joined(found, len(faults))}: {fault}".removeprefix(": ") for fault, found in places.items()
        ]
        number = counted(len(lines), "problem")
        raise InputError("\n".join([f"{name}: {number} in the settings", *lines]))


def _joined(places: Sequence[str], of: int) -> str:
    """``client a: overrides`` and so on for all clients is ``overrides``."""
    ends = {place.split(": ", 1)[-1] for place in places}
    return ends.pop() if len(places) == of and len(ends) == 1 else ", ".join(places)


def _lines(trainings: Sequence[Step], stages: Sequence[Step], jobs: int) -> Iterator[str]:
    steps = [*trainings, *(step for step in stages if step.updates or step.what == UNTRAINED["synthetic"])]
    width = max(len(step.name) for step in steps)
    yield "what it will do, and very roughly how long on this machine:"
    for step in steps:
        count = f", {counted(step.updates, 'update')}" if step.updates else ""
        time = f", about {duration(step.seconds)}" if step.seconds is not None else ""
        yield f"  {step.name:{width}}  {step.what}{count}{time}"
    beside = {name: sum(step.what == UNTRAINED[name] for step in stages) for name in BESIDE}
    others = len(trainings) + len(stages) - len(steps) - sum(beside.values())
    if others:
        yield f"  and {others} stage{' that segments' if others == 1 else 's that segment'} test volumes"
    yield from (f"  and {BESIDE[name]}, seconds each" for name, count in beside.items() if count)
    timed = [step.seconds for step in steps if step.updates]
    if all(seconds is not None for seconds in timed):
        at_once = min(jobs, os.cpu_count() or 1)
        total = sum(timed[: len(trainings)]) + sum(timed[len(trainings) :]) / at_once
        yield f"  all training together about {duration(total)}; reading, drawing and segmenting come on top"
    else:
        yield "  no time for all: a bundle of another kind, or updates too large to be tried here"


def duration(seconds: float) -> str:
    """A time in words, to about a tenth.

    >>> duration(8), duration(70), duration(700), duration(9000)
    ('8 s', '1 min', '12 min', '2.5 h')
    """
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    """Torch's threads as each worker will have them."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
