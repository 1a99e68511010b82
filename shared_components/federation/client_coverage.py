"""Which part of each client's images lies outside what the networks see of a slice."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from monai.bundle import ConfigParser

from shared_components.data.coverage import Frame, Reach, coverage, image_reach, proposal
from shared_components.data.volume_check import load_volume
from shared_components.federation.federation import Federation
from shared_components.federation.run_folder import bundle_config

if TYPE_CHECKING:
    from shared_components.federation.study import Study

_LOOKED_AT = 8  # volumes of a client that a report looks at, evenly spaced


def frame_of(federation: Federation) -> Frame | None:
    """What the bundle sees of a slice, with the federation's overrides; None for a bundle that does not say."""
    parser = ConfigParser(bundle_config(federation))
    if any(name not in parser for name in ("image_size", "spacing")):
        return None
    orientation = parser.get_parsed_content("orientation") if "orientation" in parser else "RAS"
    return Frame(parser.get_parsed_content("image_size"), parser.get_parsed_content("spacing"), orientation)


def coverage_lines(reaches: Mapping[str, Mapping[str, Reach]], frame: Frame) -> Iterator[str]:
    """A line for each client, and one with values that would do better, if any.

    Args:
        reaches: client to its images' names and reaches; clients without any are passed over.
        frame: what the networks see.
    """
    measured = {client: images for client, images in reaches.items() if images}
    for client, images in measured.items():
        yield f"{client}: {coverage(images, frame)}"
    if not measured:
        return
    better = proposal([reach for images in measured.values() for reach in images.values()], frame)
    if better:
        yield f"to take in nearly all of every image: overrides: {better}; leave it if the organ lies well inside"


def study_coverage(study: Study) -> list[str]:
    """The same lines for a study's report, of a few training volumes of each client."""
    frame = frame_of(study.federation)
    if frame is None:
        return []
    found: dict[str, dict[str, Reach]] = {}
    for client, data in study.roots.items():
        images = [(root.root, Path(item["image"])) for root in data.roots for item in root.items("training")]
        chosen = images[:: max(1, -(-len(images) // _LOOKED_AT))]
        volumes = ((os.path.relpath(image, root), load_volume(image)[0]) for root, image in chosen)
        found[client] = {name: image_reach(volume, frame) for name, volume in volumes if volume is not None}
    return list(coverage_lines(found, frame))
