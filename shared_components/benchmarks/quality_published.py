"""The published adaptation as a row: its own source model, then intra-domain, inter-domain and cycle steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shared_components.benchmarks.quality_bench import Bench
from shared_components.federation.run_settings import bundle_config
from shared_components.study.stage import Stage
from shared_components.study.stage_parts import synthetic_root

NETWORK = "published_network.yaml"


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
