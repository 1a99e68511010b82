"""What in a federation file is a program: expressions, macros and components, which run as configs are built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared_components.errors import shown

SECTIONS = ("overrides", "aggregator", "study")  # what joins the configs of bundles
AGGREGATORS = ("aggregator", "study: federated_source: aggregator")  # where one stands
OUR_AGGREGATORS = (
    r"shared_components\.federation\.(Fed(Avg|AvgM|Adam|BN|Median|Prox|SubAvg)"
    r"|TrimmedMean|NormBounded|MultiKrum|ServerAverage)"
)
COMPONENT = ("_target_", "_mode_", "_requires_")  # MONAI calls, debugs or imports what stands there


def programs(values: Mapping[str, Any]) -> list[str]:
    """Each place of a federation file's content that would run something, named; the project's own aggregators,
    which take numbers and names alone, are none.
    """
    return [found for section in SECTIONS for found in _within(values.get(section), section)]


def _within(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            name = re.split("::|#", str(key))[-1]
            ours = place in AGGREGATORS and isinstance(inner, str) and re.fullmatch(OUR_AGGREGATORS, inner)
            if name in COMPONENT and not ours:
                yield f"{place}: {key} {shown(inner)}"
            else:
                yield from _within(inner, f"{place}: {key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _within(inner, place)
    elif isinstance(value, str) and value.startswith(("$", "%")):
        yield f"{place} {shown(value)}"
