from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shared_components.packaging import Package, build_package
from shared_components.packaging.package import REPO
from tests.bundles.tiny import make_root
from tests.packaging.small import DOMAINS, NAMES, settings, write_model


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, Path]:
    """For each bundle a file of weights."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)  # a session's fixtures are made before the tests' own seed is set
    return {name: write_model(name, folder / f"{name}.pt") for name in NAMES}


@pytest.fixture(scope="session")
def packages(models, tmp_path_factory) -> dict[str, Package]:
    """A package of each bundle, all in one folder."""
    folder = tmp_path_factory.mktemp("packages")
    return {
        name: build_package(name, models[name], folder, settings(name), "noise", development=True)
        for name in NAMES
    }


@pytest.fixture(scope="session")
def trained(packages, tmp_path_factory) -> dict[str, Package]:
    """Packages of trained weights: the demo's of a bundle that has one."""
    folder = tmp_path_factory.mktemp("trained")
    demos = [name for name in NAMES if (REPO / "bundles" / name / "models" / "demo.pt").is_file()]
    return packages | {name: build_package(name, None, folder, development=True) for name in demos}


@pytest.fixture(scope="session")
def roots(tmp_path_factory) -> dict[str, Path]:
    """Labelled data roots of two domains with the same subjects."""
    folder = tmp_path_factory.mktemp("roots")
    return {domain: make_root(folder / domain, domain, seed=1) for domain in DOMAINS}
