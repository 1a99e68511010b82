"""Run a study from the factory to its report."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from shared_components.data.annotations import known_text
from shared_components.federation.engines import make_engine
from shared_components.federation.federation import Federation
from shared_components.federation.file_digests import FileDigests, digest
from shared_components.federation.folder_lock import FolderLock
from shared_components.federation.resumable import resumable
from shared_components.federation.rounds_log import epsilons, read_rows
from shared_components.federation.run_folder import Committed, RunFolder
from shared_components.files import remove_tree, sweep
from shared_components.records import found_record, write_record
from shared_components.report import write_study_report
from shared_components.study.client_data import ClientData
from shared_components.study.client_stages import METHODS, study_stages
from shared_components.study.coverage import study_coverage
from shared_components.study.generalisation import MODEL
from shared_components.study.pictures import write_pictures
from shared_components.study.stage import Stage
from shared_components.study.stage_parts import model_path
from shared_components.study.stages import run_stages
from shared_components.study.study import EVERYBODY, Study, plan_study

DESCRIPTION = "study.json"
SPLITS = ("training", "validation", "test")


def run_study(federation: Federation, resume: bool = False, force: bool = False, quiet: bool = False) -> Path:
    """Run the whole flow and write the report, with the study's folder locked from before anything is removed.

    Args:
        federation: with the factory's bundle and a ``study`` section.
        resume: go on with what is there; finished stages are kept unless what they depend on has changed.
        force: throw away what is there and start over.
        quiet: print nothing.
    Returns:
        The report.
    Raises:
        InputError: the settings do not fit, the folder holds a study and neither ``resume`` nor ``force`` is given,
            another process runs in it, or a client, a round or a stage failed.
    """
    study = plan_study(federation)
    stages = study_stages(study)
    factory, lock = RunFolder(study.factory_federation.output_dir), FolderLock(study.folder)
    with lock.held(), factory.lock.held(), resumable(study.folder):
        digests = FileDigests(study.folder / "digests.json")
        committed = factory.open(study.factory_federation, resume, force, digests)
        _clean(study, stages if force else ())
        seconds = {"all/factory": _train_factory(study, factory, committed, quiet)}
        seconds |= run_stages(
            stages, study.jobs, federation.threads_per_worker, quiet, digests=digests, check=lock.check
        )
        digests.keep()
        if not quiet:
            print("pictures and report", flush=True)
        pictures = write_pictures(study)
        write_record(study.folder / DESCRIPTION, describe(study, stages, seconds, pictures))
        return write_study_report(study.folder)


def _clean(study: Study, stages: Sequence[Stage]) -> None:
    """Remove what a kill has left, some stages, and what an earlier end of the study has told."""
    sweep(study.folder)
    for stage in stages:
        remove_tree(stage.folder)
    remove_tree(study.folder / DESCRIPTION)


def _train_factory(study: Study, folder: RunFolder, committed: Committed | None, quiet: bool) -> float:
    """Train what is not trained yet.

    Returns:
        Seconds that the training has taken, rounds before an interruption included.
    """
    federation = study.factory_federation
    number = committed.round if committed else 0
    noted = found_record(folder.seconds_file)
    if number == federation.rounds and noted and noted["factory"] == digest(study.factory):
        return float(noted["seconds"])
    before = _seconds_of_rounds(folder.rounds_file, number)
    start = time.perf_counter()
    make_engine(federation, quiet=quiet, folder=folder).go_on(committed)
    seconds = round(before + time.perf_counter() - start, 1)
    write_record(folder.seconds_file, {"seconds": seconds, "factory": digest(study.factory)})
    return seconds


def _seconds_of_rounds(table: Path, last: int) -> float:
    """Of rounds 1 to ``last`` together; a round takes as long as its slowest client."""
    slowest: dict[int, float] = {}
    for row in read_rows(table) if last else ():
        number = int(row["round"])
        if number <= last:
            slowest[number] = max(slowest.get(number, 0.0), float(row["seconds"]))
    return sum(slowest.values())


def describe(
    study: Study, stages: Sequence[Stage], seconds: Mapping[str, float], pictures: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of ``study.json``, from which the report is written; paths are relative to its folder."""
    federation = study.federation
    spent = epsilons(RunFolder(study.factory_federation.output_dir).rounds_file)
    return {
        "name": federation.name,
        "date": date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{study.jobs} stages at a time of {federation.threads_per_worker} threads",
        "seed": federation.seed,
        "domains": list(federation.domains),
        "labels": {str(value): name for value, name in study.roots[study.source].labels.items()},
        "source": study.source,
        "clients": {name: _client(study, name, spent.get(name)) for name in study.roots},
        "privacy": None if federation.privacy is None else asdict(federation.privacy),
        "unseen": {name: _described(data, "unseen") for name, data in study.unseen.items()},
        "stages": [_time(key, value) for key, value in seconds.items()],
        "factory": str(study.factory.relative_to(study.folder)),
        "models": _models(study, stages),
        **({"generalisation": _relative(study, EVERYBODY, MODEL)} if study.generalises else {}),
        "scores": _scores(study, stages),
        "coverage": study_coverage(study),
        "methods": {method.name: method.what for method in METHODS.values()},
        "pictures": dict(pictures),
    }


def _client(study: Study, name: str, epsilon: float | None) -> dict[str, Any]:
    described = _described(study.roots[name], "labelled" if name in study.sources else "unlabelled")
    return described if epsilon is None else {**described, "epsilon": epsilon}


def _described(data: ClientData, role: str) -> dict[str, Any]:
    counts = {split: _counts(data, split) for split in SPLITS}
    return {
        "data_root": data.dataset_dir,
        "domain": ", ".join(data.domains),
        "role": role,
        "subjects": counts,
    }


def _counts(data: ClientData, split: str) -> dict[str, int]:
    """Volumes of a split, those with labels, and those of whose labels a part is known."""
    labelled = data.items(split, labelled=True)
    partly = sum(bool(known_text(item)) for item in labelled)
    return {"total": len(data.items(split)), "labelled": len(labelled), "partly": partly}


def _relative(study: Study, client: str, stage: str) -> str:
    """The model of a stage, from the study's folder."""
    return str(Path(model_path(study, client, stage)).relative_to(study.folder))


def _time(key: str, seconds: float) -> dict[str, Any]:
    client, stage = key.split("/")
    return {"client": client, "stage": stage, "seconds": round(seconds, 1), "status": "done"}


def _models(study: Study, stages: Sequence[Stage]) -> dict[str, str]:
    """Client to the model that it is to use."""
    own = {client: "source_model" if client in study.sources else "adaptation" for client in study.roots}
    return {
        stage.client: _relative(study, stage.client, stage.name)
        for stage in stages
        if stage.name == own.get(stage.client)
    }


def _scores(study: Study, stages: Sequence[Stage]) -> list[dict[str, str]]:
    """Runs of inference, in the order of METHODS."""
    methods = list(METHODS)
    runs = sorted((s for s in stages if s.name in METHODS), key=lambda s: methods.index(s.name))
    entries = []
    for stage in runs:
        folder = stage.folder.relative_to(study.folder)
        csv = {"csv": str(folder / "scores.csv")} if (stage.folder / "scores.csv").is_file() else {}
        entries.append(
            {"client": stage.client, "method": METHODS[stage.name].name, **csv, "predictions": str(folder)}
        )
    return entries
