"""Baselines of the adaptation bundle from its own configs: fine-tuning, histogram matching, translation."""

from __future__ import annotations

import torch

from shared_components.data.quantiles import quantiles_of, read_quantiles
from shared_components.records import read_table
from tests.bundles.tiny import different, tensors, workflow


def test_fine_tuning_starts_from_the_source_model(clients, source, tmp_path):
    values = {"dataset_dir": clients / "north", "source_model_path": source / "model.pt", "val_interval": 0}
    values |= {"output_dir": tmp_path, "ckpt_path": tmp_path / "model.pt", "max_epochs": 1}
    still = {"learning_rate": 0.0, "weight_decay": 0.0}
    workflow("adaptation", "pretrain.yaml", "fine_tuning.yaml", **values, **still).run()
    assert different(tensors(source / "model.pt"), tensors(tmp_path / "model.pt")) == []
    workflow("adaptation", "pretrain.yaml", "fine_tuning.yaml", **values).run()
    assert different(tensors(source / "model.pt"), tensors(tmp_path / "model.pt"))


def test_source_is_trained_with_the_quantiles_that_another_client_hands_out(clients, tmp_path):
    curve = tmp_path / "quantiles.csv"
    workflow(
        "adaptation", "quantiles.yaml", kind=None, dataset_dir=clients / "south", output_dir=tmp_path
    ).run()
    assert len(read_table(curve, "")) == 65 and {path.name for path in tmp_path.iterdir()} == {curve.name}
    values = {"dataset_dir": clients / "north", "output_dir": tmp_path / "out", "val_interval": 0}
    values |= {"ckpt_path": tmp_path / "model.pt", "quantiles_path": curve, "max_epochs": 1}
    plain = {"looks": "none", "geometric_augmentation": False}
    flow = workflow("adaptation", "pretrain.yaml", "histogram.yaml", **values, **plain)
    assert not flow.check_properties()
    trainer = flow.parser.get_parsed_content("train::trainer")
    image, _ = trainer.prepare_batch(next(iter(trainer.data_loader)), "cpu")
    found = quantiles_of(image, 65)
    assert torch.allclose(found.median(1).values, read_quantiles(curve).median().expand(len(image)), atol=0.1)
    flow.run()
    assert (tmp_path / "model.pt").is_file()


def test_translation_needs_nothing_synthetic(clients, source, tmp_path):
    values = {"dataset_dir": clients / "south", "source_dir": clients / "north", "output_dir": tmp_path}
    values |= {"source_model_path": source / "model.pt", "ckpt_path": tmp_path / "model.pt"}
    workflow(
        "adaptation", "train.yaml", "translation.yaml", **values, phases=[2, 2, 2], picture_every=1
    ).run()
    assert len(list((tmp_path / "pictures").glob("translation_*.png"))) == 3
    rows = read_table(tmp_path / "metrics.csv", "")
    assert [bool(rows[0][key]) for key in ("translator_adversarial", "translator_consistency")] == [
        True,
        True,
    ]
    assert float(rows[1]["segmentation"]) > 0 and float(rows[2]["self_training"]) > 0
    assert different(tensors(source / "model.pt"), tensors(tmp_path / "model.pt"))
