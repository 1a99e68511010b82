from __future__ import annotations

import numpy as np
import pytest

from shared_components.data.phantoms.cases import Case
from tests.examples.lesions import LEVELS, render


@pytest.mark.parametrize("domain", LEVELS)
def test_lesions_have_the_signal_of_their_scanner(domain):
    case = Case("lesions", domain, "training", index=0, seed=0, coarseness=2)
    image, label, _ = render(case)
    assert np.median(image[label == 1]) == pytest.approx(1000 * LEVELS[domain][1], rel=0.05)
    assert 0.001 < label.mean() < 0.05
    assert np.array_equal(image, render(case).image)
