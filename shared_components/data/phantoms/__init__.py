"""Client data roots made by the project itself: heads out of a shipped real one, hearts and vessels."""

from __future__ import annotations

from shared_components.data.phantoms.cardiac import make_cardiac
from shared_components.data.phantoms.heads import make_heads
from shared_components.data.phantoms.vessels import make_vessels

__all__ = ["make_cardiac", "make_heads", "make_vessels"]
