"""Runs of a bundle as steps of a job, done again when what they would do has changed."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser

from shared_components.benchmarks.processes import REPOSITORY, Step

OVERRIDES = "overrides.yaml"


def bundle_step(
    bundle: str,
    configs: Sequence[str],
    values: Mapping[str, Any],
    paths: Mapping[str, Any],
    folder: Path,
    before: str,
) -> Step:
    """A process of ``python -m monai.bundle run``.

    Args:
        bundle: its folder, from the repository's root.
        configs: its config files, merged in this order.
        values: ids and values, merged last; with the configs they decide what the step does.
        paths: more of them, which do not.
        folder: its output folder.
        before: text that changes when what it reads does.
    """
    files = [f"{bundle}/configs/{name}" for name in configs]
    overrides = {**values, **paths, "output_dir": str(folder)}
    listed = ",".join(f"'{file}'" for file in [*files, str(folder / OVERRIDES)])
    command = (sys.executable, "-m", "monai.bundle", "run", "--config_file", f"[{listed}]")
    return Step(
        command=(*command, "--bundle_root", bundle, "--logging_file", "False"),
        folder=folder,
        fingerprint=fingerprint(merged_config(bundle, *configs), dict(values), before),
        files=((OVERRIDES, yaml.safe_dump(overrides, sort_keys=False)),),
    )


@functools.cache
def merged_config(bundle: str, *configs: str) -> dict[str, Any]:
    """What config files of a bundle say together; their comments do not count."""
    return ConfigParser.load_config_files([str(REPOSITORY / bundle / "configs" / name) for name in configs])


def fingerprint(*content: Any) -> str:
    """The same for equal content."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
