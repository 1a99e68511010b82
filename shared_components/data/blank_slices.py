"""Slices of noise in place of a client's images, for trying a training before anything is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from monai.transforms import Compose
from torch import Tensor

from shared_components.data.dataset_json import dataset_head, write_dataset
from shared_components.data.slices import CACHES, SliceDataset
from shared_components.errors import InputError

DEPTH = 8  # slices of a volume


class BlankSlices(SliceDataset):
    """A :class:`SliceDataset` with the subjects, domains and labels that ``data`` names, whose files are not opened.

    All volumes are one slice of noise, repeated, so that a dataset of any size takes no memory. Every setting is
    checked as there.
    """

    def _opened(
        self, transform: Compose, size: int, cache: str, cache_dir: str | os.PathLike | None
    ) -> Mapping[int, Mapping[str, Tensor]]:
        if cache not in CACHES:
            raise InputError(f"cache: expected one of {', '.join(CACHES)}, found {cache!r}")
        noise = torch.rand((1, 1, size, size), generator=torch.Generator().manual_seed(0)) * 1.8 - 0.85
        volume = {"image": noise.expand(DEPTH, -1, -1, -1)}  # all above air
        label = {"label": torch.zeros((1, 1, size, size), dtype=torch.int16).expand(DEPTH, -1, -1, -1)}
        return {n: volume | (label if "label" in item else {}) for n, item in enumerate(self.items)}


def blank_root(
    folder: Path, domain: str, labels: Mapping[int, str], subjects: int = 4, labelled: bool = True
) -> str:
    """A client data root whose images are empty files, in place of one that is still to be drawn."""
    names = [f"s{number}" for number in range(2 * subjects)]
    kinds = {"image": "", "label": "_label"} if labelled else {"image": ""}
    items = [{kind: f"{name}{ending}.nii.gz" for kind, ending in kinds.items()} for name in names]
    head = dataset_head(domain, domain, "synthetic", labels)
    write_dataset(folder, head | {"training": items[:subjects], "validation": items[subjects:], "test": []})
    for file in (file for item in items for file in item.values()):
        (folder / file).touch()
    return str(folder)
