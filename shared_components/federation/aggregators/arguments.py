"""Checks of an aggregator's arguments, which stand in a federation file."""

from __future__ import annotations

from typing import Any

from shared_components.errors import InputError
from shared_components.value_rules import Rule


def check(rule: Rule, name: str, value: Any) -> None:
    """Refuse a value that the rule does not allow.

    Raises:
        InputError: one line with the argument, what was expected and what was found.
    """
    fault = rule.fault(name, value)
    if fault:
        raise InputError(f"aggregator: {fault}")
