from __future__ import annotations

import numpy as np
import torch

from shared_components.inferers import KeepLargestd, keep_largest


def test_only_the_largest_part_of_the_named_labels_is_kept():
    labels = np.zeros((8, 8, 3), np.uint8)
    labels[0:3, 0:3] = 1
    labels[6, 6] = 1
    labels[3, 3, 2] = 1  # touches the large part by a corner
    labels[0, 6] = labels[7, 0] = 2
    kept = keep_largest(labels, [1, 5])
    assert kept[6, 6].max() == 0
    assert kept[3, 3, 2] == 1
    assert (kept == 1).sum() == 28
    assert (kept == 2).sum() == (labels == 2).sum()
    assert labels[6, 6].min() == 1
    transformed = KeepLargestd("pred", [1])({"pred": torch.from_numpy(labels)[None].float()})["pred"]
    assert np.array_equal(transformed[0].numpy(), kept)
