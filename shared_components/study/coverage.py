"""Which part of each client's images lies outside what the networks see of a slice, for a study's report."""

from __future__ import annotations

import os
from pathlib import Path

from shared_components.data.coverage import Reach, image_reach
from shared_components.data.volume_check import load_volume
from shared_components.federation.client_coverage import coverage_lines, frame_of
from shared_components.study.study import Study

LOOKED_AT = 8  # volumes of a client, evenly spaced


def study_coverage(study: Study) -> list[str]:
    """The lines that a federation's check prints, of a few training volumes of each client that is here."""
    frame = frame_of(study.federation)
    if frame is None:
        return []
    found: dict[str, dict[str, Reach]] = {}
    for client in filter(study.is_here, study.roots):
        data = study.roots[client]
        images = [(root.root, Path(item["image"])) for root in data.roots for item in root.items("training")]
        chosen = images[:: max(1, -(-len(images) // LOOKED_AT))]
        volumes = ((os.path.relpath(image, root), load_volume(image)[0]) for root, image in chosen)
        found[client] = {name: image_reach(volume, frame) for name, volume in volumes if volume is not None}
    return list(coverage_lines(found, frame))
