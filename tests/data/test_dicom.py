from __future__ import annotations

import numpy as np
import pytest

from shared_components.data.dicom import count_series


@pytest.mark.parametrize("series", [[], ["1.2.3.4"], ["1.2.3.4", "1.2.3.5", "1.2.3.6"]])
def test_series_are_counted_by_their_identifiers(tmp_path, save_dicom, series):
    (tmp_path / "study").mkdir()
    for uid in series:
        save_dicom(tmp_path / "study", np.ones((4, 5, 3)), np.eye(4), series=uid)
    assert count_series(tmp_path / "study") == len(series)
