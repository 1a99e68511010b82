from __future__ import annotations

import pytest
import torch

from tests.examples.region_size import SizeGeneralisationLoss


@pytest.mark.parametrize(("logit", "expected"), [(0.0, 3 * (0.5 + 0.5)), (50.0, 3 * 2.0), (-50.0, 0.0)])
def test_size_by_hand(logit, expected):
    """A slice of background alone, of which half, all or nothing is predicted to be foreground."""
    scores = torch.tensor([0.0, logit])[None, :, None, None].expand(1, 2, 4, 4)
    terms = SizeGeneralisationLoss(classes=2, size=3.0).supervised(scores, {"label": torch.zeros(1, 1, 4, 4)})
    assert terms["size"].item() == pytest.approx(expected, abs=1e-6)
    assert {"dice", "focal"} < terms.keys()


def test_pixels_that_nobody_annotated_have_no_size():
    """Half of the slice is foreground, as the scores say; what these say of the rest does not matter."""
    label = torch.tensor([1.0, 1.0, -1.0, -1.0]).expand(1, 1, 4, 4)
    foreground = torch.tensor([50.0, 50.0, 3.0, -3.0]).expand(1, 1, 4, 4)
    scores = torch.cat([torch.zeros(1, 1, 4, 4), foreground], dim=1)
    terms = SizeGeneralisationLoss(classes=2).supervised(scores, {"label": label})
    assert terms["size"].item() == pytest.approx(0, abs=1e-6)
