"""Versions of what a run's numbers depend on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import shared_components

PACKAGES = ("monai", "torch", "pytorch-ignite", "numpy", "nibabel", "itk")


def versions() -> dict[str, str]:
    """Name to version, of this program, Python, the packages and the machine."""
    found = {"fedfoundry": shared_components.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return {**found, "platform": platform.platform()}


def version_changes(before: Mapping[str, object], now: Mapping[str, str]) -> list[str]:
    """Which versions are others, but for the machine's; ``torch 2.7.0 -> 2.8.0``."""
    names = [name for name in now if name != "platform" and name in before]
    return [f"{name} {before[name]} -> {now[name]}" for name in names if before[name] != now[name]]


def begun_with(before: Mapping[str, object]) -> str:
    """What to do first about a run that another version of this program began, for the middle of a message.

    Args:
        before: the :func:`versions` of when it began.
    Returns:
        Nothing where it was this version.
    """
    begun, now = before.get("fedfoundry", "an unknown version"), shared_components.__version__
    if begun == now:
        return ""
    return f"it was begun with fedfoundry {begun}, and this is {now}: go on with that version, or "
