"""The whole flow: factory, source models, synthetic volumes, a model for each client, scores, report.

What a client does follows from the labels it has. A client of whose training images at least half carry labels is
a *source*: it trains a source model and, with the factory, synthetic labelled volumes of every domain. The others
adapt: each gets a model for its own images out of the synthetic volumes and the source model alone.

The federation file's ``study`` section, all optional::

    study:
      adaptation: bundles/adaptation   # the bundle
      source: north                    # the client whose model and synthetic volumes the others use
      jobs: 2                          # stages at a time
      baselines: true                  # source-only, augmented and self-trained U-Net beside the adaptation
      pretrain: {max_epochs: 16}       # overrides of the stages' configs
      synthesize: {volumes: 60}
      train: {}
      self_training: {}
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch

from shared_components.data.client_root import ClientRoot
from shared_components.errors import InputError
from shared_components.federation.federation_file import Federation
from shared_components.federation.local import LocalEngine
from shared_components.federation.problems import unknown
from shared_components.federation.stages import Stage, run_stages
from shared_components.files import write_text

KEYS = ("adaptation", "source", "jobs", "baselines", "pretrain", "synthesize", "train", "self_training")
SHARED_IDS = ("image_size", "spacing", "orientation", "percentiles", "positions", "z_dim", "w_dim")
SOURCE_ONLY, AUGMENTED = "source-only U-Net", "augmented U-Net"
SELF_TRAINED, ADAPTED = "augmented U-Net, self-trained", "adaptation"


@dataclass(frozen=True)
class Study:
    """Settings of a study and its clients' roles.

    Attributes:
        federation: the federation, whose ``output_dir`` is the study's folder.
        settings: the ``study`` section.
        roots: client name to its data root.
        source: the client whose model the unlabelled ones use.
        sources: clients that train a model on their own labels.
        targets: clients that adapt.
    """

    federation: Federation
    settings: Mapping[str, Any]
    roots: Mapping[str, ClientRoot]
    source: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where the study writes."""
        return Path(self.federation.output_dir)

    @property
    def factory_folder(self) -> Path:
        """The federated run of the factory."""
        return self.folder / "factory"

    @property
    def factory(self) -> Path:
        """The factory file that the federated run exports."""
        return self.factory_folder / f"{Path(self.federation.bundle).name}.pt"

    def place(self, client: str, stage: str) -> Path:
        """Folder of a client's stage."""
        return self.folder / "clients" / client / stage

    def share_of_labels(self, client: str) -> float:
        """Fraction of a client's training images that carry a label."""
        return label_share(self.roots[client])


def label_share(root: ClientRoot) -> float:
    """Fraction of the training images that carry a label."""
    return len(root.items("training", labelled=True)) / max(1, len(root.items("training")))


def plan_study(federation: Federation) -> Study:
    """Give each client its role.

    Raises:
        InputError: unknown settings, no labelled client, or a source that is none.
    """
    settings = dict(federation.study)
    faults = unknown("study: key", settings, KEYS)
    if faults:
        raise InputError("; ".join(faults))
    roots = {name: ClientRoot.load(client.data_root) for name, client in federation.clients.items()}
    sources = tuple(name for name, root in roots.items() if label_share(root) >= 0.5)
    if not sources:
        raise InputError(
            f"{federation.name}: expected at least one client with labels for half of its training images, "
            "found none; label some, or add a labelled client"
        )
    best = max(sources, key=lambda name: len(roots[name].items("training", labelled=True)))
    source = settings.get("source", best)
    if source not in sources:
        raise InputError(
            f"study: source: expected one of the labelled clients {', '.join(sources)}, found {source!r}"
        )
    targets = tuple(name for name in roots if name not in sources)
    return Study(federation, settings, roots, source, sources, targets)


def study_stages(study: Study) -> list[Stage]:
    """All stages after the factory."""
    stages: list[Stage] = []
    for client in study.sources:
        stages += _source_stages(study, client)
    for client in study.targets:
        stages += _target_stages(study, client)
    return stages


def _common(study: Study, client: str) -> dict[str, Any]:
    """What every stage's config gets: the federation's agreements and the client's data."""
    federation = study.federation
    agreed = {key: federation.overrides[key] for key in SHARED_IDS if key in federation.overrides}
    agreed.pop("z_dim", None)
    width = agreed.pop("w_dim", None)
    if width is not None:
        agreed["discriminator_width"] = width
    return agreed | {
        "domains": list(federation.domains),
        **({"labels": dict(federation.labels)} if federation.labels else {}),
        "seed": federation.seed,
        "dataset_dir": federation.clients[client].data_root,
    }


def _stage(
    study: Study, client: str, name: str, configs: tuple[str, ...], needs: tuple[str, ...] = (), **overrides
):
    bundle = os.path.abspath(study.settings.get("adaptation", "bundles/adaptation"))
    folder = study.place(client, name)
    values = _common(study, client) | overrides
    return Stage(client, name, bundle, ("common.yaml", *configs), values, folder, needs)


def _model(study: Study, client: str, stage: str) -> str:
    return str(study.place(client, stage) / "model.pt")


def _pretraining(study: Study, client: str, name: str, **overrides: Any) -> Stage:
    validate = {} if study.roots[client].items("validation", labelled=True) else {"validate_every": 0}
    overrides = {"quiet": True, **validate, **study.settings.get("pretrain", {}), **overrides}
    return _stage(study, client, name, ("pretrain.yaml",), ckpt_path=_model(study, client, name), **overrides)


def _source_stages(study: Study, client: str) -> list[Stage]:
    stages = [_pretraining(study, client, "source_model")]
    stages += _scoring(study, client, "source_model", client)
    if client == study.source and study.targets:
        stages.append(
            _stage(
                study,
                client,
                "synthetic",
                ("synthesize.yaml",),
                needs=(f"{client}/source_model",),
                **{
                    "factory_path": str(study.factory),
                    "source_model_path": _model(study, client, "source_model"),
                    "source_domain": study.federation.clients[client].domain,
                    "progress": False,
                    **study.settings.get("synthesize", {}),
                },
            )
        )
        if study.settings.get("baselines", True):
            stages.append(_pretraining(study, client, "source_only", strong_augmentation=False))
    return stages


def _target_stages(study: Study, client: str) -> list[Stage]:
    source = study.source
    synthetic = study.place(source, "synthetic")
    start = {"source_model_path": _model(study, source, "source_model"), "quiet": True}
    stages = [
        _stage(
            study,
            client,
            "adaptation",
            ("train.yaml",),
            needs=(f"{source}/synthetic",),
            **{
                **start,
                "source_dir": str(synthetic / study.federation.clients[source].domain),
                "twin_dir": str(synthetic / study.federation.clients[client].domain),
                "ckpt_path": _model(study, client, "adaptation"),
                **study.settings.get("train", {}),
            },
        )
    ]
    stages += _scoring(study, client, "adaptation", client)
    if study.settings.get("baselines", True) and _scored(study, client):
        stages.append(
            _stage(
                study,
                client,
                "self_trained",
                ("train.yaml", "self_training.yaml"),
                needs=(f"{source}/source_model",),
                **{**start, "ckpt_path": _model(study, client, "self_trained")},
                **study.settings.get("self_training", {}),
            )
        )
        stages += _scoring(study, client, "self_trained", client)
        stages += _scoring(study, client, "source_model", source)
        stages += _scoring(study, client, "source_only", source)
    return stages


def _scored(study: Study, client: str) -> bool:
    return bool(study.roots[client].items("test", labelled=True))


def _scoring(study: Study, client: str, model: str, owner: str) -> list[Stage]:
    """Segment a client's test volumes with a model; score them where the test volumes have labels."""
    if not study.roots[client].items("test"):
        return []
    configs = ("inference.yaml", "evaluate.yaml") if _scored(study, client) else ("inference.yaml",)
    return [
        _stage(
            study,
            client,
            f"{model}_predictions",
            configs,
            needs=(f"{owner}/{model}",),
            ckpt_path=_model(study, owner, model),
        )
    ]


METHODS = {
    "source_only_predictions": SOURCE_ONLY,
    "source_model_predictions": AUGMENTED,
    "self_trained_predictions": SELF_TRAINED,
    "adaptation_predictions": ADAPTED,
}


def run_study(federation: Federation, resume: bool = False, force: bool = False, quiet: bool = False) -> Path:
    """Run the whole flow and write the report.

    Args:
        federation: with the factory's bundle and a ``study`` section.
        resume: go on with what is there; finished stages are kept.
        force: throw away the federated run and start over.
        quiet: no progress bars.
    Returns:
        The report.
    Raises:
        InputError: a client's data, a round or a stage failed.
    """
    from shared_components.federation.study_pictures import write_pictures
    from shared_components.report import write_study_report

    study = plan_study(federation)
    start = time.perf_counter()
    factory = replace(federation, output_dir=str(study.factory_folder))
    LocalEngine(factory, quiet=quiet).run(resume=resume, force=force)
    seconds = {"all/factory": time.perf_counter() - start}
    stages = study_stages(study)
    jobs = int(study.settings.get("jobs", 2))
    seconds |= run_stages(stages, jobs, federation.threads_per_worker, quiet)
    pictures = write_pictures(study)
    write_text(study.folder / "federation.yaml", federation.as_yaml())
    write_text(
        study.folder / "study.json", json.dumps(_summary(study, stages, seconds, pictures), indent=1) + "\n"
    )
    return write_study_report(study.folder)


def _summary(
    study: Study, stages: list[Stage], seconds: Mapping[str, float], pictures: Mapping
) -> dict[str, Any]:
    """The content of ``study.json``, which the report reads."""
    federation, folder = study.federation, study.folder
    clients = {
        name: {
            "data_root": federation.clients[name].data_root,
            "domain": federation.clients[name].domain,
            "role": "labelled" if name in study.sources else "unlabelled",
            "subjects": {
                split: {"total": len(root.items(split)), "labelled": len(root.items(split, labelled=True))}
                for split in ("training", "validation", "test")
            },
        }
        for name, root in study.roots.items()
    }
    scores = [
        {
            "client": stage.client,
            "method": METHODS[stage.name],
            "csv": str((stage.folder / "scores.csv").relative_to(folder)),
            "predictions": str(stage.folder.relative_to(folder)),
        }
        for stage in stages
        if stage.name in METHODS
    ]
    times = [
        {
            "client": key.split("/")[0],
            "stage": key.split("/")[1],
            "seconds": round(value, 1),
            "status": "done",
        }
        for key, value in seconds.items()
    ]
    return {
        "name": federation.name,
        "domains": list(federation.domains),
        "labels": {str(value): name for value, name in (federation.labels or {}).items()},
        "clients": clients,
        "source": study.source,
        "stages": times,
        "scores": scores,
        "pictures": pictures,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {platform.system()}",
        "date": date.today().isoformat(),
    }
