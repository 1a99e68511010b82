"""A deliverable that a client has written holds the global weights, or it is none."""

from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.files import load_tensors, save_tensors
from tests.federation.tiny import federation

pytest.importorskip("nvflare")
from shared_components.federation.local import LocalEngine
from shared_components.federation.nvflare.controller import NvflareSites
from shared_components.federation.nvflare.deliverable import check_deliverable
from shared_components.federation.nvflare.message import Message
from shared_components.federation.sites import Committed

WEIGHTS = {
    "generator": {"generator.map.w": 1.0, "generator_ema.map.w": 2.0, "generator.seen": True},
    "average": {"trained.down.w": 1.0, "average.module.down.w": 2.0, "average.updates": 3},
    "encoder": {"encoder.down.w": 1.0, "averaged.module.down.w": 2.0},
}


def tensors(values: dict) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([value, value]) for name, value in values.items()}


@pytest.mark.parametrize(
    ("network", "written"),
    [
        ("generator", {"map.w": 2.0, "seen": False}),  # as of a factory, whose flat domains are told
        ("average", {"down.w": 2.0}),  # of a source model
        ("encoder", {"encoder.down.w": 2.0}),  # of a segmenter, whose average has the module's name
        ("encoder", {"net.encoder.down.w": 1.0, "net.head.w": 7.0}),
        (
            "encoder",
            {"encoder.down.w": 1.0, "averaged.module.down.w": 2.0, "head.w": 7.0},
        ),  # which clients keep
        ("encoder", {"renamed": 1.0}),
    ],
)
def test_an_export_is_taken_as_it_is_and_with_no_other_weights(network, written):
    weights, found = tensors(WEIGHTS[network]), tensors(written)
    content = {"model": found, "description": {"labels": {0: "background"}}}
    check_deliverable(content, weights)
    name = next(iter(found))
    others = [found[name] + 665] if name == "renamed" else [found[name] + 665, torch.tensor([666, 666])]
    for other in others:
        with pytest.raises(InputError, match=f"'{name}' of its deliverable: expected the global weights"):
            check_deliverable({**content, "model": {**found, name: other}}, weights)


def test_an_export_of_the_local_engine_is_taken(values):
    folder = LocalEngine(federation(values, rounds=1), quiet=True).run()
    weights = load_tensors(folder / "global.pt")["model"]
    content = load_tensors(folder / "tiny_bundle.pt")
    assert len(content["model"]) > len(weights)  # it holds what clients keep, too
    check_deliverable(content, weights)
    for name in (name for name, tensor in weights.items() if tensor.is_floating_point()):
        with pytest.raises(InputError, match="expected the global weights of all clients"):
            check_deliverable({"model": {**content["model"], name: weights[name] + 1}}, weights)


class Answering:
    """Of the place of what asks sites: all answer with the same file."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def ask(self, task, requests, doing, timeout=None):
        return {name: Message({"exported": True}, {}, self._files) for name in requests}


def test_a_client_that_writes_another_model_has_written_none(values, tmp_path):
    tiny = federation(values)
    place, committed = tiny.export_path, Committed(3, {"w": torch.zeros(3)}, {"north": 3})

    def exported(value: float) -> str | None:
        file = save_tensors(tmp_path / "file.pt", {"model": {"w": torch.full((3,), value)}})
        sites = NvflareSites(tiny, Answering({place.name: file.read_bytes()}))
        return sites.export(committed, ["north"])["north"].failure

    assert "its answer does not count: 'w' of its deliverable: expected the global" in exported(666.0)
    assert not place.exists()
    assert exported(0.0) is None and place.is_file()
