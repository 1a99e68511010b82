"""Client data roots, volumes, slices and batches."""

from shared_components.data.check import check_client_root
from shared_components.data.client_root import ClientRoot
from shared_components.data.datalists import datalist, make_datalist
from shared_components.data.faults import Fault
from shared_components.data.samplers import SliceBatches, slice_loader
from shared_components.data.slices import SliceDataset
from shared_components.data.volumes import volume_transforms

__all__ = [
    "ClientRoot",
    "Fault",
    "SliceBatches",
    "SliceDataset",
    "check_client_root",
    "datalist",
    "make_datalist",
    "slice_loader",
    "volume_transforms",
]
