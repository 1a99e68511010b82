"""Choosing among models from the adaptation bundle's own configs: what a labelled client tells, and what is chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from shared_components.choice import write_shapes
from shared_components.choice.client_choice import looked_at
from shared_components.choice.criteria import opinion
from shared_components.choice.shapes import Known
from shared_components.errors import cause
from shared_components.files import load_tensors
from shared_components.networks.weights import export_model, with_weights
from shared_components.records import read_record, read_table
from tests.bundles.tiny import workflow


@pytest.fixture
def shapes(clients, tmp_path) -> Path:
    """What ``north`` tells of its labels."""
    flow = workflow(
        "adaptation", "shapes.yaml", dataset_dir=clients / "north", output_dir=tmp_path / "shapes"
    )
    flow.initialize()
    flow.run()
    return tmp_path / "shapes" / "shapes.json"


def spoilt(model: Path, to: Path) -> Path:
    """The same network, which finds class 1 everywhere."""
    content = load_tensors(model)
    flow = workflow("adaptation", "choose.yaml")
    network = flow.parser.get_parsed_content("network_def")
    network.load_state_dict(content["model"])
    with torch.no_grad():
        last = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)][-1]
        last.bias.copy_(torch.tensor([-100.0, 100.0]))
    return export_model(network, to)


def choose(clients: Path, output_dir: Path, candidates: dict, shapes: Path) -> Path:
    values = {
        "dataset_dir": clients / "south",
        "output_dir": output_dir,
        "ckpt_path": output_dir / "model.pt",
    }
    values |= {
        "candidates": {name: str(path) for name, path in candidates.items()},
        "shapes_paths": [str(shapes)],
    }
    flow = workflow("adaptation", "choose.yaml", **values)
    flow.initialize()
    flow.run()
    return output_dir


def test_a_labelled_client_tells_numbers_alone(shapes):
    record = read_record(shapes, "")
    assert record["volumes"] >= 1
    assert set(record["shapes"]["1 area"]) == {"mean", "deviation"}


def as_it_finds(model: Path, clients: Path, to: Path) -> Path:
    """The shapes of what a model finds in ``south``, as if labelled patients had them."""
    flow = workflow("adaptation", "choose.yaml", dataset_dir=clients / "south")
    network = with_weights(flow.parser.get_parsed_content("network_def"), model).eval()
    images, volumes, _ = looked_at(flow.parser.get_parsed_content("dataset"), 400)
    labels = opinion(network, images).labels.numpy()
    found = [Known(labels[(volumes == volume).numpy()]) for volume in volumes.unique()]
    return write_shapes(found, [1], 4.0, to)


def test_what_finds_the_class_everywhere_is_refused_and_the_other_model_is_written(clients, source, tmp_path):
    bad = spoilt(source / "model.pt", tmp_path / "bad.pt")
    shapes = as_it_finds(source / "model.pt", clients, tmp_path / "shapes.json")
    out = choose(clients, tmp_path / "out", {"bad": bad, "good": source / "model.pt"}, shapes)
    record = read_record(out / "choice.json", "")
    rows = {row["candidate"]: row for row in read_table(out / "choice.csv", "")}
    assert record["chosen"] == ["good"]
    assert "“bad” finds has shapes too unlike" in record["reason"]
    assert (rows["bad"]["plausible"], rows["good"]["chosen"]) == ("False", "True")
    assert float(rows["bad"]["implausibility"]) == pytest.approx(
        record["candidates"]["bad"]["implausibility"], abs=1e-4
    )
    chosen, given = load_tensors(out / "model.pt"), load_tensors(source / "model.pt")
    assert chosen["description"]["choice"] == "good"
    assert all(torch.equal(tensor, given["model"][name]) for name, tensor in chosen["model"].items())
    with Image.open(out / "choice.png") as picture:
        assert picture.width > 300


def test_a_choice_needs_candidates_and_shapes(clients, source, shapes, tmp_path):
    with pytest.raises(RuntimeError) as none:
        choose(clients, tmp_path / "a", {}, shapes)
    assert "expected at least one candidate, found none" in str(cause(none.value))
    with pytest.raises(RuntimeError) as gone:
        choose(clients, tmp_path / "b", {"a": source / "model.pt"}, tmp_path / "gone.json")
    assert "gone.json" in str(cause(gone.value))


@pytest.mark.parametrize("config", ["choose.yaml", "shapes.yaml", "quantiles.yaml"])
def test_one_volume_is_held_at_a_time(clients, config):
    dataset = workflow(
        "adaptation", config, kind=None, dataset_dir=clients / "north"
    ).parser.get_parsed_content("dataset")
    assert len(dataset._volumes._open) == 1 < len(dataset.items)


def test_two_that_verdicts_cannot_tell_apart_answer_together(clients, source, tmp_path):
    shapes = as_it_finds(source / "model.pt", clients, tmp_path / "shapes.json")
    other = nudged(source / "model.pt", tmp_path / "other.pt")
    out = choose(clients, tmp_path / "out", {"one": source / "model.pt", "other": other}, shapes)
    assert sorted(read_record(out / "choice.json", "")["chosen"]) == ["one", "other"]
    assert "so that both answer together" in read_record(out / "choice.json", "")["reason"]
    values = {"ckpt_path": out / "model.pt", "dataset_dir": clients / "south", "output_dir": tmp_path / "seg"}
    flow = workflow("adaptation", "inference.yaml", **values)
    flow.initialize()
    flow.run()
    assert len(list((tmp_path / "seg").glob("*_seg.nii.gz"))) >= 1
    network = flow.parser.get_parsed_content("network")
    slices = torch.rand(2, 1, 32, 32)
    plain = flow.parser.get_parsed_content("network_def")
    means = [with_weights(plain, file).eval()(slices).softmax(1) for file in (source / "model.pt", other)]
    assert torch.allclose(network.eval()(slices).softmax(1), sum(means) / 2, atol=1e-5)


def nudged(model: Path, to: Path) -> Path:
    """Nearly the same network."""
    network = workflow("adaptation", "choose.yaml").parser.get_parsed_content("network_def")
    with_weights(network, model)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.mul_(1.001)
    return export_model(network, to)
