"""Training and inference of every bundle, at its smoke sizes, through its configs."""

from __future__ import annotations

from collections.abc import Iterator

from shared_components.benchmarks.gpu.place import Place, Row
from shared_components.data.phantoms import make_heads
from shared_components.metrics import score_segmentations  # noqa: F401 - imported by evaluate.yaml, not timed

LABELS = {0: "background", 1: "brain"}


def data(place: Place, domain: str) -> str:
    """The phantoms' data root of a domain."""
    return str(place.folder / "data" / domain)


def run_folder(place: Place, name: str) -> str:
    """The output folder of a run."""
    return str(place.folder / "runs" / name)


def phantoms(place: Place) -> Iterator[Row]:
    """Heads of three domains, which the other steps train on."""
    coarseness = 3.0 if place.smoke else 2.0
    cost = place.cost(
        lambda: make_heads(
            place.folder / "data", subjects=(2, 1, 1), workers=1, coarseness=coarseness, force=True
        )
    )
    yield Row("12 heads", cost.seconds)


def factory(place: Place) -> Iterator[Row]:
    """Train on one client's slices, draw volumes, audit."""
    out, drawn = run_folder(place, "factory"), run_folder(place, "drawn")
    weights = {"ckpt_path": f"{out}/factory.pt"}
    roots = {"dataset_dir": data(place, "t1")}
    names = ("train.yaml", "smoke.yaml")
    yield Row("training", *place.run("factory", *names, **roots, output_dir=out))
    fast = {"amp": True, "channels_last": True}
    yield Row(
        "training, bfloat16, channels last",
        *place.run("factory", *names, **roots, **fast, output_dir=f"{out}_fast"),
    )
    yield Row(
        "drawing",
        *place.run("factory", "inference.yaml", "smoke.yaml", **weights, output_dir=drawn, volumes=2),
    )
    values = {**roots, **weights, "output_dir": run_folder(place, "audit"), "drawn": 20, "stacks": 2}
    yield Row("audit", *place.run("factory", "audit.yaml", "smoke.yaml", **values))


def adaptation(place: Place) -> Iterator[Row]:
    """The source model, synthetic volumes, the adaptation, the published one, segmentation with scores."""
    factory_path = {
        "factory_path": f"{run_folder(place, 'factory')}/factory.pt",
        "injection_resolutions": [8],
    }
    source, synthetic = run_folder(place, "source"), run_folder(place, "synthetic")
    yield Row("source model", *_train(place, "source", "pretrain.yaml", dataset_dir=data(place, "t1")))
    model = {"source_model_path": f"{source}/model.pt"}
    values = {
        "factory_path": factory_path["factory_path"],
        **model,
        "output_dir": synthetic,
        "progress": False,
    }
    yield Row("synthesis", *place.run("adaptation", "synthesize.yaml", "smoke.yaml", **values))
    values = {**model, "source_dir": f"{synthetic}/t1", "twin_dir": f"{synthetic}/t2"}
    yield Row("training", *_train(place, "adaptation", "train.yaml", dataset_dir=data(place, "t2"), **values))
    yield Row("inference, scores", *_segment(place, "adaptation"))
    names = ("pretrain.yaml", "published_network.yaml", "published_pretrain.yaml")
    values = {**factory_path, "dataset_dir": data(place, "t1")}
    yield Row("published source model", *_train(place, "published_source", *names, **values))
    names = ("train.yaml", "published_network.yaml", "published.yaml")
    values = {**factory_path, "source_dir": data(place, "t1"), "dataset_dir": data(place, "t2")}
    values["source_model_path"] = f"{run_folder(place, 'published_source')}/model.pt"
    yield Row("published adaptation", *_train(place, "published", *names, **values))


def _train(place: Place, name: str, *configs: str, **values: object):
    out = run_folder(place, name)
    more = {"output_dir": out, "ckpt_path": f"{out}/model.pt", "max_epochs": 3}
    if configs[0] == "pretrain.yaml":
        more["val_interval"] = 0
    return place.run("adaptation", *configs, "smoke.yaml", **more, **values)


def segmentation(place: Place) -> Iterator[Row]:
    """Meta-learning over the synthetic domains, and segmentation with scores."""
    synthetic, out = run_folder(place, "synthetic"), run_folder(place, "segmentation")
    values = {
        "dataset_dir": [f"{synthetic}/{domain}" for domain in ("t1", "t2", "pet")],
        "domains": ["t1", "t2", "pet"],
        "labels": LABELS,
        "output_dir": out,
        "ckpt_path": f"{out}/model.pt",
        "val_interval": 0,
    }
    yield Row("training", *place.run("segmentation", "train.yaml", "smoke.yaml", **values))
    yield Row("inference, scores", *_segment(place, "segmentation"))


def _segment(place: Place, bundle: str):
    values = {
        "ckpt_path": f"{run_folder(place, bundle)}/model.pt",
        "dataset_dir": data(place, "t1"),
        "output_dir": run_folder(place, f"{bundle}_scored"),
        "labels": LABELS,
    }
    return place.run(bundle, "inference.yaml", "evaluate.yaml", "smoke.yaml", **values)
