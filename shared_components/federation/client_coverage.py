"""Which part of each client's images lies outside what the networks see of a slice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from monai.bundle import ConfigParser

from shared_components.data.coverage import Frame, Reach, coverage, proposal
from shared_components.federation.federation import Federation
from shared_components.federation.run_settings import bundle_config


def frame_of(federation: Federation) -> Frame | None:
    """What the bundle sees of a slice, with the federation's overrides; None for a bundle that does not say."""
    return frame_in(ConfigParser(bundle_config(federation)))


def frame_in(parser: ConfigParser) -> Frame | None:
    """What a bundle with that config sees of a slice; None if it does not say."""
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
