"""Measurements behind ``scripts/benchmark.py``; they need a checkout, since they run its bundles and scripts."""
