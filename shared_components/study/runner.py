"""Run a study from the factory to its report."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from shared_components.federation.federation import Federation
from shared_components.federation.file_digests import FileDigests
from shared_components.federation.folder_lock import FolderLock
from shared_components.federation.resumable import resumable
from shared_components.files import remove_tree, sweep
from shared_components.records import write_record
from shared_components.report import write_study_report
from shared_components.study.audits import audits
from shared_components.study.choices import choices, model_at_home
from shared_components.study.client_data import ClientData
from shared_components.study.client_stages import study_stages
from shared_components.study.coverage import study_coverage
from shared_components.study.failed_stages import FailedStages
from shared_components.study.federated_run import FederatedRun, by_engine, federated_runs
from shared_components.study.generalisation import MODEL
from shared_components.study.matrix import matrix
from shared_components.study.methods import METHODS, method_texts
from shared_components.study.origins import origins
from shared_components.study.pictures import write_pictures
from shared_components.study.released import MODEL as MODEL_FILE
from shared_components.study.site_description import SiteDescription
from shared_components.study.source_model import source_weights
from shared_components.study.spent import epsilons
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
            another process runs in it, or a client, a round or a stage failed; where it is a stage of a client that
            adapts, the others' have been done all the same, and the report is there.
    """
    if federation.engine != "local":
        from shared_components.study.nvflare.simulator import StudySimulator  # an extra

        return StudySimulator(federation, quiet).run(resume, force)
    study = plan_study(federation)
    stages = study_stages(study)
    with opened_study(study, stages, resume, force) as opened:
        go_on, failed = by_engine(quiet), FailedStages(study)
        seconds = {f"{EVERYBODY}/{name}": run.train(go_on) for name, run in opened.runs.items()}
        seconds |= run_stages(
            stages,
            study.jobs,
            federation.threads_per_worker,
            quiet,
            digests=opened.digests,
            check=opened.lock.check,
            ended=failed,
        )
        opened.digests.keep()
        report = tell_study(study, stages, seconds, quiet, failed.told(stages, seconds))
        failed.check()
        return report


@dataclass(frozen=True)
class OpenedStudy:
    """A study's folder, ready and locked.

    Attributes:
        lock: of the study's folder.
        runs: its federated trainings by the names of their stages, opened and locked too.
        digests: of files that stages read.
    """

    lock: FolderLock
    runs: Mapping[str, FederatedRun]
    digests: FileDigests


@contextlib.contextmanager
def opened_study(
    study: Study, stages: Sequence[Stage], resume: bool, force: bool, more: Sequence[Path] = ()
) -> Iterator[OpenedStudy]:
    """Make a study's folder ready, and keep it locked.

    Args:
        study: whose folder.
        stages: all of them.
        resume: go on with what is there.
        force: throw it away.
        more: further folders to be thrown away with it.
    """
    runs, lock = federated_runs(study), FolderLock(study.folder)
    with contextlib.ExitStack() as stack:
        for one in (lock, *(run.folder.lock for run in runs.values())):
            stack.enter_context(one.held())
        stack.enter_context(resumable(study.folder))
        digests = FileDigests(study.folder / "digests.json")
        for run in runs.values():
            run.open(resume, force, digests)
        _clean(study, [*(stage.folder for stage in stages), *more] if force else ())
        yield OpenedStudy(lock, runs, digests)


def tell_study(
    study: Study,
    stages: Sequence[Stage],
    seconds: Mapping[str, float],
    quiet: bool = False,
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Draw the pictures, and write ``study.json`` and the report.

    Args:
        study: which has run.
        stages: all of them.
        seconds: stage key to how long it took, of those that are done.
        quiet: print nothing.
        more: further parts of ``study.json``.
    Returns:
        The report.
    """
    if not quiet:
        print("pictures and report", flush=True)
    pictures = write_pictures(study)
    done = [stage for stage in stages if stage.key in seconds]
    content = {**describe(study, done, seconds, pictures), **(more or {})}
    write_record(study.folder / DESCRIPTION, content)
    return write_study_report(study.folder)


def _clean(study: Study, folders: Sequence[Path]) -> None:
    """Remove what a kill has left, some folders, and what an earlier end of the study has told."""
    sweep(study.folder)
    for folder in (*folders, study.folder / DESCRIPTION):
        remove_tree(folder)


def describe(
    study: Study, stages: Sequence[Stage], seconds: Mapping[str, float], pictures: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of ``study.json``, from which the report is written; paths are relative to its folder.

    Args:
        study: which has run.
        stages: those that are done.
        seconds: stage key to how long it took.
        pictures: of each client.
    """
    federation = study.federation
    spent = epsilons(study)
    return {
        "name": federation.name,
        "date": date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{study.jobs} stages at a time of {federation.threads_per_worker} threads",
        "seed": federation.seed,
        "domains": list(federation.domains),
        "labels": {str(value): name for value, name in study.roots[study.source].labels.items()},
        "source": study.source,
        "origins": origins(study),
        "clients": {name: _client(study, name) | spent.get(name, {}) for name in study.roots},
        "privacy": None if federation.privacy is None else asdict(federation.privacy),
        "unseen": {
            name: _described(data, "unseen") | _away(study, name) for name, data in study.unseen.items()
        },
        "stages": [_time(key, value) for key, value in seconds.items()],
        "factory": str(study.factory.relative_to(study.folder)),
        "models": _models(study, stages),
        **_together(study),
        **({"generalisation": _relative(study, EVERYBODY, MODEL)} if study.generalises else {}),
        "scores": _scores(study, stages),
        "coverage": study_coverage(study),
        **({"matrix": matrix(study, [stage.key for stage in stages])} if study.flag("matrix") else {}),
        **({"audit": audits(study, [stage.key for stage in stages])} if study.flag("audit") else {}),
        **choices(study, [stage.key for stage in stages]),
        "methods": method_texts(study),
        "pictures": dict(pictures),
    }


def _client(study: Study, name: str) -> dict[str, Any]:
    few = "few labels" if study.has_few_labels(name) else "unlabelled"
    described = _described(study.roots[name], "labelled" if name in study.sources else few)
    return described | _away(study, name)


def _away(study: Study, name: str) -> dict[str, str]:
    """The site where the data and what was made of them are, unless it is here."""
    return {} if study.is_here(name) else {"at": name}


def _described(data: ClientData | SiteDescription, role: str) -> dict[str, Any]:
    counts = {split: _counts(data, split) for split in SPLITS}
    return {
        "data_root": data.dataset_dir,
        "domain": ", ".join(data.domains),
        "role": role,
        "subjects": counts,
    }


def _counts(data: ClientData | SiteDescription, split: str) -> dict[str, int]:
    """Volumes of a split, those with labels, and those of whose labels a part is known."""
    labelled = len(data.items(split, labelled=True))
    return {"total": len(data.items(split)), "labelled": labelled, "partly": data.partly(split)}


def _relative(study: Study, client: str, stage: str) -> str:
    """The model of a stage, from the study's folder."""
    return str(Path(model_path(study, client, stage)).relative_to(study.folder))


def _together(study: Study) -> dict[str, Any]:
    """The source model that several clients have trained, and which they are."""
    if not study.federates_source:
        return {}
    model = str(Path(source_weights(study).path).relative_to(study.folder))
    return {"federated_source": {"model": model, "clients": list(study.sources)}}


def _time(key: str, seconds: float) -> dict[str, Any]:
    client, stage = key.split("/")
    return {"client": client, "stage": stage, "seconds": round(seconds, 1), "status": "done"}


def _models(study: Study, stages: Sequence[Stage]) -> dict[str, str]:
    """Client to the model that it is to use, of those that are here."""
    done = [stage.key for stage in stages]
    own = {
        client: model_at_home(study, client, done) if client in study.sources else study.own_model
        for client in study.roots
    }
    return {
        stage.client: _relative(study, stage.client, stage.name)
        for stage in stages
        if stage.name == own.get(stage.client) and (stage.folder / MODEL_FILE).is_file()
    }


def _scores(study: Study, stages: Sequence[Stage]) -> list[dict[str, str]]:
    """Runs of inference, in the order of METHODS."""
    methods = list(METHODS)
    runs = sorted((s for s in stages if s.name in METHODS), key=lambda s: methods.index(s.name))
    entries = []
    for stage in runs:
        folder = stage.folder.relative_to(study.folder)
        csv = {"csv": str(folder / "scores.csv")} if (stage.folder / "scores.csv").is_file() else {}
        place = {"predictions": str(folder), **_away(study, stage.client)}
        entries.append({"client": stage.client, "method": METHODS[stage.name].name, **csv, **place})
    return entries
