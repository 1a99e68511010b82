"""Decoded volumes on disk, of which a damaged one is decoded again."""

from __future__ import annotations

import warnings
from copy import deepcopy
from typing import Any

from monai.data import PersistentDataset
from monai.data.utils import pickle_hashing

from shared_components.errors import InputError
from shared_components.files import load_tensors, save_tensors


class VolumeCache(PersistentDataset):
    """MONAI's ``PersistentDataset`` of dicts of tensors, whose files carry a checksum and are whole or absent.

    Args:
        data: what ``transform`` makes a volume of; its hash and the transform's name the file.
        transform: deterministic, from an item to a dict of tensors.
        cache_dir: folder of the files.
    """

    def __init__(self, data: list[dict[str, Any]], transform: Any, cache_dir: Any) -> None:
        super().__init__(data, transform, cache_dir, hash_transform=pickle_hashing)

    def _cachecheck(self, item_transformed: dict[str, Any]) -> dict[str, Any]:
        name = self.hash_func(item_transformed).decode() + self.transform_hash
        file = self.cache_dir / f"{name}.pt"
        if file.is_file():
            try:
                return load_tensors(file)
            except InputError as error:
                warnings.warn(f"{error}; it is decoded again", stacklevel=2)
        volume = self._pre_transform(deepcopy(item_transformed))
        save_tensors(file, volume)
        return volume
