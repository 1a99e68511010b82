"""Trainings at the published sizes: they start, how long an iteration takes, and what it waits for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from shared_components.benchmarks.gpu.bundles import LABELS, data, run_folder
from shared_components.benchmarks.gpu.place import CheckedPart, CheckPlace
from shared_components.benchmarks.gpu.updates import SWITCHES, trained, update_cost

FINE = {"spacing": 0.5}  # mm: a head fills 512 px, as it would not in its file's own pixels
FACTORY_CUT = {
    **{"image_size": 32, "channels": [8, 8, 8, 8], "discriminator_channels": [8, 8, 8, 8], "batch_size": 4},
    **{"z_dim": 16, "w_dim": 16, "mapping_layers": 2, "spacing": 6.0},
}
SEGMENTATION_CUT = {
    **{
        "image_size": 32,
        "spacing": 6.0,
        "anatomy_encoder::features": [4, 4, 8, 8, 8, 4],
        "style_channels": [4, 8],
    },
    **{"style_hidden": 16, "decoder_channels": 4, "batch_size": 2},
}
TRAINING_ALONE = ("style_channels", "style_hidden", "decoder_channels", "batch_size")
PUBLISHED_CUT = {
    **{"image_size": 32, "spacing": 6.0, "encoder_widths": [4, 4, 8, 8], "encoder_blocks": [1, 1, 1, 1]},
    **{"injection_resolutions": [8], "classifier_width": 8, "classifier_hidden": 4, "batch_size": 4},
}
ADAPTATION_CUT = {"image_size": 32, "segmenter_channels": [4, 8, 8], "batch_size": 4}
LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")
TOLD = 3  # of what takes most of the time


def factory(place: CheckPlace) -> Iterator[CheckedPart]:
    """paper.yaml's training starts; then an update with the switches."""
    iterations = 3
    cut = FACTORY_CUT if place.smoke else FINE
    values = _values(place, "paper_factory", iterations) | {"dataset_dir": data(place, "t1"), **cut}
    flow = place.workflow("factory", ("train.yaml", "paper.yaml"), values)
    yield CheckedPart("paper.yaml", *trained(place, flow, 1), "an iteration without lazy terms, files read")
    drawn = {"ckpt_path": f"{run_folder(place, 'paper_factory')}/factory.pt", "volumes": 1, "slices": 16}
    drawn |= {"output_dir": run_folder(place, "paper_drawn")}
    yield CheckedPart("drawing, 16 slices", *place.run("factory", "inference.yaml", **drawn))
    size, batch = (16, 2) if place.smoke else (512, 16)
    for name in ("float32", "bfloat16", "bfloat16, channels last"):
        yield CheckedPart(
            f"full update, {batch} slices, {name}", *update_cost(place, size, batch, SWITCHES[name])
        )


def segmentation(place: CheckPlace) -> Iterator[CheckedPart]:
    """Iterations of meta-learning at paper.yaml's size, and what they wait for."""
    iterations = 3 if place.smoke else 12
    cut = SEGMENTATION_CUT if place.smoke else {}
    ways = {"float32": {}, "bfloat16": {"amp": True}, "first order": {"second_order": False}}
    for name, more in ways.items():
        values = _values(place, "paper_segmentation", iterations) | cut | more
        values |= {"dataset_dir": [data(place, "t1"), f"{run_folder(place, 'synthetic')}/t2"]}
        values |= {"domains": ["t1", "t2"], "labels": LABELS, "val_interval": 0}
        flow = place.workflow("segmentation", ("train.yaml", "meta_learning.yaml", "paper.yaml"), values)
        yield CheckedPart(f"an iteration, {name}", *trained(place, flow, 2))
    yield from _parts(place, flow)
    values = {name: cut[name] for name in cut if name not in TRAINING_ALONE} | {"labels": LABELS}
    values |= {
        "dataset_dir": data(place, "t1"),
        "ckpt_path": f"{run_folder(place, 'paper_segmentation')}/model.pt",
    }
    values |= {"output_dir": run_folder(place, "paper_segmented")}
    yield CheckedPart(
        "inference", *place.run("segmentation", "inference.yaml", "paper.yaml", **values), "one head"
    )


def _parts(place: CheckPlace, flow: Any) -> Iterator[CheckedPart]:
    """What the host does for an iteration: slices from the cache, and their augmentation."""
    batches = list(flow.parser.get_parsed_content("train::dataloader"))
    loading = place.seconds(lambda: list(flow.parser.get_parsed_content("train::dataloader")))
    yield CheckedPart("loading of an iteration", loading / len(batches))
    trainer = flow.parser.get_parsed_content("train::trainer")
    trainer.second_order = True
    episodes = [trainer._on_device(episode) for episode in batches[0].values()]
    seconds = place.median(lambda: [trainer._augmented(episode) for episode in episodes])
    yield CheckedPart("augmentation of an iteration", seconds)

    def iteration() -> None:
        trainer._iteration(trainer, batches[0])

    yield CheckedPart("an iteration without loading", place.median(iteration), remark=waits(place, iteration))
    with _free_choice():
        yield CheckedPart("the same, cuDNN free to choose", place.median(iteration))


def adaptation(place: CheckPlace) -> Iterator[CheckedPart]:
    """The default adaptation with slices of 256 px: each phase."""
    iterations = 3 if place.smoke else 12
    synthetic = run_folder(place, "synthetic")
    size = {"image_size": 256, "spacing": 1.0, "discriminator_channels": [64, 64, 64, 64, 32, 16, 16]}
    more = ADAPTATION_CUT | {"discriminator_channels": [8, 8, 8, 8]} if place.smoke else size
    source = run_folder(place, "paper_source")
    values = (
        _values(place, "paper_source", iterations)
        | more
        | {"dataset_dir": data(place, "t1"), "val_interval": 0}
    )
    values.pop("discriminator_channels")
    flow = place.workflow("adaptation", ("pretrain.yaml",), values)
    yield CheckedPart("an iteration, source model", *trained(place, flow, 2))
    ways = [
        (phase, amp) for phase in ("translation", "segmentation", "self-training") for amp in (False, True)
    ]
    for number, (phase, amp) in enumerate(ways):
        phases = [iterations * (other == number // 2) for other in range(3)]
        values = _values(place, "paper_adaptation", iterations) | more | {"phases": phases, "amp": amp}
        values |= {"dataset_dir": data(place, "t2"), "source_model_path": f"{source}/model.pt"}
        values |= {"source_dir": f"{synthetic}/t1", "twin_dir": f"{synthetic}/t2"}
        flow = place.workflow("adaptation", ("train.yaml",), values)
        yield CheckedPart(
            f"an iteration, {phase}, {'bfloat16' if amp else 'float32'}", *trained(place, flow, 2)
        )


def _values(place: CheckPlace, name: str, iterations: int) -> dict[str, Any]:
    """One epoch of a few iterations, without pictures."""
    out = run_folder(place, name)
    return {
        **{"output_dir": out, "ckpt_path": f"{out}/model.pt", "epoch_length": iterations, "max_epochs": 1},
        **{"picture_every": 0, "quiet": True},
    }


def published(place: CheckPlace) -> Iterator[CheckedPart]:
    """The published adaptation with the factory of 512 px: source model, adaptation, segmentation."""
    iterations = 3 if place.smoke else 8
    cut = PUBLISHED_CUT if place.smoke else FINE
    factory_path = f"{run_folder(place, 'paper_factory')}/factory.pt"
    source = _values(place, "published_512_source", iterations) | cut | {"val_interval": 0}
    source |= {"dataset_dir": data(place, "t1"), "factory_path": factory_path}
    names = ("pretrain.yaml", "published_network.yaml", "published_pretrain.yaml", "paper.yaml")
    yield CheckedPart(
        "an iteration, source model", *trained(place, place.workflow("adaptation", names, source), 1)
    )
    values = _values(place, "published_512", iterations) | cut | {"factory_path": factory_path}
    values |= {"dataset_dir": data(place, "t2"), "source_dir": data(place, "t1")}
    values["source_model_path"] = source["ckpt_path"]
    if place.smoke:
        values["discriminator_channels"] = [8, 8, 8, 8]
    names = ("train.yaml", "published_network.yaml", "published.yaml", "paper.yaml")
    yield CheckedPart("an iteration", *trained(place, place.workflow("adaptation", names, values), 1))
    kept = {name: values[name] for name in ("ckpt_path", "factory_path")} | cut
    kept |= {"dataset_dir": data(place, "t2"), "output_dir": run_folder(place, "published_512_segmented")}
    kept.pop("batch_size", None)
    names = ("inference.yaml", "published_network.yaml", "published_inference.yaml", "paper.yaml")
    yield CheckedPart("inference", *place.run("adaptation", *names, **kept), "one head")


def waits(place: CheckPlace, call: Callable[[], Any]) -> str:
    """A line about one call: on a GPU its share of the time that kernels run, launches, waits, and what takes most."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if place.cuda else [])]
    with profile(activities=activities) as found:
        seconds = place.seconds(call)
    events = found.key_averages()
    if not place.cuda:
        return f"most of it: {_most(events, 'self_cpu_time_total', seconds)}"
    kernels = [event for event in events if event.device_type == DeviceType.CUDA]
    busy = sum(event.self_device_time_total for event in kernels) / 1e6
    counts = {event.key: event.count for event in events}
    launched, waited = (sum(counts.get(name, 0) for name in names) for names in (LAUNCHES, WAITS))
    most = _most(kernels, "self_device_time_total", seconds)
    return f"kernels run {busy / seconds:.0%} of it, {launched} launches, {waited} waits; most of it: {most}"


def _most(events: Any, time: str, seconds: float) -> str:
    """The operations with most time of their own, with their share of ``seconds``."""
    first = sorted(events, key=lambda event: getattr(event, time), reverse=True)[:TOLD]
    return ", ".join(f"{event.key[:60]} {getattr(event, time) / 1e6 / seconds:.0%}" for event in first)


@contextlib.contextmanager
def _free_choice() -> Iterator[None]:
    """cuDNN tries its ways to convolve and takes the fastest, where a training's seed has it take a repeatable one."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
