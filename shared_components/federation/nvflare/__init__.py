"""The engine for clients on other machines, on NVIDIA FLARE, which is an extra: ``pip install -e ".[nvflare]"``.

A job holds all that server and sites run: this package, the bundle, and the federation without anybody's data. On the
server a controller runs the same coordinator as the local engine; each site's client is the same as there.
"""

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
