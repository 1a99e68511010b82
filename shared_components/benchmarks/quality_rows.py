"""Rows of a quality table that are no candidates of the study: other methods and bounds, each a run of a bundle's
config in the study's folder, with as many updates of the segmenter as the study's adaptation has in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from shared_components.benchmarks.quality_bench import PLAIN, Bench
from shared_components.benchmarks.quality_federated import averaged, pseudo_labels
from shared_components.federation.bundle_workflow import bundle_config
from shared_components.study.settings import PREDICTIONS
from shared_components.study.source_model import source_weights
from shared_components.study.stage import Stage, synthetic_root

NETWORK = "published_network.yaml"
Build = Callable[[Bench, str], Iterator[Stage]]
LOOKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {  # of rows that are trained on labelled images alone
    "plain": ("no varied intensities", {}),
    "mild": ("mild looks", {"looks": "mild"}),
    "strong": ("strong looks", {"looks": "strong"}),
    "convolutions": ("random convolutions", {"convolution_probability": 0.5}),
}


def published(bench: Bench, client: str) -> Iterator[Stage]:
    """The source's stage, which all clients share, the client's, and its segmentations.

    As many updates as the study's source model and adaptation have; labelled synthetic volumes are the source.
    """
    study, lengths = bench.study, bench.lengths
    source, domains = study.source, {name: data.domains[0] for name, data in study.roots.items()}
    factory = str(study.factory)
    shared = {
        "factory_path": factory,
        "source_domain": domains[source],
        "injection_resolutions": [2 * _base(bench)],
    }
    own: dict[str, Any] = {**shared, "quiet": True, "max_epochs": lengths.epochs(lengths.source)}
    own |= {"val_interval": 0, "ckpt_path": bench.model(source, "published_source")}
    configs = ("pretrain.yaml", NETWORK, "published_pretrain.yaml")
    yield bench.stage(source, "published_source", configs, own, reads=(factory,))
    own = {**shared, "quiet": True, "max_epochs": lengths.epochs(lengths.adaptation)}
    own |= {
        "target_domain": domains[client],
        "source_model_path": bench.model(source, "published_source"),
        "source_dir": synthetic_root(study, domains[source]),
        "ckpt_path": bench.model(client, "published"),
    }
    needs = (f"{source}/published_source", f"{source}/synthetic")
    configs = ("train.yaml", NETWORK, "published.yaml")
    yield bench.stage(client, "published", configs, own, needs=needs, reads=(factory,))
    own = {**shared, "target_domain": domains[client]}
    yield bench.segmented(client, "published", configs=(NETWORK, "published_inference.yaml"), own=own)


def _base(bench: Bench) -> int:
    """Pixels at the generator's lowest resolution; content is injected at twice that, as the bundle does it."""
    config = bundle_config(bench.study.federation)
    return int(config["image_size"]) // 2 ** (len(config["channels"]) - 1)


@dataclass(frozen=True)
class QualityRow:
    """A method.

    Attributes:
        name: in the table.
        build: yields the stages of one client, none where its data do not allow the row.
    """

    name: str
    build: Build


def row_stages(bench: Bench, keys: Sequence[str]) -> list[Stage]:
    """The stages of some rows at every client that adapts and can be scored."""
    targets = [name for name in bench.study.targets if bench.study.is_scored(name)]
    built = (stage for key in keys for client in targets for stage in ROWS[key].build(bench, client))
    return list({stage.key: stage for stage in built}.values())  # some rows train one model for all clients


def _longer(bench: Bench, client: str, name: str, looks: Mapping[str, Any]) -> Iterator[Stage]:
    """The labelled client's model as it is, trained once for all; of several labelled clients there is ``fedavg``."""
    study, lengths = bench.study, bench.lengths
    if not study.federates_source:
        own = {
            **study.section("pretrain"),
            **PLAIN,
            **looks,
            "max_epochs": lengths.epochs(lengths.source + lengths.adaptation),
            "ckpt_path": bench.model(study.source, name),
        }
        yield bench.stage(study.source, name, ("pretrain.yaml",), own)
        yield bench.segmented(client, name, owner=study.source)


def _supervised(bench: Bench, client: str) -> Iterator[Stage]:
    """From scratch on the client's own labels; in several parts where one volume's labels are another's test."""
    lengths = bench.lengths
    for number, root in enumerate(bench.roots(bench.scenario.supervised, client), 1):
        name = f"supervised-{number}"
        own = {
            **bench.study.section("pretrain"),
            **PLAIN,
            "max_epochs": lengths.epochs(lengths.source + lengths.adaptation),
            "ckpt_path": bench.model(client, name),
        }
        yield bench.stage(client, name, ("pretrain.yaml",), own, root)
        yield bench.segmented(client, name, root=root)


def _fine_tuned(bench: Bench, client: str) -> Iterator[Stage]:
    """The plain source model, trained on with the few labels alone."""
    lengths, weights = bench.lengths, bench.plain()
    for root in bench.roots(bench.scenario.few, client):
        own = {
            **bench.study.section("pretrain"),
            **PLAIN,
            "learning_rate": 1.0e-3,  # as of the adaptation, whatever the source model had
            "max_epochs": lengths.epochs(lengths.adaptation),
            "source_model_path": weights.path,
            "ckpt_path": bench.model(client, "few"),
        }
        configs = ("pretrain.yaml", "fine_tuning.yaml")
        yield bench.stage(client, "few", configs, own, root, weights.needs, weights.reads)
        yield bench.segmented(client, "few")


def _few_adapted(bench: Bench, client: str) -> Iterator[Stage]:
    """The study's adaptation with the few labels beside; nothing where it is none of the study's candidates."""
    stage, name = bench.study_stages.get(f"{client}/adaptation"), "few_adaptation"
    for root in bench.roots(bench.scenario.few, client) if stage else ():
        own = {"dataset_dir": str(root), "own_labels": True, "ckpt_path": bench.model(client, name)}
        yield replace(
            stage,
            name=name,
            overrides={**stage.overrides, **own},
            folder=bench.folder(client, name),
            reads=(*stage.reads, str(root)),
        )
        yield bench.segmented(client, name)


def _histogram(bench: Bench, client: str) -> Iterator[Stage]:
    """The plain U-Net on the labelled client's slices, whose intensities are sent to the client's mean quantiles."""
    lengths, source = bench.lengths, bench.study.source
    curve, trained = f"quantiles_{client}", f"histogram_{client}"
    values = {"quantiles_path": str(bench.folder(client, curve) / "quantiles.csv")}
    yield bench.stage(client, curve, ("quantiles.yaml",), values)
    own = {
        **bench.study.section("pretrain"),
        **PLAIN,
        **values,
        "max_epochs": lengths.epochs(lengths.source + lengths.adaptation),
        "ckpt_path": bench.model(source, trained),
    }
    needs = (f"{client}/{curve}",)
    yield bench.stage(source, trained, ("pretrain.yaml", "histogram.yaml"), own, needs=needs)
    yield replace(
        bench.segmented(client, trained, owner=source),
        name=f"histogram{PREDICTIONS}",
        folder=bench.folder(client, f"histogram{PREDICTIONS}"),
    )


def _translation(bench: Bench, client: str, name: str, self_training: bool) -> Iterator[Stage]:
    """Real labelled slices, which the benchmark alone may bring to the client, translated to its look."""
    study, lengths, weights = bench.study, bench.lengths, source_weights(bench.study)
    data = study.roots[study.source]
    phases = [lengths.segmentation, lengths.self_training] if self_training else [lengths.adaptation, 0]
    own = {
        "source_model_path": weights.path,
        "quiet": True,
        **study.section("train"),
        "source_dir": data.dataset_dir,
        "phases": [lengths.translation or round(lengths.segmentation / 3), *phases],
        "ckpt_path": bench.model(client, name),
    }
    reads = (*weights.reads, *data.folders)
    yield bench.stage(client, name, ("train.yaml", "translation.yaml"), own, None, weights.needs, reads)
    yield bench.segmented(client, name)


def _translation_alone(bench: Bench, client: str) -> Iterator[Stage]:
    yield from _translation(bench, client, "translation", self_training=False)


def _translation_self_trained(bench: Bench, client: str) -> Iterator[Stage]:
    yield from _translation(bench, client, "translation_self_trained", self_training=True)


ROWS = {
    **{
        key: QualityRow(f"source U-Net, {text}, as many updates", partial(_longer, name=key, looks=looks))
        for key, (text, looks) in LOOKS.items()
    },
    "histogram": QualityRow("histogram-matched source", _histogram),
    "translation": QualityRow("adversarial translation of raw source, no factory", _translation_alone),
    "translation_self_trained": QualityRow(
        "adversarial translation of raw source, no factory, self-trained", _translation_self_trained
    ),
    "pseudo": QualityRow("federated pseudo-labels", pseudo_labels),
    "fedavg": QualityRow("FedAvg among the labelled clients", partial(averaged, name="fedavg")),
    "fedprox": QualityRow("FedProx among the labelled clients", partial(averaged, name="fedprox")),
    "fedbn": QualityRow("FedBN among the labelled clients", partial(averaged, name="fedbn")),
    "published": QualityRow("published adaptation (RobustMedSeg)", published),
    "few": QualityRow("U-Net fine-tuned on few labelled slices", _fine_tuned),
    "few_adaptation": QualityRow("adaptation with few labelled slices", _few_adapted),
    "supervised": QualityRow("U-Net on all of the target's labels (bound)", _supervised),
}


def row_tables(folder: Path) -> Iterator[tuple[str, Path]]:
    """Key of a row and a table of scores, of all that are in a client's folder of rows."""
    for key in ROWS:
        parts = (*folder.glob(f"{key}{PREDICTIONS}"), *sorted(folder.glob(f"{key}-*{PREDICTIONS}")))
        yield from ((key, part / "scores.csv") for part in parts)
