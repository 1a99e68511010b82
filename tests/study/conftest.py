from __future__ import annotations

from tests.federation.conftest import roots, values

__all__ = ["roots", "values"]
