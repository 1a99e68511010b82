"""The whole flow: factory, source models, synthetic volumes, a model for each client, scores, report.

What a client does follows from the labels it has. A client of whose training images at least half carry labels is
a *source*: it trains a source model and, with the factory, synthetic labelled volumes of every domain. The others
adapt: each gets a model for its own images out of the synthetic volumes and the source model alone.

The federation file's ``study`` section, all optional::

    study:
      adaptation: bundles/adaptation   # the bundle; by default beside the factory's
      source: north                    # the client whose model and synthetic volumes the others use
      jobs: 2                          # stages at a time
      baselines: true                  # source-only, augmented and self-trained U-Net beside the adaptation
      overrides: {segmenter_channels: [16, 32, 64, 128]}   # of every stage's config
      pretrain: {max_epochs: 16}       # overrides of one kind of stage
      synthesize: {volumes: 60}
      train: {}
      self_training: {}
      inference: {}

Image size, spacing, orientation and whatever else adaptation must have in common with the factory is taken from
the factory's config with the federation's overrides; it needs no mention in ``study``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from shared_components.data.client_root import ClientRoot
from shared_components.errors import InputError
from shared_components.federation.federation_file import Federation
from shared_components.federation.problems import unknown
from shared_components.federation.run_folder import bundle_config

SECTIONS = ("overrides", "pretrain", "synthesize", "train", "self_training", "inference")
KEYS = ("adaptation", "source", "jobs", "baselines", *SECTIONS)
SHARED_IDS = {  # id of the factory's config -> id of the adaptation's
    "image_size": "image_size",
    "spacing": "spacing",
    "orientation": "orientation",
    "percentiles": "percentiles",
    "positions": "positions",
    "discriminator_channels": "discriminator_channels",
    "w_dim": "discriminator_width",
}


@dataclass(frozen=True)
class Study:
    """Settings of a study and its clients' roles.

    Attributes:
        federation: the federation, whose ``output_dir`` is the study's folder.
        settings: the ``study`` section.
        agreed: ids and values that every stage's config has in common with the factory's.
        roots: client name to its data root.
        source: the client whose model the unlabelled ones use.
        sources: clients that train a model on their own labels.
        targets: clients that adapt.
    """

    federation: Federation
    settings: Mapping[str, Any]
    agreed: Mapping[str, Any]
    roots: Mapping[str, ClientRoot]
    source: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where the study writes."""
        return Path(self.federation.output_dir)

    @property
    def factory_federation(self) -> Federation:
        """The federated training of the factory, in a folder of its own."""
        return replace(self.federation, output_dir=str(self.folder / "factory"))

    @property
    def factory(self) -> Path:
        """The factory file that the federated run exports."""
        return self.factory_federation.export_path

    @property
    def adaptation(self) -> str:
        """The adaptation bundle's folder; by default it lies beside the factory's."""
        beside = Path(self.federation.bundle).parent / "adaptation"
        return os.path.abspath(self.settings.get("adaptation") or beside)

    @property
    def jobs(self) -> int:
        """Stages at a time."""
        return self.settings.get("jobs", 2)

    @property
    def baselines(self) -> bool:
        """Whether plain methods are trained beside the adaptation."""
        return self.settings.get("baselines", True)

    def section(self, name: str) -> dict[str, Any]:
        """Overrides of one kind of stage."""
        return dict(self.settings.get(name) or {})

    def place(self, client: str, stage: str) -> Path:
        """Folder of a client's stage."""
        return self.folder / "clients" / client / stage

    def is_scored(self, client: str) -> bool:
        """Whether the client has test volumes with labels."""
        return bool(self.roots[client].items("test", labelled=True))


def label_share(root: ClientRoot) -> float:
    """Fraction of the training images that carry a label."""
    return len(root.items("training", labelled=True)) / max(1, len(root.items("training")))


def plan_study(federation: Federation) -> Study:
    """Give each client its role.

    Raises:
        InputError: unknown or unusable settings, no labelled client, or a source that is none.
    """
    settings = dict(federation.study)
    faults = _setting_faults(settings)
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
    return Study(federation, settings, agreed_values(federation), roots, source, sources, targets)


def agreed_values(federation: Federation) -> dict[str, Any]:
    """What the adaptation must have in common with the factory, under the ids of the adaptation's config."""
    parser = ConfigParser(bundle_config(federation))
    agreed = {
        ours: parser.get_parsed_content(theirs) for theirs, ours in SHARED_IDS.items() if theirs in parser
    }
    labels = {} if federation.labels is None else {"labels": dict(federation.labels)}
    return {**agreed, **labels, "domains": list(federation.domains), "seed": federation.seed}


def _setting_faults(settings: Mapping[str, Any]) -> list[str]:
    faults = unknown("study: key", settings, list(KEYS))
    faults += [
        f"study: '{name}' must hold 'key: value' lines, found {settings[name]!r}"
        for name in SECTIONS
        if not isinstance(settings.get(name) or {}, dict)
    ]
    jobs, baselines = settings.get("jobs", 2), settings.get("baselines", True)
    if not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1:
        faults.append(f"study: 'jobs' must be a whole number from 1 up, found {jobs!r}")
    if not isinstance(baselines, bool):
        faults.append(f"study: 'baselines' must be true or false, found {baselines!r}")
    return faults
