from __future__ import annotations

from pathlib import Path

import pytest

from tests.bundles.tiny import make_root, workflow


@pytest.fixture(scope="session")
def clients(tmp_path_factory) -> Path:
    """A folder with the data roots of a labelled client, ``north`` (t1), and an unlabelled one, ``south`` (t2)."""
    folder = tmp_path_factory.mktemp("clients")
    make_root(folder / "north", "t1", seed=1)
    make_root(folder / "south", "t2", labelled=False, seed=2)
    return folder


@pytest.fixture(scope="session")
def factory(clients, tmp_path_factory) -> Path:
    """The run folder of a factory that both clients' images trained for two epochs; its file is factory.pt."""
    folder = tmp_path_factory.mktemp("factory")
    roots = [str(clients / "north"), str(clients / "south")]
    workflow("factory", "train.yaml", dataset_dir=roots, output_dir=folder, picture_every=1).run()
    return folder


@pytest.fixture(scope="session")
def source(clients, tmp_path_factory) -> Path:
    """The run folder of a source model, trained for two epochs on the labelled client; its file is model.pt."""
    folder = tmp_path_factory.mktemp("source")
    workflow(
        "adaptation", "pretrain.yaml", dataset_dir=clients / "north", output_dir=folder, max_epochs=2,
        ckpt_path=folder / "model.pt", val_interval=2,
    ).run()  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def synthetic(factory, source, tmp_path_factory) -> Path:
    """A folder with one synthetic client data root per domain, twins of each other."""
    folder = tmp_path_factory.mktemp("synthetic")
    workflow(
        "adaptation", "synthesize.yaml", kind=None, factory_path=factory / "factory.pt",
        source_model_path=source / "model.pt", output_dir=folder, progress=False,
    ).run()  # fmt: skip
    return folder
