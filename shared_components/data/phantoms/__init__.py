"""Client data roots made by the project itself: heads out of a shipped real one, hearts and vessels."""

from __future__ import annotations

from shared_components.data.phantoms.heads import make_heads

__all__ = ["make_heads"]
