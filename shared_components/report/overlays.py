"""Segmentations drawn on their volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shared_components.report.case_volumes import Case, load_case
from shared_components.report.figures import OUTLINES, REFERENCE, outlines_uri
from shared_components.report.html import Html, element, picture
from shared_components.report.orthogonal import orthogonal_uri
from shared_components.report.planes import across_slices, orthogonal, telling_frames


def overlay(
    image: str | Path,
    reference: str | Path | None,
    predictions: Mapping[str, str | Path],
    labels: Sequence[int],
    caption: str,
    ignore: int | None = None,
) -> Html:
    """A figure of one case, planes in columns and methods in lines; of a time series its most telling frame.

    Arguments as for :func:`~shared_components.report.case_volumes.load_case`.

    Raises:
        InputError: a file is missing, unreadable or on another grid.
    """
    case = load_case(image, reference, predictions, ignore)
    return slices_figure(case, telling_frames(case)[0], labels, caption)


def slices_figure(case: Case, frame: int, labels: Sequence[int], caption: object = "") -> Html:
    """Planes through what is segmented, one beside the other."""
    planes = across_slices(case, frame)
    uri = outlines_uri(planes.image, planes.reference, planes.predictions, labels, planes.aspect)
    return picture(uri, caption, alternative="slices")


def orthogonal_figure(case: Case, frame: int, labels: Sequence[int], caption: object = "") -> Html:
    """The three orthogonal planes in which most is segmented."""
    return picture(orthogonal_uri(orthogonal(case, frame), labels), caption, alternative="orthogonal planes")


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
