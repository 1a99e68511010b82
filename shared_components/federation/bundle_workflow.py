"""A bundle's training workflow, built here and run by somebody else."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from monai.bundle import ConfigWorkflow


def build_workflow(
    bundle_root: str, config_files: Sequence[str], overrides: Mapping[str, Any]
) -> ConfigWorkflow:
    """The bundle's training workflow, initialised (which seeds) but not run.

    As with ``python -m monai.bundle run``, the bundle's folder joins Python's search path (it may hold modules).
    """
    if bundle_root not in sys.path:
        sys.path.insert(1, bundle_root)
    log = logging.getLogger("monai.bundle.workflows")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of each missing optional file and that logging is left alone
    try:
        workflow = ConfigWorkflow(list(config_files), logging_file=False, workflow_type="train", **overrides)
    finally:
        log.setLevel(level)
    workflow.initialize()
    return workflow
