"""What can be found of a file's section ``study`` before any client's data are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from monai.bundle import ConfigParser

from shared_components.errors import closest, shown
from shared_components.federation.federation import Federation
from shared_components.study.roles import unseen_faults
from shared_components.study.settings import setting_faults, synthesis_faults
from shared_components.study.stage import merged_config, override_faults
from shared_components.study.study import bundle_of

CONFIGS = {  # section: bundle and config files of each kind of stage that it overrides, beside common.yaml
    "pretrain": (("adaptation", "pretrain.yaml"),),
    "synthesize": (("adaptation", "synthesize.yaml"),),
    "train": (("adaptation", "train.yaml"),),
    "self_training": (("adaptation", "train.yaml", "self_training.yaml"),),
    "inference": (
        ("adaptation", "inference.yaml", "evaluate.yaml"),
        ("segmentation", "inference.yaml", "evaluate.yaml"),
    ),
    "generalisation": (("segmentation", "train.yaml"),),
}


def section_faults(federation: Federation) -> list[str]:
    """A line for each value, id and name of the section that cannot be used, whatever the clients have."""
    if not federation.study:
        return []
    return [
        *setting_faults(federation.study),
        *_source_faults(federation),
        *synthesis_faults(federation.study, federation.domains),
        *_override_faults(federation),
        *unseen_faults(federation),
    ]


def _source_faults(federation: Federation) -> Iterator[str]:
    """Names of no client; whether a client has labels is found with its data."""
    several = federation.study.get("sources")
    named = {"source": [federation.study.get("source")], "sources": several}
    for key, names in named.items():
        for name in names if isinstance(names, list) else ():
            if isinstance(name, str) and name not in federation.clients:
                yield f"study: {key}: client {shown(name)} is unknown{closest(name, federation.clients)}"


def _override_faults(federation: Federation) -> Iterator[str]:
    """Ids that no stage can have; a bundle that is missing is told when it is needed."""
    for section, kinds in CONFIGS.items():
        keys = federation.study.get(section)
        if isinstance(keys, dict) and keys:
            yield from override_faults(section, keys, [*_parsers(federation, kinds)])


def _parsers(federation: Federation, kinds: tuple[tuple[str, ...], ...]) -> Iterator[ConfigParser]:
    for bundle, *configs in kinds:
        folder = Path(bundle_of(federation, bundle), "configs")
        files = [str(folder / name) for name in ("common.yaml", *configs)]
        if all(map(os.path.isfile, files)):
            yield merged_config(tuple(files))
