from __future__ import annotations

import pytest

from shared_components.federation import federation_file
from tests.federation.tiny import TINY_BUNDLE, file_values, make_roots


@pytest.fixture(scope="session")
def roots(tmp_path_factory):
    return make_roots(tmp_path_factory.mktemp("data"))


@pytest.fixture
def values(roots, tmp_path, monkeypatch):
    """Of a federation of the tests' own bundle, which ``check`` trusts as it does the project's."""
    monkeypatch.setattr(federation_file, "BUNDLES", TINY_BUNDLE.parent)
    return file_values(roots, tmp_path / "run")
