"""Trainings at the published sizes: they start, and how long an iteration takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shared_components.benchmarks.gpu.bundles import LABELS, data, run_folder
from shared_components.benchmarks.gpu.place import Place, Row
from shared_components.benchmarks.gpu.updates import SWITCHES, trained, update_cost
from shared_components.benchmarks.gpu.waits import free_choice, waits

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


def factory(place: Place) -> Iterator[Row]:
    """paper.yaml's training starts; then an update with the switches."""
    iterations = 3
    cut = FACTORY_CUT if place.smoke else FINE
    values = _values(place, "paper_factory", iterations) | {"dataset_dir": data(place, "t1"), **cut}
    flow = place.workflow("factory", ("train.yaml", "paper.yaml"), values)
    yield Row("paper.yaml", *trained(place, flow, 1), "an iteration without lazy terms, files read")
    drawn = {"ckpt_path": f"{run_folder(place, 'paper_factory')}/factory.pt", "volumes": 1, "slices": 16}
    drawn |= {"output_dir": run_folder(place, "paper_drawn")}
    yield Row("drawing, 16 slices", *place.run("factory", "inference.yaml", **drawn))
    size, batch = (16, 2) if place.smoke else (512, 16)
    for name in ("float32", "bfloat16", "bfloat16, channels last"):
        yield Row(f"full update, {batch} slices, {name}", *update_cost(place, size, batch, SWITCHES[name]))


def segmentation(place: Place) -> Iterator[Row]:
    """Iterations of meta-learning at paper.yaml's size, and what they wait for."""
    iterations = 3 if place.smoke else 12
    cut = SEGMENTATION_CUT if place.smoke else {}
    ways = {"float32": {}, "bfloat16": {"amp": True}, "first order": {"second_order": False}}
    for name, more in ways.items():
        values = _values(place, "paper_segmentation", iterations) | cut | more
        values |= {"dataset_dir": [data(place, "t1"), f"{run_folder(place, 'synthetic')}/t2"]}
        values |= {"domains": ["t1", "t2"], "labels": LABELS, "val_interval": 0}
        flow = place.workflow("segmentation", ("train.yaml", "paper.yaml"), values)
        yield Row(f"an iteration, {name}", *trained(place, flow, 2))
    yield from _parts(place, flow)
    values = {name: cut[name] for name in cut if name not in TRAINING_ALONE} | {"labels": LABELS}
    values |= {
        "dataset_dir": data(place, "t1"),
        "ckpt_path": f"{run_folder(place, 'paper_segmentation')}/model.pt",
    }
    values |= {"output_dir": run_folder(place, "paper_segmented")}
    yield Row("inference", *place.run("segmentation", "inference.yaml", "paper.yaml", **values), "one head")


def _parts(place: Place, flow: Any) -> Iterator[Row]:
    """What the host does for an iteration: slices from the cache, and their augmentation."""
    batches = list(flow.parser.get_parsed_content("train::dataloader"))
    loading = place.seconds(lambda: list(flow.parser.get_parsed_content("train::dataloader")))
    yield Row("loading of an iteration", loading / len(batches))
    trainer = flow.parser.get_parsed_content("train::trainer")
    trainer.second_order = True
    episodes = [trainer._on_device(episode) for episode in batches[0].values()]
    seconds = place.median(lambda: [trainer._augmented(episode) for episode in episodes])
    yield Row("augmentation of an iteration", seconds)

    def iteration() -> None:
        trainer._iteration(trainer, batches[0])

    yield Row("an iteration without loading", place.median(iteration), remark=waits(place, iteration))
    with free_choice():
        yield Row("the same, cuDNN free to choose", place.median(iteration))


def adaptation(place: Place) -> Iterator[Row]:
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
    yield Row("an iteration, source model", *trained(place, flow, 2))
    ways = [
        (phase, amp) for phase in ("translation", "segmentation", "self-training") for amp in (False, True)
    ]
    for number, (phase, amp) in enumerate(ways):
        phases = [iterations * (other == number // 2) for other in range(3)]
        values = _values(place, "paper_adaptation", iterations) | more | {"phases": phases, "amp": amp}
        values |= {"dataset_dir": data(place, "t2"), "source_model_path": f"{source}/model.pt"}
        values |= {"source_dir": f"{synthetic}/t1", "twin_dir": f"{synthetic}/t2"}
        flow = place.workflow("adaptation", ("train.yaml",), values)
        yield Row(f"an iteration, {phase}, {'bfloat16' if amp else 'float32'}", *trained(place, flow, 2))


def _values(place: Place, name: str, iterations: int) -> dict[str, Any]:
    """One epoch of a few iterations, without pictures."""
    out = run_folder(place, name)
    return {
        **{"output_dir": out, "ckpt_path": f"{out}/model.pt", "epoch_length": iterations, "max_epochs": 1},
        **{"picture_every": 0, "quiet": True},
    }


def published(place: Place) -> Iterator[Row]:
    """The published adaptation with the factory of 512 px: source model, adaptation, segmentation."""
    iterations = 3 if place.smoke else 8
    cut = PUBLISHED_CUT if place.smoke else FINE
    factory_path = f"{run_folder(place, 'paper_factory')}/factory.pt"
    source = _values(place, "published_512_source", iterations) | cut | {"val_interval": 0}
    source |= {"dataset_dir": data(place, "t1"), "factory_path": factory_path}
    names = ("pretrain.yaml", "published_network.yaml", "published_pretrain.yaml", "paper.yaml")
    yield Row("an iteration, source model", *trained(place, place.workflow("adaptation", names, source), 1))
    values = _values(place, "published_512", iterations) | cut | {"factory_path": factory_path}
    values |= {"dataset_dir": data(place, "t2"), "source_dir": data(place, "t1")}
    values["source_model_path"] = source["ckpt_path"]
    if place.smoke:
        values["discriminator_channels"] = [8, 8, 8, 8]
    names = ("train.yaml", "published_network.yaml", "published.yaml", "paper.yaml")
    yield Row("an iteration", *trained(place, place.workflow("adaptation", names, values), 1))
    kept = {name: values[name] for name in ("ckpt_path", "factory_path")} | cut
    kept |= {"dataset_dir": data(place, "t2"), "output_dir": run_folder(place, "published_512_segmented")}
    kept.pop("batch_size", None)
    names = ("inference.yaml", "published_network.yaml", "published_inference.yaml", "paper.yaml")
    yield Row("inference", *place.run("adaptation", *names, **kept), "one head")
