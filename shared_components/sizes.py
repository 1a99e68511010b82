"""Bytes as people read them."""

from __future__ import annotations

UNITS = ("B", "kB", "MB", "GB", "TB")


def size(count: int) -> str:
    """Bytes as people read them: ``512 B``, ``3.2 MB``."""
    value, place = float(count), 0
    while value >= 999.5 and place < len(UNITS) - 1:
        value, place = value / 1000, place + 1
    return f"{value:.1f} {UNITS[place]}" if place and value < 99.95 else f"{value:.0f} {UNITS[place]}"
