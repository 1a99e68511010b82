"""Label maps of a client's labelled volumes, as its slices show them."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from shared_components.choice.shapes import Known
from shared_components.data.slices import SliceDataset


def label_volumes(dataset: SliceDataset) -> Iterator[Known]:
    """Each labelled volume's label map, of the slices of which nothing is unknown; none of a volume without such."""
    for item in range(len(dataset.items)):
        places = [n for n, where in enumerate(dataset.index) if where.item == item]
        labels = {dataset.index[n].slice: dataset[n]["label"][0] for n in places}
        known = {place: label for place, label in labels.items() if bool((label >= 0).all())}
        if known:
            stack = torch.stack([*known.values()]).numpy()
            yield Known(stack, None if len(known) == len(labels) else [*known])
