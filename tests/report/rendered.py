"""What a template's macro writes."""

from __future__ import annotations

from shared_components.report.pages import environment


def rendered(call: str, **values: object) -> str:
    """The markup of a call such as ``m.files(found)``; ``m`` are the macros of pages, ``s`` those of scores,
    ``c`` that of cases."""
    imports = '{% import "macros.html" as m %}{% import "scores.html" as s %}{% import "cases.html" as c %}'
    return environment().from_string(f"{imports}{{{{ {call} }}}}").render(values)
