"""Where what the benchmarks run lies."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLES = REPOSITORY / "bundles"
SCRIPTS = REPOSITORY / "scripts"
