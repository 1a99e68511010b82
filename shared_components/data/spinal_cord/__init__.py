"""Sixteen real volumes of the spinal cord from six hospitals, which the project ships, as client data roots."""

from shared_components.data.spinal_cord.roots import SITES, make_spinal_cord

__all__ = ["SITES", "make_spinal_cord"]
