"""A bundle's training workflow, built here and run by somebody else."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from monai.bundle import ConfigWorkflow

from shared_components.hyper_parameters import check_values, has_our_values


def build_workflow(
    bundle_root: str, config_files: Sequence[str], overrides: Mapping[str, Any]
) -> ConfigWorkflow:
    """The bundle's training workflow, initialised (which seeds) but not run.

    As with ``python -m monai.bundle run``, the bundle's folder joins Python's search path (it may hold modules).

    Raises:
        InputError: a hyper-parameter is not what it may be.
    """
    if bundle_root not in sys.path:
        sys.path.insert(1, bundle_root)
    with without_remarks():
        workflow = ConfigWorkflow(list(config_files), logging_file=False, workflow_type="train", **overrides)
    if has_our_values(workflow.parser.get()):
        check_values(workflow.parser.get())
    workflow.initialize()
    return workflow


@contextlib.contextmanager
def without_remarks() -> Iterator[None]:
    """Leave out what MONAI says of every bundle that it runs, here of configs that the user has chosen.

    That a config can run code (the README says so), that optional files are missing, and that logging is left alone.
    """
    log = logging.getLogger("monai.bundle.workflows")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="parsing config_file")
            yield
    finally:
        log.setLevel(level)
