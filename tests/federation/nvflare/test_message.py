from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError

pytest.importorskip("nvflare")
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.utils.fl_model_utils import FLModelUtils
from nvflare.app_opt.pt.decomposers import TensorDecomposer
from nvflare.fuel.utils import fobs

from shared_components.federation.nvflare.message import Message, numbers, read_message


def travelled(model: FLModel) -> FLModel:
    """Through NVFlare's own form of what is sent, and its serialisation."""
    fobs.register(TensorDecomposer)
    return FLModelUtils.from_shareable(fobs.loads(fobs.dumps(FLModelUtils.to_shareable(model))))


def test_a_message_arrives_as_it_was():
    tensors = {
        "a": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
        "b.c": torch.tensor(2**40),
        "flag": torch.tensor([True]),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "turned": torch.arange(6.0).view(2, 3).T,
        "none": torch.empty(0, 3),
    }
    values = {"round": 3, "loss": 0.1, "names": ["x", {"y": None}], "text": "ä"}
    sent = Message(values, tensors, {"factory.pt": b"\0\1\xff", "empty": b""}, timeout=2.5)
    found = read_message(travelled(sent.model()))
    assert (found.values, found.files, found.timeout, found.failure) == (values, sent.files, 2.5, None)
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found.tensors[name].dtype == tensor.dtype and torch.equal(found.tensors[name], tensor)


def test_a_failure_arrives_on_one_line():
    sent = Message(failure="north: first\nsecond \x1b[31m" + "x" * 5000)
    failure = read_message(travelled(sent.model())).failure
    assert failure.startswith("north: first second \\x1b") and len(failure) < 2100


@pytest.mark.parametrize(
    ("params", "meta", "message"),
    [
        ({"tensor a": "text"}, {}, "expected a tensor, found str"),
        ({"tensor a": [1.0]}, {}, "expected a tensor, found list"),
        ({"a": torch.zeros(1)}, {}, "expected the name of a tensor or of a file"),
        ({"file ../x": torch.zeros(1, dtype=torch.uint8)}, {}, "expected the name of a tensor or of a file"),
        ({"file /etc/x": torch.zeros(1, dtype=torch.uint8)}, {}, "expected the name"),
        ({"file .x": torch.zeros(1, dtype=torch.uint8)}, {}, "expected the name"),
        ({"file x": torch.zeros(1)}, {}, r"expected bytes, found \(1,\) torch.float32"),
        ({}, {"values": [1]}, "expected names and plain values"),
        ({}, {"values": {"x": object()}}, "expected names and plain values"),
        ({}, {"values": {1: 2}}, "expected names and plain values"),
        ({}, {"values": {"x": "y" * 200_000}}, "expected names and plain values"),
        ({}, {"values": {"x": [[[[[[[[[[1]]]]]]]]]]}}, "expected names and plain values"),
        ({}, {"failure": 7}, "expected a failure in words, found 7"),
        ({}, {"timeout": object()}, "expected a number of seconds"),
    ],
)
def test_what_is_no_message_is_refused(params, meta, message):
    with pytest.raises(InputError, match=message):
        read_message(FLModel(params=params, meta={"values": {}, "failure": None, "timeout": None, **meta}))


@pytest.mark.parametrize(
    "values", [{"images": -1}, {"seconds": float("nan")}, {"images": float("inf")}, {"loss": "low"}]
)
def test_values_that_are_no_numbers_are_refused(values):
    with pytest.raises(InputError, match="expected a number"):
        numbers({"images": 3, "seconds": 0.1, **values})


def test_losses_may_be_anything_that_numbers_are():
    assert numbers({"images": 3, "loss": -2.5, "exported": True}) == {
        "images": 3,
        "loss": -2.5,
        "exported": 1,
    }
