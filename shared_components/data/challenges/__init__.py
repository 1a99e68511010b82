"""Published challenge data as client data roots, one for every vendor, centre or site."""

from shared_components.data.challenges.mnms import prepare_mnms
from shared_components.data.challenges.scgm import prepare_scgm

__all__ = ["prepare_mnms", "prepare_scgm"]
