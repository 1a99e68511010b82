"""Stages of a study that failed at a client, without which the others went on."""

from __future__ import annotations

from shared_components.report.html import Html, element, join, section, table
from shared_components.report.study import Study


def failed_section(study: Study) -> Html:
    """Clients, stages and causes; nothing where all stages are done."""
    failed = study.part("failed", [])
    if not failed:
        return Html("")
    rows = [[entry.get("client", ""), entry.get("stage", ""), entry.get("cause", "")] for entry in failed]
    waiting = study.part("waiting", [])
    missing = element("p", f"Not begun, since they need what failed: {', '.join(waiting)}.")
    return section(
        "Left out of this study",
        join([table(["Client", "Stage", "Why"], rows, numeric_from=3), *([missing] if waiting else [])]),
        note="The others' stages went on without them. Once the cause is mended, --resume makes up for them alone.",
    )
