from __future__ import annotations

import pytest

from tests.data.challenges.layouts import write_mnms, write_scgm


@pytest.fixture
def mnms_folder(tmp_path):
    return write_mnms(tmp_path / "OpenDataset")


@pytest.fixture
def scgm_folder(tmp_path):
    return write_scgm(tmp_path / "scgm")
