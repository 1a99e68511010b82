"""Runs of a benchmark: stages, as those of a study, of which a failed one stops no other.

A whole study, or a federated training, is one of them; for a first look they have a third of their updates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_components.benchmarks import BUNDLES
from shared_components.errors import InputError, counted
from shared_components.federation.federation import Federation
from shared_components.federation.federation_file import read_federation
from shared_components.federation.file_digests import FileDigests
from shared_components.federation.folder_lock import FolderLock
from shared_components.records import found_record, write_record
from shared_components.study.federated_run import FederatedRun, by_engine
from shared_components.study.runner import run_study
from shared_components.study.stage import LOG, Stage, merged_config
from shared_components.study.stages import done_stages, run_stages
from shared_components.study_record import FILE_NAME
from shared_components.worker_processes import start_quiet_tracker

FILE = "federation.yaml"
BEGUN = "begun.json"
RUN = "run"  # of the stage's folder: the federation's
FOLDER = "rows"  # of the study's: what lies in it, no study reads
RESULTS = (FILE_NAME, "report.html", "factory/*.pt", "**/model.pt", "**/metrics.csv", "**/scores.csv")
PART = 3
LENGTHS = {"max_epochs", "phases"}  # ids of a section of a study that say how long a training takes
DEFAULTS = {  # section to the config that says how long it takes where the section does not
    "pretrain": ("max_epochs", ("common.yaml", "pretrain.yaml")),
    "train": ("phases", ("common.yaml", "train.yaml")),
    "self_training": ("phases", ("common.yaml", "train.yaml", "self_training.yaml")),
}
FACTORY = ("growth", "fade")  # ids of the factory's config that count updates


class Runs:
    """The folder of a benchmark, in which everything is run once.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._lock, self._digests = FolderLock(folder), FileDigests(folder / "digests.json")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other process out of the folder.

        Raises:
            InputError: another one runs there.
        """
        start_quiet_tracker()  # before whoever makes the phantoms starts one that is not
        with self._lock.held():
            yield
            self._digests.keep()

    def done(self, stages: Sequence[Stage]) -> dict[str, float]:
        """Stage key to seconds of those that are done."""
        return done_stages(stages, self._digests)

    def run(
        self, stages: Sequence[Stage], jobs: int = 1, ended: Callable[[Stage], None] = lambda stage: None
    ) -> list[InputError]:
        """Run what is not done yet, each in a process of its own and one thread, so that their times compare.

        Args:
            stages: in the order in which they begin.
            jobs: stages at a time.
            ended: called after every stage that is done.
        Returns:
            The failures.
        """
        failures: list[InputError] = []

        def note(stage: Stage, failure: InputError | None) -> None:
            if failure is None:
                ended(stage)
            else:
                failures.append(failure)

        run_stages(stages, jobs, digests=self._digests, check=self._lock.check, ended=note, fresh=True)
        return failures


def check_failures(failures: Sequence[InputError]) -> None:
    """Tell of failed runs.

    Raises:
        InputError: there are some.
    """
    if failures:
        listed = "\n".join(f"  {failure}" for failure in failures)
        number = counted(len(failures), "run")
        raise InputError(f"{number} failed; mend and run again, finished ones are kept:\n{listed}")


@dataclass(frozen=True)
class FederationStage(Stage):
    """What ``federate.py run FILE --resume`` does, in the stage's folder.

    Bundle and config files are the federation's; the overrides are the content of its file.
    """

    def prepare(self, fingerprint: str) -> None:
        """What an interrupted run of the same federation has left is kept: it goes on from there."""
        begun = found_record(self.folder / BEGUN)
        if begun is None or begun["fingerprint"] != fingerprint:
            super().prepare(fingerprint)
        write_record(self.folder / BEGUN, {"fingerprint": fingerprint})

    def federation(self) -> Federation:
        """The federation, whose file is written into the folder."""
        return read_federation(write_record(self.folder / FILE, self.overrides))

    def work(self) -> None:
        run = FederatedRun(self.federation())
        with run.folder.lock.held():
            run.open(resume=True, force=False, digests=FileDigests())
            run.train(by_engine(quiet=False))

    def progress(self) -> str:
        """The last line that it has told."""
        log = self.folder / LOG
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        return lines[-1] if lines else super().progress()

    def outputs(self) -> list[Path]:
        """The models that it exports."""
        federation = self.federation()
        return sorted({federation.client_export_path(name) for name in federation.clients})


def federation_stage(
    client: str, name: str, federation: Federation, folder: Path, needs: tuple[str, ...] = ()
) -> FederationStage:
    """The stage of a federation, which runs in a folder below the stage's.

    Args:
        client: whose stage it is.
        name: of the stage.
        federation: its output folder is the stage's ``run``.
        folder: of the stage.
        needs: keys of the stages that must be done before.
    """
    values: Mapping[str, Any] = {**federation.as_dict(), "output_dir": str(folder / RUN)}
    roots = tuple(root for one in federation.clients.values() for root in one.data_roots)
    return FederationStage(client, name, federation.bundle, federation.configs, values, folder, needs, roots)


@dataclass(frozen=True)
class StudyStage(FederationStage):
    """What ``federate.py study FILE --resume`` does, in the stage's folder.

    Bundle and config files are the factory's; the overrides are the content of the federation file.
    """

    def work(self) -> None:
        run_study(self.federation(), resume=True)

    def outputs(self) -> list[Path]:
        """What a study leaves, without what a benchmark runs beside it."""
        found = {file for pattern in RESULTS for file in self.folder.glob(pattern)}
        return sorted(file for file in found if file.relative_to(self.folder).parts[0] != FOLDER)


def study_stage(client: str, values: Mapping[str, Any], folder: Path) -> StudyStage:
    """The stage of a study with this repository's bundles.

    Args:
        client: whose stage it is, in words.
        values: the content of a federation file; its bundle and its output folder are replaced.
        folder: where it writes.
    """
    own = {**values, "bundle": str(BUNDLES / "factory"), "output_dir": str(folder)}
    configs = tuple(values.get("configs", ("common.yaml", "train.yaml")))
    others = [str(BUNDLES / name / "configs") for name in ("adaptation", "segmentation")]
    roots = [settings["data_root"] for settings in values["clients"].values()]
    return StudyStage(client, "study", own["bundle"], configs, own, folder, reads=(*others, *roots))


def shorter(values: Mapping[str, Any]) -> dict[str, Any]:
    """A federation file's content with a third of the rounds, epochs and updates."""
    configs = values.get("configs", ("common.yaml", "train.yaml"))
    factory = {key: _value("factory", configs, key) for key in FACTORY} | dict(values.get("overrides") or {})
    study = dict(values.get("study") or {})
    for section, (key, files) in DEFAULTS.items():
        study[section] = {key: _value("adaptation", files, key), **(study.get(section) or {})}
    together = study.get("federated_source")
    if together and "rounds" in together:
        study["federated_source"] = {**together, "rounds": _part(together["rounds"])}
    return {
        **values,
        "rounds": _part(values["rounds"]),
        "overrides": {**factory, **{key: _part(factory[key]) for key in FACTORY}},
        "study": {name: _section(section) for name, section in study.items()},
    }


def shorter_generalisation(values: Mapping[str, Any]) -> dict[str, Any]:
    """A third of the epochs of the segmentation bundle's training: the values that say so.

    Args:
        values: of its config; the warm-up and the moments of the teacher keep their shares of the whole.
    """
    return {
        "max_epochs": _part(values["max_epochs"]),
        "warm_up_epochs": _part(values["warm_up_epochs"]),
        "teacher_epochs": [1 + round((epoch - 1) / PART) for epoch in values["teacher_epochs"]],
    }


def _section(section: Any) -> Any:
    """A section of a study, with all that lies in it."""
    if not isinstance(section, Mapping):
        return section
    return {key: _part(value) if key in LENGTHS else _section(value) for key, value in section.items()}


def _part(value: Any) -> Any:
    """A third of a number, at least 1 if it was not 0, or of every number in a list or of a mapping's values."""
    if isinstance(value, Mapping):
        return {key: _part(one) for key, one in value.items()}
    if isinstance(value, str):
        return value  # an expression or a reference, which follows from others
    if isinstance(value, Sequence):
        return [_part(one) for one in value]
    return max(1, round(value / PART)) if value else value


def _value(bundle: str, configs: Sequence[str], key: str) -> Any:
    return merged_config(tuple(str(BUNDLES / bundle / "configs" / name) for name in configs))[key]
