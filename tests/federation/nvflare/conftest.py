from __future__ import annotations

import pytest

from tests.federation.tiny import make_roots


@pytest.fixture(scope="session")
def roots(tmp_path_factory):
    return make_roots(tmp_path_factory.mktemp("data"))
