"""What a finished study tells of itself: its pictures, its record ``study.json``, and the report made of that."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor

from shared_components.data.coverage import Reach, image_reach
from shared_components.data.slices import SliceDataset
from shared_components.data.volume_check import load_volume
from shared_components.errors import InputError, counted
from shared_components.federation.bundle_workflow import bundle_config
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.site_check import coverage_lines, frame_of
from shared_components.handlers.pictures import picture_grid, save_picture
from shared_components.networks.factory import factory_description, load_generator
from shared_components.networks.generator import Generator
from shared_components.networks.volume_generator import VolumeGenerator, sample_latents
from shared_components.report import write_study_report
from shared_components.study.candidates import choices, model_at_home
from shared_components.study.client_data import ClientData, SiteDescription
from shared_components.study.matrix import matrix_record
from shared_components.study.methods import METHODS, method_texts
from shared_components.study.origins import origins
from shared_components.study.released import AUDIT, SCORES
from shared_components.study.released import MODEL as MODEL_FILE
from shared_components.study.settings import ADAPTATION, GENERALISATION, PREDICTIONS, VARIANTS
from shared_components.study.source_model import source_weights
from shared_components.study.stage import Stage, model_path
from shared_components.study.study import AUDIT_STAGE, EVERYBODY, Study
from shared_components.study_record import (
    ClientPictures,
    MemberRecord,
    SegmentedTests,
    StageTime,
    StudyRecord,
    TogetherTrained,
    VolumeCounts,
    write_study_record,
)

BEFORE = "before"  # beside the trainings' names: what had been spent before
LOOKED_AT = 8  # volumes of a client, evenly spaced, for what the networks see of its images
COLUMNS = 12  # slices of a picture
ROWS = 2
AS_TRAINED = ("percentiles", "min_foreground")  # ids of the factory's config by which it reads slices


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
        more: further fields of the record.
    Returns:
        The report.
    """
    if not quiet:
        print("pictures and report", flush=True)
    done = [stage for stage in stages if stage.key in seconds]
    record = _study_record(study, done, seconds, _write_pictures(study, {stage.key for stage in done}), more)
    write_study_record(study.folder, record)
    return write_study_report(study.folder)


def _study_record(
    study: Study,
    stages: Sequence[Stage],
    seconds: Mapping[str, float],
    pictures: Mapping[str, ClientPictures],
    more: Mapping[str, Any] | None = None,
) -> StudyRecord:
    """The content of ``study.json``.

    Args:
        study: which has run.
        stages: those that are done.
        seconds: stage key to how long it took.
        pictures: of each client.
        more: further fields.
    """
    federation, done, spent = study.federation, [stage.key for stage in stages], epsilons(study)
    return StudyRecord(
        name=federation.name,
        date=date.today().isoformat(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{study.jobs} stages at a time of {counted(study.threads, 'thread')}",
        seed=federation.seed,
        domains=tuple(federation.domains),
        labels=dict(study.roots[study.source].labels),
        source=study.source,
        origins=tuple(origins(study)),
        clients={name: _member(study, name, spent.get(name)) for name in study.roots},
        stages=tuple(_time(key, value) for key, value in seconds.items()),
        factory=study.factory,
        models=_models(study, stages),
        scores=tuple(_scores(study, stages)),
        coverage=tuple(study_coverage(study)),
        methods=method_texts(study),
        pictures=pictures,
        privacy=None if federation.privacy is None else asdict(federation.privacy),
        unseen={name: _member(study, name) for name in study.unseen},
        federated_source=_together(study),
        generalisation=Path(model_path(study, EVERYBODY, GENERALISATION)) if study.generalises else None,
        matrix=matrix_record(study, done) if study.flag("matrix") else None,
        audit=_audits(study, done),
        **choices(study, done),
        **(more or {}),
    )


def _time(key: str, seconds: float) -> StageTime:
    client, _, stage = key.partition("/")
    return StageTime(client, stage, round(seconds, 1))


def _member(study: Study, name: str, spent: Mapping[str, Any] | None = None) -> MemberRecord:
    data = study.data(name)
    return MemberRecord(
        domain=", ".join(data.domains),
        role=study.role(name),
        subjects={split: VolumeCounts(**counts) for split, counts in data.counts.items()},
        data_root=data.dataset_dir if isinstance(data.dataset_dir, str) else tuple(data.dataset_dir),
        at=_away(study, name),
        **(spent or {}),
    )


def _away(study: Study, name: str) -> str:
    """The site where the data and what was made of them are, unless it is here."""
    return "" if study.is_here(name) else name


def _together(study: Study) -> TogetherTrained | None:
    if not study.federates_source:
        return None
    return TogetherTrained(Path(source_weights(study).path), study.sources)


def _models(study: Study, stages: Sequence[Stage]) -> dict[str, Path]:
    """Client to the model that it is to use, of those that are here."""
    done = [stage.key for stage in stages]
    own = {
        client: model_at_home(study, client, done) if client in study.sources else study.own_model
        for client in study.roots
    }
    files = {s.client: s.folder / MODEL_FILE for s in stages if s.name == own.get(s.client)}
    return {client: file for client, file in files.items() if file.is_file()}


def _scores(study: Study, stages: Sequence[Stage]) -> list[SegmentedTests]:
    """Runs of inference, in the order of METHODS."""
    return [
        SegmentedTests(
            stage.client,
            method.name,
            stage.folder,
            stage.folder / SCORES if (stage.folder / SCORES).is_file() else None,
            _away(study, stage.client),
        )
        for model, method in METHODS.items()
        for stage in stages
        if stage.name == model + PREDICTIONS
    ]


def _audits(study: Study, done: Collection[str]) -> dict[str, Path]:
    """Client to its table of what the factory gives away, of those whose audit is done."""
    audited = [name for name in study.roots if f"{name}/{AUDIT_STAGE}" in done]
    return {name: study.place(name, AUDIT_STAGE) / AUDIT for name in audited}


def epsilons(study: Study) -> dict[str, dict[str, Any]]:
    """What a study has spent of its clients' privacy: client to its ``epsilon`` in all trainings, and ``epsilons`` in
    each, by the name of the training's folder.

    A labelled client takes part in the factory's and in the source model's training with the same patients: the
    factory reads their images, the source model their images and labels. All its updates get noise of one multiplier,
    so those of both trainings compose as those of one do. What has left in a training that was begun anew since, with
    fewer labelled clients, say, counts too, and so does what had left before in what the study goes on from.

    Raises:
        InputError: a table of rounds or a client's ledger is damaged, or says nothing of its updates.
    """
    privacy = study.federation.privacy
    if privacy is None or not privacy.noise:
        return {}
    counts: dict[str, dict[str, int]] = {}
    earlier = RunFolder(study.factory_federation.output_dir).spent_before()
    before = {client: squares for client, squares in earlier.items() if client in study.roots}
    trained = [Path(study.factory_federation.output_dir), *(study.folder / variant for variant in VARIANTS)]
    for folder in map(RunFolder, trained):  # also what today's study no longer asks for: it has left
        for client, updates in folder.released().items():
            counts.setdefault(client, {})[folder.root.name] = updates
    return {
        client: {
            "epsilon": privacy.spent(sum(counts.get(client, {}).values()), before.get(client, 0.0)),
            "epsilons": {name: privacy.spent(number) for name, number in counts.get(client, {}).items()}
            | ({BEFORE: privacy.spent(0, before[client])} if client in before else {}),
        }
        for client in sorted({*counts, *before})
    }


def study_coverage(study: Study) -> list[str]:
    """Which part of each client's images lies outside what the networks see of a slice: the lines that a federation's
    check prints, of a few training volumes of each client that is here.
    """
    frame = frame_of(study.federation)
    if frame is None:
        return []
    found: dict[str, dict[str, Reach]] = {}
    for client in filter(study.is_here, study.roots):
        data = study.roots[client]
        images = [(root.root, Path(item["image"])) for root in data.roots for item in root.items("training")]
        chosen = images[:: max(1, -(-len(images) // LOOKED_AT))]
        volumes = ((os.path.relpath(image, root), load_volume(image)[0]) for root, image in chosen)
        found[client] = {name: image_reach(volume, frame) for name, volume in volumes if volume is not None}
    return list(coverage_lines(found, frame))


def _real_slices(study: Study, client: str, description: dict) -> Tensor:
    """Evenly spaced training slices of a client's first volumes, (ROWS · COLUMNS, 1, S, S), as the factory saw them."""
    arguments, parser = description["generator"], ConfigParser(bundle_config(study.federation))
    as_trained = {id: parser.get_parsed_content(id) for id in AS_TRAINED if id in parser}
    dataset = SliceDataset(
        few_items(study.roots[client]),
        description["domains"],
        arguments["size"],
        description["spacing"],
        description["orientation"],
        **as_trained,
    )
    rows = []
    for item in sorted({where.item for where in dataset.index}):
        own = [i for i, where in enumerate(dataset.index) if where.item == item]
        rows += [dataset[own[k * len(own) // COLUMNS]]["image"] for k in range(COLUMNS)]
    return torch.stack(rows)


def _real_picture(study: Study, client: str, description: dict) -> Path | None:
    """A picture of a client's images; None, and a warning, where they cannot be read any more."""
    try:
        sheet = picture_grid(_real_slices(study, client, description), COLUMNS)
    except (InputError, OSError) as error:
        print(f"warning: client {client}: no picture of its images: {error}", file=sys.stderr, flush=True)
        return None
    return save_picture(study.place(client, "pictures") / "real.png", sheet)


def few_items(data: ClientData | SiteDescription) -> list[dict[str, str]]:
    """The first training volumes, of different data roots where there are several."""
    ranked = [pair for root in data.roots for pair in enumerate(root.items("training"))]
    return [item for _, item in sorted(ranked, key=lambda pair: pair[0])[:ROWS]]


@torch.no_grad()
def _generated_slices(generator: Generator, domain: int, seed: int) -> Tensor:
    """Volumes of ROWS latents from the lowest to the highest slice, (ROWS · COLUMNS, 1, S, S)."""
    latents = torch.stack(sample_latents(ROWS, generator.z_dim, seed))
    volumes = VolumeGenerator(generator, domain, COLUMNS)(latents)  # (ROWS, 1, S, S, COLUMNS)
    return volumes.movedim(-1, 1).flatten(0, 1)


def _write_pictures(study: Study, done: Collection[str]) -> dict[str, ClientPictures]:
    """Write each client's pictures below its folder; none of images that are not here, nor of stages not ``done``."""
    description = factory_description(study.factory)
    generator = load_generator(study.factory)
    found: dict[str, ClientPictures] = {}
    for client in study.roots:
        place = study.place(client, "pictures")
        slices = torch.cat(
            [
                _generated_slices(generator, description["domains"].index(domain), study.federation.seed)
                for domain in study.roots[client].domains
            ]
        )
        generated = save_picture(place / "generated.png", picture_grid(slices, COLUMNS))
        real = _real_picture(study, client, description) if study.is_here(client) else None
        translated = study.place(client, ADAPTATION) / "pictures"
        adapted = f"{client}/{ADAPTATION}" in done
        translations = sorted(translated.glob("translation_*.png")) if adapted else []
        found[client] = ClientPictures(generated, real, translations[-1] if translations else None)
    return found
