"""The value of a pixel in a label that nobody looked at."""

UNKNOWN = -1
"""Losses, validation and scores leave such pixels out: they are unknown, not background."""
