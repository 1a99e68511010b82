"""What clipping and noise promise, in words for a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NO_LOSSES = "Losses stayed at the clients, since what leaves them gets noise and losses would not."


def losses_stayed(settings: Mapping[str, Any] | None) -> bool:
    """Whether the section ``privacy`` of a federation file kept losses at the clients."""
    return bool(settings) and not settings.get("losses", True)


def epsilon_text(epsilon: float | None, parts: Mapping[str, float] | None = None) -> str:
    """A client's epsilon in a cell of a table, and what each of several trainings has spent of it.

    >>> epsilon_text(5.2, {"factory": 3.7, "source_model": 3.7})
    '5.2 (factory 3.7, source_model 3.7)'
    """
    if epsilon is None:
        return ""
    told = ", ".join(f"{name} {value:.3g}" for name, value in (parts or {}).items())
    return f"{epsilon:.3g} ({told})" if len(parts or {}) > 1 else f"{epsilon:.3g}"


def privacy_note(settings: Mapping[str, Any] | None) -> str:
    """What the section ``privacy`` of a federation file means for the updates of its clients."""
    if not settings:
        return "Updates were neither clipped nor given noise."
    clipped = f"Each update was clipped to a norm of {settings['clip']:g}"
    if not settings["noise"]:
        return f"{clipped} and given no noise, which promises no privacy."
    return (
        f"{clipped} and given noise of {settings['noise']:g} times that on every number. Epsilon is what all updates "
        f"of a client have spent, at delta {settings['delta']:g}, against any other data that it could have had; the "
        "smaller, the less they tell. It covers these updates alone."
    )
