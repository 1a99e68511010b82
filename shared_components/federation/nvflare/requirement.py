"""NVFlare is an extra: who lacks it is told what to install."""

from __future__ import annotations

import importlib.util

from shared_components.errors import InputError

INSTALL = 'pip install -e ".[nvflare]"'


def require_nvflare() -> None:
    """Make sure that NVFlare is there, without importing it.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec("nvflare") is None:
        raise InputError(f"engine nvflare: NVFlare is not installed; {INSTALL}, or use engine: local")
