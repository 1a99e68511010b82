"""Rows whose model several clients train together: the labelled ones, or all with pseudo-labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shared_components.benchmarks.quality_bench import PLAIN, Bench
from shared_components.benchmarks.runs import RUN, federation_stage
from shared_components.data.challenges.writing import Description, write_description
from shared_components.federation.federation import Federation
from shared_components.files import copy_file
from shared_components.inferers import read_case_list
from shared_components.study.settings import PREDICTIONS
from shared_components.study.source_model import source_federation
from shared_components.study.stage import Stage
from shared_components.study.study import EVERYBODY

AGGREGATORS: Mapping[str, Mapping[str, Any]] = {
    "fedavg": {"_target_": "shared_components.federation.FedAvg"},
    "fedprox": {"_target_": "shared_components.federation.FedProx"},
    "fedbn": {"_target_": "shared_components.federation.FedBN"},
}
BATCH_NORM = {"network_def::norm": "batch"}  # FedBN is about norms with weights of their own


def averaged(bench: Bench, client: str, name: str) -> Iterator[Stage]:
    """The labelled clients train the plain U-Net together; nothing where one client alone has labels.

    Where norms stay private, other clients get the source's.
    """
    study = bench.study
    if not study.federates_source:
        return
    network = BATCH_NORM if name == "fedbn" else {}
    federation = _federation(bench, name, dict(AGGREGATORS[name]), network)
    stage = federation_stage(EVERYBODY, name, federation, bench.folder(EVERYBODY, name))
    yield stage
    model = _exported(stage.folder, federation, study.source)
    yield bench.segmented(client, name, owner=EVERYBODY, own={**network, "ckpt_path": model})


def pseudo_labels(bench: Bench, client: str) -> Iterator[Stage]:
    """All clients train the plain U-Net together, those without labels on the plain source model's labels."""
    study, roots = bench.study, {}
    for name in study.targets:
        segmenting, labelled = _pseudo_labelled(bench, name)
        yield segmenting
        yield labelled
        roots[name] = labelled.folder
    federation = _federation(bench, "pseudo", dict(AGGREGATORS["fedavg"]), {}, roots)
    needs = tuple(f"{name}/pseudo_root" for name in roots)
    stage = federation_stage(EVERYBODY, "pseudo", federation, bench.folder(EVERYBODY, "pseudo"), needs)
    yield replace(stage, reads=tuple(root for root in stage.reads if Path(root) not in roots.values()))
    model = _exported(stage.folder, federation, client)
    yield bench.segmented(client, "pseudo", owner=EVERYBODY, own={"ckpt_path": model})


def _exported(folder: Path, federation: Federation, client: str) -> str:
    """What a federation's stage exports for a client."""
    return str(replace(federation, output_dir=str(folder / RUN)).client_export_path(client))


def _federation(
    bench: Bench,
    name: str,
    aggregator: dict[str, Any],
    network: Mapping[str, Any],
    roots: Mapping[str, Path] | None = None,
) -> Federation:
    """The study's federation of a source model, plain, with as many updates as an adaptation has in all.

    Args:
        bench: the study.
        name: of the row.
        aggregator: section of a federation file.
        network: values that shape the network.
        roots: further clients' data roots.
    """
    study, lengths, clients = bench.study, bench.lengths, bench.study.federation.clients
    taking_part = {client: clients[client] for client in study.sources}
    taking_part |= {
        client: replace(clients[client], data_roots=(str(root),)) for client, root in (roots or {}).items()
    }
    base = source_federation(study)
    return replace(
        base,
        name=f"{study.federation.name}, {name}",
        clients=taking_part,
        clients_per_round=len(taking_part),
        min_clients=len(taking_part),
        rounds=lengths.epochs(lengths.source + lengths.adaptation),
        updates_per_round=lengths.epoch,
        aggregator=aggregator,
        overrides={**base.overrides, **PLAIN, **network},
        workers=1,
    )


@dataclass(frozen=True)
class PseudoRoot(Stage):
    """A data root of a client's training images with segmentations in the place of labels.

    The overrides are what ``dataset.json`` says, and ``predictions``, the folder of the segmentations.
    """

    def work(self) -> None:
        cases, _ = read_case_list(self.overrides["predictions"])
        entries = [self._entry(case) for case in cases]
        labels = {int(value): name for value, name in self.overrides["labels"].items()}
        described = Description(self.client, self.overrides["domain"], "unknown", labels)
        write_description(self.folder, described, {"training": entries})

    def _entry(self, case: Mapping[str, str]) -> dict[str, str]:
        files = {"image": Path(case["image"]), "label": Path(case["segmentation"])}
        entry = {key: f"{key}s/{file.name}" for key, file in files.items()}
        for key, file in files.items():
            copy_file(file, self.folder / entry[key])
        return entry


def _pseudo_labelled(bench: Bench, client: str) -> tuple[Stage, PseudoRoot]:
    """Segment a client's training images with the plain source model, and make a data root of them."""
    study, weights = bench.study, bench.plain()
    own = {"split": "training", "ckpt_path": weights.path, **study.section("inference")}
    reads = (*study.roots[client].paths(("training",)), *weights.reads)
    name = f"pseudo_labels{PREDICTIONS}"
    segmenting = bench.stage(client, name, ("inference.yaml",), own, None, weights.needs, reads)
    values = {
        "predictions": str(segmenting.folder),
        "domain": study.roots[client].domains[0],
        "labels": {str(value): text for value, text in study.roots[client].labels.items()},
    }
    needs = (segmenting.key,)
    folder = bench.folder(client, "pseudo_root")
    return segmenting, PseudoRoot(client, "pseudo_root", study.adaptation, (), values, folder, needs)
