"""Trainings of the bundles that diverge: one line that says where, and what to lower; nothing is spoilt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from ignite.engine import Events
from monai.bundle import ConfigParser

from shared_components.errors import InputError
from tests.bundles.tiny import BUNDLES, LABELS, make_root, workflow


def handlers_of(file: Path) -> list[dict]:
    """The handlers that a config file gives to its trainer; none for one of another kind."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    train = content.get("train")
    return content.get("train::handlers") or (train if isinstance(train, dict) else {}).get("handlers", [])


TRAININGS = [
    pytest.param(file, id=f"{file.parents[1].name}-{file.stem}")
    for file in sorted(BUNDLES.glob("*/configs/*.yaml"))
    if handlers_of(file)
]


@pytest.mark.parametrize("file", TRAININGS)
def test_every_training_looks_at_its_losses_before_anything_is_written(file):
    handlers = handlers_of(file)
    names = [handler["_target_"].rsplit(".", 1)[-1] for handler in handlers]
    place = names.index("FiniteTraining")
    assert set(names[:place]) <= {"LossAverages"}
    parser = ConfigParser()
    parser.read_config([file.parent / name for name in ("common.yaml", "train.yaml", file.name)])
    lower = handlers[place]["lower"]
    assert lower and all(parser.get()[id] > 0 for id in lower)


def diverged(flow) -> str:
    with pytest.raises(RuntimeError) as caught:  # MONAI's wrapping
        flow.run()
    assert isinstance(caught.value.__cause__, InputError)
    return str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("bundle", "config", "rate", "message"),
    [
        ("factory", "train.yaml", "generator_lr", "lower generator_lr or discriminator_lr and start over"),
        ("adaptation", "pretrain.yaml", "learning_rate", "lower learning_rate and start over"),
        ("segmentation", "train.yaml", "learning_rate", "lower learning_rate or inner_rate and start over"),
    ],
)
def test_a_rate_that_is_far_too_high_is_named(clients, tmp_path, bundle, config, rate, message):
    roots, values = [str(clients / "north")], {}
    if bundle == "segmentation":
        roots += [str(make_root(tmp_path / name, name)) for name in ("t2", "pet")]
        values = {"domains": ["t1", "t2", "pet"], "labels": LABELS, "orientation": "RAS"}
    out = tmp_path / "out"
    flow = workflow(bundle, config, dataset_dir=roots, output_dir=out, **values, **{rate: 1e30})
    assert message in diverged(flow)
    assert list(out.glob("*.pt")) == []


def test_a_factory_that_diverges_keeps_its_last_good_files(clients, tmp_path):
    values = {"dataset_dir": clients / "north", "output_dir": tmp_path}
    workflow("factory", "train.yaml", max_epochs=1, **values).run()
    kept = {name: (tmp_path / name).read_bytes() for name in ("checkpoint.pt", "factory.pt", "metrics.csv")}
    flow = workflow("factory", "train.yaml", max_epochs=3, resume=True, **values)
    network = flow.parser.get_parsed_content("network")

    def spoil() -> None:
        with torch.no_grad():
            network.generator.constant.fill_(float("nan"))

    flow.parser.get_parsed_content("train::trainer").add_event_handler(Events.EPOCH_STARTED, spoil)
    assert diverged(flow).startswith("factory, update 3: the loss 'discriminator' is NaN or infinite")
    assert {name: (tmp_path / name).read_bytes() for name in kept} == kept
