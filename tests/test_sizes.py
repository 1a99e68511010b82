from __future__ import annotations

import pytest

from shared_components.sizes import size


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_800_000, "12.8 MB"), (3e14, "300 TB")],
)
def test_sizes_are_readable(count, text):
    assert size(count) == text
