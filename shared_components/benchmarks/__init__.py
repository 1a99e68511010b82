"""Measurements behind ``scripts/benchmark.py``; they need a checkout, since they run its bundles and scripts."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLES = REPOSITORY / "bundles"
SCRIPTS = REPOSITORY / "scripts"
