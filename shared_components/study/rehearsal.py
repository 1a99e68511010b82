"""A training tried before anything is read: every value checked, everything built, a few updates on noise timed."""

from __future__ import annotations

import contextlib
import copy
import io
import math
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.engines import Trainer
from monai.transforms import Compose
from torch import Tensor, nn

from shared_components.config_parsers import with_known_components
from shared_components.data.dataset_json import DATASET_FILE, dataset_head, write_dataset
from shared_components.data.slices import CACHES, SliceDataset
from shared_components.engines.saved_state import RandomState
from shared_components.errors import InputError, cause, shown
from shared_components.federation.aggregators import FedAvg
from shared_components.federation.bundle_workflow import Layout, check_export, layout_of
from shared_components.hyper_parameters import UNBUILDABLE, has_our_values, value_faults
from shared_components.yaml_files import references

DEPTH = 8  # slices of a volume


class BlankSlices(SliceDataset):
    """A :class:`SliceDataset` with the subjects, domains and labels that ``data`` names, whose files are not opened.

    All volumes are one slice of noise, repeated, so that a dataset of any size takes no memory. Every setting is
    checked as there.
    """

    def _opened(
        self, transform: Compose, size: int, cache: str, cache_dir: str | os.PathLike | None
    ) -> Mapping[int, Mapping[str, Tensor]]:
        if cache not in CACHES:
            raise InputError(f"cache: expected one of {', '.join(CACHES)}, found {cache!r}")
        noise = torch.rand((1, 1, size, size), generator=torch.Generator().manual_seed(0)) * 1.8 - 0.85
        volume = {"image": noise.expand(DEPTH, -1, -1, -1)}  # all above air
        label = {"label": torch.zeros((1, 1, size, size), dtype=torch.int16).expand(DEPTH, -1, -1, -1)}
        return {n: volume | (label if "label" in item else {}) for n, item in enumerate(self.items)}


def blank_root(
    folder: Path, domain: str, labels: Mapping[int, str], subjects: int = 4, labelled: bool = True
) -> str:
    """A client data root whose images are empty files, in place of one that is still to be drawn."""
    names = [f"s{number}" for number in range(2 * subjects)]
    kinds = {"image": "", "label": "_label"} if labelled else {"image": ""}
    items = [{kind: f"{name}{ending}.nii.gz" for kind, ending in kinds.items()} for name in names]
    head = dataset_head(domain, domain, "synthetic", labels)
    write_dataset(folder, head | {"training": items[:subjects], "validation": items[subjects:], "test": []})
    for file in (file for item in items for file in item.values()):
        (folder / file).touch()
    return str(folder)


SLICES = f"{SliceDataset.__module__}.{SliceDataset.__name__}"
TWINS = "shared_components.data.twins.twin_slices"
BLANK = f"{BlankSlices.__module__}.{BlankSlices.__name__}"
FOLDERS = ("dataset_dir", "source_dir", "twin_dir")  # ids that name client data roots
# ids that name weights, null: those that it was built with
FILES = ("source_model_path", "discriminator_path", "teacher_paths")
FIXED = {"quiet": True, "progress": False, "resume": False, "cache": "memory", "rare_per_batch": 0}
TRIED = 3  # updates, of which the first is not timed
LARGEST_TRIAL = 500_000  # pixels of a batch; beyond it an update may take minutes on a CPU


@dataclass(frozen=True)
class Rehearsal:
    """How it went.

    Attributes:
        faults: what is wrong, a line each; the rest is unknown if anything is.
        updates: of the whole training, None where nothing is trained.
        seconds: of one update, roughly; None where it was not tried.
        layout: what of its network a federation exchanges; None where none was asked for, or no network is built.
    """

    faults: tuple[str, ...] = ()
    updates: int | None = None
    seconds: float | None = None
    layout: Layout | None = None


def rehearse(
    config: Mapping[str, Any],
    overrides: Mapping[str, Any],
    bundle_root: str,
    timed: bool = True,
    aggregator: FedAvg | None = None,
) -> Rehearsal:
    """Check and build what a config and its overrides describe, and try a few updates.

    Of a bundle whose training reads :class:`SliceDataset`, everything up to the trainer is built, on noise; of any
    other, what does not depend on data and files. Nothing is written but into a temporary folder.

    Args:
        config: config files merged.
        overrides: ids and values that replace the config's.
        bundle_root: the bundle's folder, which joins Python's search path.
        timed: try updates.
        aggregator: of the federation whose exchanged tensors are asked for.
    Raises:
        InputError: the aggregator does not suit the network, or a private tensor would be exported.
    """
    merged = with_overrides(config, overrides)
    if has_our_values(config) and (faults := value_faults(merged)):
        return Rehearsal(tuple(faults))
    if bundle_root not in sys.path:
        sys.path.insert(1, bundle_root)
    with _undisturbed(), tempfile.TemporaryDirectory() as folder:
        try:
            result, parser, network = _built(merged, Path(folder), timed, _reads_slices(config))
        except UNBUILDABLE as error:
            return Rehearsal((_blamed(config, overrides, Path(folder), cause(error)),))
        if aggregator is None or network is None:
            return result
        layout = _layout(parser, network, aggregator, bundle_root)
        if result.updates is not None:  # the trainer is built, and so is what it exports
            check_export(parser, network, layout.shared, aggregator, bundle_root)
        return replace(result, layout=layout)


def with_overrides(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a merged config with some ids replaced."""
    parser = ConfigParser(copy.deepcopy(dict(config)))
    parser.update(copy.deepcopy(dict(overrides)))
    return parser.get()


def _built(
    config: dict[str, Any], folder: Path, timed: bool, on_noise: bool
) -> tuple[Rehearsal, ConfigParser, nn.Module | None]:
    """How it went, and what was built: of a bundle of another kind the network only if it needs no data."""
    parser = with_known_components(ConfigParser(_on_noise(config, folder)))
    if has_our_values(config):
        parser.get_parsed_content("initialize")
    if not on_noise:
        built = {id: parser.get_parsed_content(id) for id in _independent(config)}
        return Rehearsal(), parser, built.get("network")
    trainer = parser.get_parsed_content("train::trainer")
    updates = trainer.state.epoch_length * trainer.state.max_epochs
    size, batch = (
        parser.get_parsed_content(id) if id in config else 1 for id in ("image_size", "batch_size")
    )
    small = size**2 * batch <= LARGEST_TRIAL
    seconds = _seconds_per_update(trainer) if timed and small else None
    return Rehearsal((), updates, seconds), parser, trainer.network


def _layout(parser: ConfigParser, network: nn.Module, aggregator: FedAvg, bundle_root: str) -> Layout:
    id = "federation::shared"
    modules = parser.get_parsed_content(id) if id in parser else [""]
    return layout_of(network, modules, aggregator, bundle_root)


def _reads_slices(config: Mapping[str, Any]) -> bool:
    dataset = (config.get("train") or {}).get("dataset") if isinstance(config.get("train"), dict) else None
    return isinstance(dataset, dict) and dataset.get("_target_") == SLICES


def _on_noise(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The config on noise, writing into ``folder``, with roots and weights that are still to be made left out."""
    changed = _replaced(config)
    changed |= {id: value for id, value in FIXED.items() if id in config}
    changed |= {id: None for id in FILES if id in config}
    changed["output_dir"] = str(folder / "out")
    values = ConfigParser(copy.deepcopy(config))
    labels = values.get_parsed_content("labels") if "labels" in config else {0: "background", 1: "organ"}
    for id in FOLDERS:
        if id in config:
            roots = values.get_parsed_content(id)
            found = [_root(root, folder, labels) for root in ([roots] if isinstance(roots, str) else roots)]
            changed[id] = found[0] if isinstance(roots, str) else found
    return changed


def _replaced(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {key: _replaced(child) for key, child in value.items()}
        if inner.get("_target_") == SLICES:
            inner["_target_"] = BLANK
        if inner.get("_target_") == TWINS:
            inner["dataset"] = {"_target_": BLANK, "_mode_": "callable"}
            inner.pop("doubt", None)  # all that untrained weights find is doubtful
        return inner
    return [_replaced(child) for child in value] if isinstance(value, list) else value


def _root(root: str, folder: Path, labels: Mapping[int, str]) -> str:
    """A data root as it is, or a blank one of the domain that it will be named after."""
    if os.path.isfile(Path(root, DATASET_FILE)):
        return root
    domain = Path(os.path.normpath(root)).name
    return blank_root(folder / "roots" / domain, domain, labels)


def _independent(config: Mapping[str, Any]) -> list[str]:
    """Top-level ids whose parts refer, through whatever, to no data and no file."""
    needs = {id: references(value) & set(config) for id, value in config.items()}
    tainted = {id for id in config if id.endswith(("_dir", "_path", "bundle_root"))}
    while more := {id for id, found in needs.items() if found & tainted} - tainted:
        tainted |= more
    skipped = {"imports", "initialize", "run", "finalize", "_meta_", "train", "validate", "evaluate"}
    return [id for id in config if id not in tainted | skipped]


def _blamed(config: Mapping[str, Any], overrides: Mapping[str, Any], folder: Path, reason: str) -> str:
    """The cause, after the override without which the config would be built, if there is one."""
    for key in overrides:
        if key in ("bundle_root", "dataset_dir", "output_dir", "domains", "labels"):
            continue
        rest = {id: value for id, value in overrides.items() if id != key}
        with contextlib.suppress(*UNBUILDABLE):
            _built(with_overrides(config, rest), folder, False, _reads_slices(config))
            return f"{key}: {shown(overrides[key])} does not fit: {reason}"
    return f"the config cannot be built with them: {reason}"


def _seconds_per_update(trainer: Trainer) -> float | None:
    """Try a few updates and stop; None where the first is the last."""
    times: list[float] = []

    def note(engine: Engine) -> None:
        times.append(time.perf_counter())
        if len(times) == TRIED:
            engine.terminate()

    trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    trainer.run()
    seconds = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else math.nan
    return None if math.isnan(seconds) else seconds


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """The process's random state and its way to print errors are as before; warnings and notes are for the run
    itself.
    """
    state, hook = RandomState().state_dict(), sys.excepthook
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        RandomState().load_state_dict(state)
        sys.excepthook = hook
