"""Label maps of a client's labelled volumes, as its slices show them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from shared_components.data.slices import SliceDataset


def label_volumes(dataset: SliceDataset) -> Iterator[np.ndarray]:
    """Each labelled volume's label map, (slices, S, S), of the slices of which nothing is unknown."""
    for item in range(len(dataset.items)):
        places = [n for n, where in enumerate(dataset.index) if where.item == item]
        labels = [dataset[n]["label"][0] for n in places]
        known = [label for label in labels if bool((label >= 0).all())]
        if known:
            yield torch.stack(known).numpy()
