"""The whole flow: factory, source models, synthetic volumes, a model for each client, scores, report.

With ``generalisation`` it also trains one model for scanners that nobody has seen, on the synthetic volumes of
every domain alone: weights and synthetic volumes are all that leaves a site.

What a client does follows from the labels it has. A client of whose training images at least half carry labels is
a *source* (where there is none, each that has any; ``sources`` says otherwise): it trains a source model and, with the
factory, synthetic labelled volumes of every domain. The others adapt: each gets a model for its own images out of the
source model, the synthetic volumes and its own images, chosen among several; one with a few labels uses these too.

With two or more sources the source model is trained by federation among them (``source_model.py``), unless
``source`` names one of them. Each one's own stays for comparison. The source with the most labels draws the
synthetic volumes.

The federation file's ``study`` section, all optional::

    study:
      adaptation: bundles/adaptation   # the bundle; by default beside the factory's
      segmentation: bundles/segmentation   # the bundle of generalisation; by default beside the factory's
      sources: [north, west]           # clients that train a source model on their labels; the other ones adapt
      source: north                    # the client whose model and synthetic volumes the others use, alone
      federated_source:                # where several have labels; by default one round for each epoch of pretrain
        rounds: 16
        updates_per_round: 50
        aggregator: {_target_: shared_components.federation.FedAvg}   # FedBN: norms stay private
      publish: volumes                 # what the others get beside the source model; model: nothing, they draw
                                       # synthetic volumes themselves, with the factory
      jobs: 2                          # stages at a time
      baselines: true                  # other uses of the source model beside the adaptation, to compare it with
      choose: true                     # each client without labels gets the candidate that suits its images best
      candidates: [source_only, adaptation]   # among some of source_only, source_mild, source_model,
                                       # self_trained_near, self_trained_all, self_trained, adaptation; by default
                                       # all (under noise those of one federated source model alone); with
                                       # choose: false it gets the adaptation
      shapes: true                     # candidates must find shapes like those of labelled patients; false: these show
                                       # another organ
      matrix: true                     # every model segments every client's labelled test volumes
      audit: true                      # what the factory gives away of each client's images, and how well it draws
      joint: false                     # one more source model, of the labelled clients' images in one place
      overrides: {segmenter_channels: [16, 32, 64, 128]}   # of every stage whose config has them
      pretrain: {max_epochs: 16}       # overrides of one kind of stage
      synthesize: {volumes: 60}
      train: {}
      self_training: {}
      inference: {}
      generalisation: {max_epochs: 24} # overrides of the segmentation bundle's training; {} takes it as it is
      unseen: {D: data/D}              # name -> data root whose test volumes alone are used, to try the models; of
                                       # a site that takes part in nothing else: its name -> nothing

Image size, spacing, orientation and whatever else the stages must have in common with the factory is taken from
the factory's config with the federation's overrides; it needs no mention in ``study``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shared_components.federation.federation import Federation
from shared_components.federation.start import IN_STUDY
from shared_components.study.client_data import ClientData, SiteDescription
from shared_components.study.settings import ADAPTATION, CANDIDATES, FLAGS, OF_SOURCE, SOURCE, needed_variants

EVERYBODY = "all"  # whose stage it is when it is no client's
CHOICE = "choice"  # the stage at which a client without labels chooses its model
AUDIT_STAGE = "audit"


@dataclass(frozen=True)
class Study:
    """Settings of a study and its clients' roles.

    Attributes:
        federation: the federation, whose ``output_dir`` is the study's folder.
        settings: the ``study`` section.
        agreed: ids and values that every stage's config has in common with the factory's.
        roots: client name to its data.
        unseen: name of an unseen scanner to its data.
        source: the client whose model the unlabelled ones use; of several, the one with the most labels.
        sources: clients that train a model on their own labels.
        targets: clients that adapt.
    """

    federation: Federation
    settings: Mapping[str, Any]
    agreed: Mapping[str, Any]
    roots: Mapping[str, ClientData | SiteDescription]
    unseen: Mapping[str, ClientData | SiteDescription]
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
        return replace(self.federation, output_dir=str(self.folder / IN_STUDY), budgets=self.budgets)

    @property
    def budgets(self) -> str:
        """Folder of what each site has spent in all trainings together; nothing removes it."""
        return str(self.folder / "budgets")

    @property
    def factory(self) -> Path:
        """The factory file that the federated run exports."""
        return self.factory_federation.export_path

    @property
    def adaptation(self) -> str:
        """The adaptation bundle's folder; by default it lies beside the factory's."""
        return self._bundle("adaptation")

    @property
    def segmentation(self) -> str:
        """The segmentation bundle's folder; by default it lies beside the factory's."""
        return self._bundle("segmentation")

    def _bundle(self, name: str) -> str:
        return bundle_of(self.federation, name)

    @property
    def generalises(self) -> bool:
        """Whether a model for unseen scanners is trained."""
        return isinstance(self.settings.get("generalisation"), dict)

    @property
    def federates_source(self) -> bool:
        """Whether the source model is trained by several clients together."""
        return len(self.sources) > 1 and "source" not in self.settings

    @property
    def publishes_model(self) -> bool:
        """Whether clients draw synthetic volumes themselves, instead of getting those of the source."""
        return self.settings.get("publish") == "model"

    def flag(self, name: str) -> bool:
        """``baselines``, ``choose``, ``matrix``, ``audit`` or ``joint``."""
        return self.settings.get(name, FLAGS[name])

    @property
    def chooses(self) -> bool:
        """Whether clients without labels choose among several models."""
        return self.flag("choose") and bool(self.targets)

    @property
    def compares_shapes(self) -> bool:
        """Whether shapes of labelled patients speak for candidates."""
        return self.chooses and self.flag("shapes")

    @property
    def candidates(self) -> tuple[str, ...]:
        """What a client without labels trains or gets, of ``CANDIDATES``.

        By default all; where several clients train the source model under noise, those that need it alone: every
        further variant would cost their patients as much privacy again.
        """
        if not self.chooses:
            return (ADAPTATION,)
        privacy = self.federation.privacy
        dear = self.federates_source and privacy is not None and bool(privacy.noise)
        return tuple(self.settings.get("candidates") or (OF_SOURCE if dear else CANDIDATES))

    @property
    def needed_variants(self) -> list[str]:
        """Variants of the source model that clients without labels need, or that all of them get."""
        return needed_variants((*self.candidates, SOURCE))

    @property
    def own_model(self) -> str:
        """The stage that gives a client without labels the model that it is to use."""
        return CHOICE if self.chooses else ADAPTATION

    @property
    def jobs(self) -> int:
        """Stages at a time."""
        return self.settings.get("jobs", 2)

    @property
    def threads(self) -> int:
        """Torch's threads in each of them: as many as the federation's workers have, as far as there are cores."""
        cores = os.cpu_count() or 1
        return max(1, min(self.federation.threads_per_worker, cores // self.jobs))

    def jobs_taken(self, training: Federation) -> int:
        """How many stages' worth of threads a federated training keeps busy."""
        at_work = min(max(training.workers, 1), training.clients_per_round)
        return math.ceil(at_work * training.threads_per_worker / self.threads)

    def section(self, name: str) -> dict[str, Any]:
        """Overrides of one kind of stage."""
        return dict(self.settings.get(name) or {})

    def place(self, client: str, stage: str) -> Path:
        """Folder of a stage of a client, of an unseen scanner, or of everybody."""
        if client == EVERYBODY:
            return self.folder / stage
        return self.folder / ("unseen" if client in self.unseen else "clients") / client / stage

    def data(self, name: str) -> ClientData | SiteDescription:
        """The data of a client or of an unseen scanner."""
        return self.unseen[name] if name in self.unseen else self.roots[name]

    def role(self, name: str) -> str:
        """Of a client or an unseen scanner, in words."""
        if name in self.unseen:
            return "unseen"
        if name in self.sources:
            return "labelled"
        return "few labels" if self.has_few_labels(name) else "unlabelled"

    def has_few_labels(self, client: str) -> bool:
        """Whether a client that adapts has labels of its own to use."""
        return client in self.targets and bool(self.roots[client].items("training", labelled=True))

    def is_here(self, name: str) -> bool:
        """Whether the data of a client or unseen scanner are on this machine."""
        return isinstance(self.data(name), ClientData)

    def is_scored(self, name: str) -> bool:
        """Whether the client or unseen scanner has test volumes with labels."""
        return bool(self.data(name).items("test", labelled=True))


def bundle_of(federation: Federation, name: str) -> str:
    """The folder of a bundle that a study has beside the factory's: where its section says, or beside that one."""
    beside = Path(federation.bundle).parent / name
    return os.path.abspath(str(federation.study.get(name) or beside))
