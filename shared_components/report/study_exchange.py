"""The section of a study's report that says what went from where to where, where sites have their own places."""

from __future__ import annotations

from shared_components.report.html import Html, section, table
from shared_components.report.study import Study


def exchange_section(study: Study) -> Html:
    """A line for each thing that has left a place; nothing at all for a study in one place."""
    rows = [
        [sent["origin"], sent["target"], sent["what"], _size(int(sent["size"]))]
        for sent in study.part("exchange", [])
    ]
    if not rows:
        return Html("")
    note = (
        "Everything that went between the sites and the server in this run, beside the rounds of the factory and the "
        "counts in “Clients and their data”; what a place had from an earlier run was not sent again. Scores leave a "
        "site without the names of its volumes. No image, label or segmentation of any client has left it."
    )
    return section("What was sent", table(["From", "To", "What", "Size"], rows, numeric_from=3), note=note)


def _size(number: int) -> str:
    return f"{number / 2**20:.1f} MB" if number >= 2**20 else f"{number / 2**10:.1f} kB"
