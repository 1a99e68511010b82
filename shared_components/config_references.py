"""What a config value refers to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.bundle import ReferenceResolver
from monai.bundle.utils import ID_SEP_KEY


def references(value: Any) -> set[str]:
    """Top-level ids that a config value refers to."""
    return {top_id(found) for text in texts(value) for found in ReferenceResolver.match_refs_pattern(text)}


def top_id(key: Any) -> str:
    """The top-level id of a nested one; ``+`` of a merge left out."""
    return ReferenceResolver.normalize_id(str(key).lstrip("+")).split(ID_SEP_KEY)[0]


def texts(value: Any) -> list[str]:
    """Every string in nested mappings and lists, keys excluded."""
    if isinstance(value, Mapping):
        return [text for child in value.values() for text in texts(child)]
    if isinstance(value, list | tuple):
        return [text for child in value for text in texts(child)]
    return [value] if isinstance(value, str) else []
