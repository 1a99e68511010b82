"""Whatever lies where a file of weights should be, every reader of one says so in a line with the file and a cure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from shared_components.engines.saved_state import RandomState
from shared_components.errors import InputError
from shared_components.federation.aggregators.aggregation import to_blocks
from shared_components.federation.client import FederatedClient
from shared_components.federation.local import read_update
from shared_components.files import load_tensors, save_tensors
from shared_components.handlers import attach_checkpoints
from shared_components.inferers import ModelLoader
from shared_components.networks.factory import domain_index, load_generator
from shared_components.networks.published_adapter import SegmentationPaths, start_from_source
from shared_components.networks.weights import export_model, with_weights
from shared_components.packaging.settings import merged_configs, read_overrides
from shared_components.packaging.weights import write_weights
from tests.federation.tiny import TINY_BUNDLE, federation, file_values, make_roots
from tests.handlers.engines import trainer
from tests.networks.test_published_adapter import adapter
from tests.packaging.small import BUNDLES, settings, write_model

READERS = [
    "load_tensors", "with_weights", "ckpt_path", "factory_path", "domain", "source_model_path", "published",
    "package", "factory package", "resume", "client", "update",
]  # fmt: skip
FREE = ("load_tensors", "domain", "update")  # those that expect no names, shapes and types of tensors


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    return make_roots(tmp_path_factory.mktemp("data"))


class Reader:
    """One way to read weights: writes a good file, and reads it."""

    def __init__(self, kind: str, folder: Path, roots: dict[str, Path]) -> None:
        self.kind, self.folder, self.roots = kind, folder, roots
        self.path = folder / ("checkpoint.pt" if kind == "resume" else "file.pt")

    def write(self) -> None:
        torch.manual_seed(0)
        if self.kind in ("factory_path", "domain", "factory package"):
            write_model("factory", self.path)
        elif self.kind == "package":
            write_model("segmentation", self.path)
        elif self.kind == "published":
            export_model(paths(), self.path)
        elif self.kind == "resume":
            self._training(resume=False)
        elif self.kind == "client":
            self._client().save_state(self.path)
        elif self.kind == "update":
            save_tensors(self.path, {**to_blocks({"weight": torch.arange(6.0)}), "round": 1})
        else:
            export_model(network(), self.path)

    def read(self) -> Any:
        """What holds the tensors that were read, as networks or nested tables; of a domain, its number."""
        if self.kind == "load_tensors":
            return load_tensors(self.path)
        if self.kind in ("with_weights", "source_model_path"):
            return with_weights(network(), self.path)
        if self.kind == "ckpt_path":
            engine, model = Engine(lambda engine, batch: None), network()
            ModelLoader(str(self.path), {"model": model}).attach(engine)
            engine.run([0])
            return model
        if self.kind == "factory_path":
            return load_generator(self.path)
        if self.kind == "domain":
            return domain_index(self.path, "t1")
        if self.kind == "published":
            return start_from_source(paths(), self.path)
        if self.kind in ("package", "factory package"):
            bundle = "segmentation" if self.kind == "package" else "factory"
            config = merged_configs(BUNDLES / bundle / "configs", read_overrides(settings(bundle)))
            write_weights(config["inference"], self.path, self.folder / "out" / "model.pt")
            return load_tensors(self.folder / "out" / "model.pt")
        if self.kind == "resume":
            return self._training(resume=True)
        if self.kind == "client":
            client = self._client()
            client.load_state(self.path)
            return client.trainer.network
        return read_update(self.path, 1)

    def _training(self, resume: bool) -> nn.Module:
        engine = trainer(max_epochs=1)
        state = {"network": engine.network, "optimizer": engine.optimizer, "random_state": RandomState()}
        attach_checkpoints(engine, state, self.folder, resume=resume)
        engine.run()
        return engine.network

    def _client(self) -> FederatedClient:
        plan = federation(file_values(self.roots, self.folder / "run")).client_overrides("north")
        files = [str(TINY_BUNDLE / "configs" / name) for name in ("common.yaml", "train.yaml")]
        return FederatedClient(str(TINY_BUNDLE), files, plan, 3)


def network() -> nn.Module:
    return nn.Linear(3, 2)


def paths() -> SegmentationPaths:
    return SegmentationPaths(adapter(), 0, 1)


def places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Container and key of every tensor of floats in a file's content."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.dim():
            yield content, key
        elif isinstance(value, dict | list):
            yield from places(value)


def tensors(content: Any) -> list[torch.Tensor]:
    """Every tensor of floats in a network or a file's content."""
    content = content.state_dict() if isinstance(content, nn.Module) else content
    return [holder[key] for holder, key in places(content)]


def changed(path: Path, change: Callable[[torch.Tensor], Any]) -> None:
    """Replace the first tensor of floats by what ``change`` makes of it."""
    content = torch.load(path, weights_only=True)
    holder, key = next(places(content))
    holder[key] = change(holder[key].clone())
    torch.save(content, path)


def renamed(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    holder, key = next(places(content))
    holder["other"] = holder.pop(key)
    torch.save(content, path)


def flipped(path: Path) -> None:
    """One bit of the first tensor of floats."""
    content = torch.load(path, weights_only=True)
    torch.save(content, path)  # without a seal of our own
    holder, key = next(places(content))
    whole = path.read_bytes()
    place = whole.index(holder[key].numpy().tobytes())
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])


def with_value(value: float) -> Callable[[Path], None]:
    def spoil(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[-1] = value
        return tensor

    return lambda path: changed(path, spoil)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


ANY = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "without its last byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "flipped bit": flipped,
    "code": lambda path: torch.save({"model": nn.Linear(1, 1)}, path),
    "NaN": with_value(float("nan")),
    "infinite": with_value(float("-inf")),
    "text": lambda path: path.write_text("model: weights"),
    "a list": lambda path: torch.save([torch.zeros(1)], path),
    "folder": a_folder,
}
FITTING = {
    "int8": lambda path: changed(path, lambda tensor: tensor.to(torch.int8)),
    "complex": lambda path: changed(path, lambda tensor: tensor.to(torch.complex64)),
    "64 bits": lambda path: changed(path, torch.Tensor.double),
    "no tensor": lambda path: changed(path, lambda tensor: 1.0),
    "shape": lambda path: changed(path, lambda tensor: torch.cat([tensor, tensor])),
    "name": renamed,
    "nothing": lambda path: torch.save({}, path),
}
CASES = [(kind, fault) for kind in READERS for fault in (ANY if kind in FREE else ANY | FITTING)]


@pytest.mark.parametrize(("kind", "fault"), CASES)
def test_a_file_that_cannot_be_right_is_one_line_with_its_name_and_a_cure(kind, fault, tmp_path, roots):
    reader = Reader(kind, tmp_path, roots)
    reader.write()
    (ANY | FITTING)[fault](reader.path)
    with pytest.raises(InputError) as caught:
        reader.read()
    message = str(caught.value)
    assert message.startswith(f"{reader.path}: ") and "\n" not in message
    assert "; " in message.removeprefix(f"{reader.path}: ")  # what to do about it
    assert not [
        word for word in ("weights_only", "Errno", "Traceback", "torch.serialization") if word in message
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", READERS)
def test_the_good_file_is_read(kind, tmp_path, roots):
    reader = Reader(kind, tmp_path, roots)
    reader.write()
    written = tensors(torch.load(reader.path, weights_only=True))
    found = reader.read()
    if kind == "domain":
        assert found == 0
    else:
        assert any(tensor.equal(written[0]) for tensor in tensors(found))
