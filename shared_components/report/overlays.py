"""Outlines of segmentations on their volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shared_components.report.figures import OUTLINES, REFERENCE, outlines_uri
from shared_components.report.html import Html, element, picture
from shared_components.report.planes import load_planes


def overlay(
    image: str | Path,
    reference: str | Path | None,
    predictions: Mapping[str, str | Path],
    labels: Sequence[int],
    caption: str,
) -> Html:
    """A figure of one case; arguments as for :func:`~shared_components.report.planes.load_planes`.

    Raises:
        InputError: a file is missing, unreadable or on another grid.
    """
    planes = load_planes(image, reference, predictions)
    uri = outlines_uri(planes.image, planes.reference, planes.predictions, labels, planes.aspect)
    return picture(uri, caption)


def legend(labels: Mapping[int, str], reference: bool) -> Html:
    """Which colour is which class, for outlines drawn in the order of ``labels``."""
    entries = [
        element("span", element("i", style=f"border-color: {OUTLINES[place % len(OUTLINES)]}"), name)
        for place, name in enumerate(labels.values())
    ]
    if reference:
        entries.append(
            element("span", element("i", style=f"border-color: {REFERENCE}"), "the experts' label")
        )
    return element("div", *entries, class_="legend")
