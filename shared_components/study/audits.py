"""The audit of the factory at each client: what it gives away of the client's images, and how well it draws them.

It is computed where the images are. Of what it writes, the table of numbers alone may leave the client.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import Any

from monai.bundle import ConfigParser

from shared_components.federation.run_settings import bundle_config
from shared_components.study.released import AUDIT
from shared_components.study.stage import Stage
from shared_components.study.stage_parts import make_stage
from shared_components.study.study import Study

NAME = "audit"
AS_TRAINED = ("channels", "min_foreground", "slices_per_volume")
"""Ids that the audit has in common with the factory's training, beside those that all stages have."""


def audit_stages(study: Study) -> Iterator[Stage]:
    """One at each client, after the factory; it reads the client's images of every split."""
    parser = ConfigParser(bundle_config(study.federation))
    own = {id: parser.get_parsed_content(id) for id in AS_TRAINED if id in parser}
    own["ckpt_path"] = str(study.factory)
    for client, data in study.roots.items():
        reads = (str(study.factory), *data.paths(("test",)))
        bundle = os.path.abspath(study.federation.bundle)
        yield make_stage(study, client, NAME, ("audit.yaml",), own, reads=reads, bundle=bundle)


def audits(study: Study, done: Collection[str]) -> dict[str, Any]:
    """Client to its table of figures, from the study's folder; what ``study.json`` says about the audits.

    Args:
        study: which has run.
        done: keys of the stages that are.
    """
    files = {name: study.place(name, NAME) / AUDIT for name in study.roots if f"{name}/{NAME}" in done}
    return {name: str(file.relative_to(study.folder)) for name, file in files.items()}
