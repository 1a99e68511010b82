"""Bundles as model-zoo packages: self-contained, reproducible, checked."""

from __future__ import annotations

from shared_components.packaging.package import Package, build_package

__all__ = ["Package", "build_package"]
