"""What a study has left behind, in a few lines: where things lie, how they score, what they took."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from shared_components.audit.figures import read_figures
from shared_components.audit.page import sentence
from shared_components.data.grids import grid_fault
from shared_components.data.image_loader import stored_grid
from shared_components.data.nifti import is_nifti
from shared_components.data.volume_faults import file_faults
from shared_components.errors import InputError, counted
from shared_components.federation.folder_lock import FolderLock
from shared_components.federation.status import run_status
from shared_components.inferers import read_case_list
from shared_components.inferers.case_dataset import FAULT
from shared_components.metrics import read_scores, summarize
from shared_components.records import found_record
from shared_components.report.run_sections import epsilon_text
from shared_components.study.settings import PREDICTIONS, VARIANTS
from shared_components.study.source_model import FEDERATED
from shared_components.study.stage import DONE, LOG, stage_folders
from shared_components.study_record import (
    FILE_NAME,
    ModelMatrix,
    SegmentedTests,
    StudyRecord,
    read_study_record,
)

OVERRIDES = "overrides.yaml"  # a stage's settings, in its folder


def study_summary(folder: str | os.PathLike) -> str:
    """The report, the factory, the models, the segmentations with their scores, seconds per stage, and commands that
    segment new volumes.

    Raises:
        InputError: no finished study, or a segmentation that is not on its input's grid.
    """
    folder = Path(folder)
    study = read_study_record(folder)
    faults = [fault for tests in study.scores if not tests.at for fault in grid_faults(tests.predictions)]
    if faults:
        raise InputError("\n".join(["segmentations that are not on their input's grid:", *faults]))
    return "\n".join(_lines(folder, study))


def _lines(folder: Path, study: StudyRecord) -> Iterator[str]:
    yield f"{study.name}: {len(study.clients)} clients"
    yield from _epsilons(study)
    yield f"  report   {_short(folder / 'report.html')}"
    yield f"  factory  {_short(study.factory)}"
    for client, model in study.models.items():
        yield f"  model    {_short(model)}  ({client}, {study.clients[client].domain})"
    if study.federated_source:
        clients = " and ".join(study.federated_source.clients)
        yield f"  model    {_short(study.federated_source.model)}  (trained together by {clients})"
    if study.generalisation:
        yield f"  model    {_short(study.generalisation)}  (any scanner; synthetic volumes alone)"
    for failed in study.failed:
        yield f"  left out {failed.cause}"
    if study.changed:
        yield f"  changed  {study.changed}; data were replaced while the study ran"
    yield "segmentations, each of its input's shape and affine:"
    for tests in study.scores:
        yield f"  {_tests_line(folder, study, tests)}"
    if study.matrix:
        yield from _matrix_lines(study.matrix)
    yield from _audits(study.audit)
    yield "seconds per stage:"
    for stage in study.stages:
        yield f"  {stage.seconds:7.1f}  {stage.client}/{stage.stage}"
    commands = list(_commands(folder, study))
    if commands:  # none where every model's settings are at its own site
        yield "to segment new volumes, a file, a folder or a data root in place of VOLUMES:"
        yield from commands


def _tests_line(folder: Path, study: StudyRecord, tests: SegmentedTests) -> str:
    """Where segmented test volumes are, and their scores."""
    score = f", Dice {_dice(tests.csv)}" if tests.csv else ", no labels to score against"
    if tests.at:
        place = tests.predictions.relative_to(folder).as_posix()
        return f"{tests.client}, {tests.method}: at its site, in {place}{score}"
    cases, _ = read_case_list(tests.predictions)
    number = counted(len(cases), "volume")
    unseen = " (unseen)" if tests.client in study.unseen else ""
    return f"{tests.client}{unseen}, {tests.method}: {number}{score}  {_short(tests.predictions)}"


def _commands(folder: Path, study: StudyRecord) -> Iterator[str]:
    """What segments new volumes with each model that is here."""
    for client, model in study.models.items():
        stage = model.parent
        if not (stage / OVERRIDES).is_file():  # its settings are at its own site
            continue
        yield f"  with the model for {client}, {study.clients[client].domain}:"
        predictions = [stage.with_name(stage.name + PREDICTIONS)]
        yield f"    {segmenting_command(stage, predictions, f'outputs/new-{client}', model)}"
    predictions = sorted(file.parent for file in folder.glob(f"*/*/{FEDERATED}{PREDICTIONS}/{OVERRIDES}"))
    if study.federated_source and predictions:  # else its settings are at the sites
        yield "  with the source model that the labelled clients have trained together:"
        model = study.federated_source.model
        yield f"    {segmenting_command(folder / 'source_model', predictions, 'outputs/new', model)}"
    if study.generalisation:
        model, stage = study.generalisation, study.generalisation.parent
        predictions = sorted(folder.glob(f"*/*/{stage.name}{PREDICTIONS}"))
        yield "  with the model for any scanner:"
        yield f"    {segmenting_command(stage, predictions, 'outputs/new', model)}"


def _epsilons(study: StudyRecord) -> Iterator[str]:
    """What each client has spent of its privacy, in all trainings together."""
    spent = {name: client for name, client in study.clients.items() if client.epsilon is not None}
    if spent and study.privacy:
        told = (f"{name} {epsilon_text(c.epsilon, c.epsilons)}" for name, c in spent.items())
        yield f"  epsilon  {', '.join(told)}; at delta {study.privacy['delta']:g}"


def _audits(files: Mapping[str, Path]) -> Iterator[str]:
    """What the factory gives away of each client's images."""
    if files:
        yield "what the factory gives away of each client's images:"
    for client, file in files.items():
        for domain, figures in read_figures(file).items():
            yield f"  {client}, {domain}: {sentence(figures)}"


def _matrix_lines(matrix: ModelMatrix) -> Iterator[str]:
    """A line for each model, a column for each client with labelled test volumes."""
    if not matrix.sites:
        return
    width = max(len(row.model) for row in matrix.models)
    cells = [max(len(site), 5) for site in matrix.sites]
    yield "Dice of every model (lines) on everybody's test volumes (columns):"
    yield f"  {'':{width}}  " + "  ".join(f"{s:>{w}}" for s, w in zip(matrix.sites, cells, strict=True))
    for row in matrix.models:
        found = {site: summarize(read_scores(file))["mean"] for site, file in row.scores.items()}
        dice = [f"{found[s]['dice_mean']:.3f}" if s in found else "-" for s in matrix.sites]
        yield f"  {row.model:{width}}  " + "  ".join(f"{d:>{w}}" for d, w in zip(dice, cells, strict=True))


def segmenting_command(
    stage: Path, predictions: Sequence[Path], output: str, model: Path | None = None
) -> str:
    """The command line that segments VOLUMES with the model of a stage.

    Args:
        stage: the folder of the training.
        predictions: folders of runs that segmented with it; the first that is there has all settings, else the
            training's are used.
        output: the folder that the command writes to.
        model: its file, which the command names where the settings have another, as in a folder that was moved.
    """
    settings = next((f for f in (place / OVERRIDES for place in predictions) if f.is_file()), None)
    settings = settings or stage / OVERRIDES
    values = yaml.safe_load(settings.read_text(encoding="utf-8"))
    bundle = Path(values["bundle_root"])
    configs = [bundle / "configs" / "common.yaml", bundle / "configs" / "inference.yaml", settings]
    files = json.dumps([_short(file) for file in configs], ensure_ascii=False, separators=(",", ":"))
    words = ["--config_file", files, "--bundle_root", _short(bundle)]
    if model is not None and os.path.realpath(values.get("ckpt_path", "")) != os.path.realpath(model):
        words += ["--ckpt_path", _short(model)]
    words += ["--dataset_dir", "VOLUMES", "--output_dir", output]
    return f"python -W ignore -m monai.bundle run {shlex.join(words)}"


def _dice(table: Path) -> str:
    mean = summarize(read_scores(table))["mean"]
    deviation = f" ± {mean['dice_sd']:.3f}" if mean["cases"] > 1 else ""
    return f"{mean['dice_mean']:.3f}{deviation}"


def _short(path: Path) -> str:
    """Relative to the working directory where it lies below it."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def grid_faults(predictions: str | os.PathLike) -> list[str]:
    """Compare each NIfTI input of an inference run with its segmentation.

    Args:
        predictions: the run's folder, with ``cases.json``.
    Returns:
        A line for each segmentation that does not lie on the grid of its input, or cannot be compared with it.
    """
    faults = []
    for case in read_case_list(predictions)[0]:
        if is_nifti(case["image"]) and FAULT not in case:
            unfit = [fault for key in ("segmentation", "image") for fault in file_faults(case[key])]
            if unfit:  # damaged or moved since
                faults.append(str(unfit[0]))
                continue
            fault = grid_fault(*stored_grid(case["segmentation"]), *stored_grid(case["image"]))
            faults += (
                [f"{case['segmentation']}: expected the grid of {case['image']}: {fault}"] if fault else []
            )
    return faults


def study_status(folder: str | os.PathLike) -> str | None:
    """How far a study is; None for a folder that holds none."""
    folder = Path(folder)
    if (folder / FILE_NAME).is_file() and not FolderLock(folder).is_held():
        return study_summary(folder)
    runs = [name for name in ("factory", *VARIANTS) if (folder / name / "federation.yaml").is_file()]
    if "factory" not in runs:
        return None
    lock = FolderLock(folder)
    held = lock.is_held()
    told = (f"{name}: {replace(run_status(folder / name), part=True)}" for name in runs)
    end = [] if held else ["stopped: give the command that began it again, with --resume"]
    return "\n".join([*told, *_stage_lines(folder, held, lock.began()), *end])


def _stage_lines(folder: Path, held: bool, began: float) -> Iterator[str]:
    """A line for each stage that is done or was begun here; stages of other machines are known when they are done.

    Whether one from before the study ``began`` again is still what it would be now is found out when its turn comes.
    """
    for place in stage_folders(folder):
        name = place.relative_to(folder).as_posix().removeprefix("clients/")
        if found_record(place / DONE) is not None:
            before = (place / DONE).stat().st_mtime < began
            yield f"  {name}: done{' before, kept unless what it depends on has changed' if before else ''}"
        elif held:
            yield f"  {name}: under way, see {_short(place / LOG)}"
        else:
            yield f"  {name}: not finished; what it printed, and why it failed if it did, is in {_short(place / LOG)}"
