"""Every bundle at its smoke sizes, through its configs: training, inference, and several clients on one device."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from shared_components.benchmarks import BUNDLES
from shared_components.benchmarks.gpu.place import CheckedPart, CheckPlace
from shared_components.benchmarks.tables import read_table
from shared_components.data.phantoms import make_heads
from shared_components.federation.federation_file import federation_from
from shared_components.federation.local import make_engine
from shared_components.metrics import score_segmentations  # noqa: F401 - imported by evaluate.yaml, not timed

LABELS = {0: "background", 1: "brain"}
DOMAINS = ("t1", "t2", "pet")
SMALL = {
    **{"image_size": 32, "channels": [8, 8, 8, 8], "discriminator_channels": [8, 8, 8, 8]},
    **{"z_dim": 16, "w_dim": 16, "growth": {}},
}
LARGE = {
    **{"image_size": 64, "spacing": 3.4, "growth": {}, "z_dim": 512, "w_dim": 512},
    **{"channels": [352, 352, 352, 224, 112], "discriminator_channels": [352, 352, 352, 224, 112]},
}


def data(place: CheckPlace, domain: str) -> str:
    """The phantoms' data root of a domain."""
    return str(place.folder / "data" / domain)


def run_folder(place: CheckPlace, name: str) -> str:
    """The output folder of a run."""
    return str(place.folder / "runs" / name)


def phantoms(place: CheckPlace) -> Iterator[CheckedPart]:
    """Heads of three domains, which the other steps train on."""
    coarseness = 3.0 if place.smoke else 2.0
    cost = place.cost(
        lambda: make_heads(
            place.folder / "data", subjects=(2, 1, 1), workers=1, coarseness=coarseness, force=True
        )
    )
    yield CheckedPart("12 heads", cost.seconds)


def factory(place: CheckPlace) -> Iterator[CheckedPart]:
    """Train on one client's slices, draw volumes, audit."""
    out, drawn = run_folder(place, "factory"), run_folder(place, "drawn")
    weights = {"ckpt_path": f"{out}/factory.pt"}
    roots = {"dataset_dir": data(place, "t1")}
    names = ("train.yaml", "smoke.yaml")
    yield CheckedPart("training", *place.run("factory", *names, **roots, output_dir=out))
    fast = {"amp": True, "channels_last": True}
    yield CheckedPart(
        "training, bfloat16, channels last",
        *place.run("factory", *names, **roots, **fast, output_dir=f"{out}_fast"),
    )
    yield CheckedPart(
        "drawing",
        *place.run("factory", "inference.yaml", "smoke.yaml", **weights, output_dir=drawn, volumes=2),
    )
    values = {**roots, **weights, "output_dir": run_folder(place, "audit"), "drawn": 20, "stacks": 2}
    yield CheckedPart("audit", *place.run("factory", "audit.yaml", "smoke.yaml", **values))


def adaptation(place: CheckPlace) -> Iterator[CheckedPart]:
    """The source model, synthetic volumes, the adaptation, the published one, segmentation with scores."""
    factory_path = {
        "factory_path": f"{run_folder(place, 'factory')}/factory.pt",
        "injection_resolutions": [8],
    }
    source, synthetic = run_folder(place, "source"), run_folder(place, "synthetic")
    yield CheckedPart(
        "source model", *_train(place, "source", "pretrain.yaml", dataset_dir=data(place, "t1"))
    )
    model = {"source_model_path": f"{source}/model.pt"}
    values = {
        "factory_path": factory_path["factory_path"],
        **model,
        "output_dir": synthetic,
        "progress": False,
    }
    yield CheckedPart("synthesis", *place.run("adaptation", "synthesize.yaml", "smoke.yaml", **values))
    values = {**model, "source_dir": f"{synthetic}/t1", "twin_dir": f"{synthetic}/t2"}
    yield CheckedPart(
        "training", *_train(place, "adaptation", "train.yaml", dataset_dir=data(place, "t2"), **values)
    )
    yield CheckedPart("inference, scores", *_segment(place, "adaptation"))
    names = ("pretrain.yaml", "published_network.yaml", "published_pretrain.yaml")
    values = {**factory_path, "dataset_dir": data(place, "t1")}
    yield CheckedPart("published source model", *_train(place, "published_source", *names, **values))
    names = ("train.yaml", "published_network.yaml", "published.yaml")
    values = {**factory_path, "source_dir": data(place, "t1"), "dataset_dir": data(place, "t2")}
    values["source_model_path"] = f"{run_folder(place, 'published_source')}/model.pt"
    yield CheckedPart("published adaptation", *_train(place, "published", *names, **values))


def _train(place: CheckPlace, name: str, *configs: str, **values: object):
    out = run_folder(place, name)
    more = {"output_dir": out, "ckpt_path": f"{out}/model.pt", "max_epochs": 3}
    if configs[0] == "pretrain.yaml":
        more["val_interval"] = 0
    return place.run("adaptation", *configs, "smoke.yaml", **more, **values)


def segmentation(place: CheckPlace) -> Iterator[CheckedPart]:
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
    yield CheckedPart("training", *place.run("segmentation", "train.yaml", "smoke.yaml", **values))
    yield CheckedPart("inference, scores", *_segment(place, "segmentation"))


def _segment(place: CheckPlace, bundle: str):
    values = {
        "ckpt_path": f"{run_folder(place, bundle)}/model.pt",
        "dataset_dir": data(place, "t1"),
        "output_dir": run_folder(place, f"{bundle}_scored"),
        "labels": LABELS,
    }
    return place.run(bundle, "inference.yaml", "evaluate.yaml", "smoke.yaml", **values)


def side_by_side(place: CheckPlace) -> Iterator[CheckedPart]:
    """Three clients in a process each: the slowest one's update; then in one process, by turns."""
    for workers in (3, 1) if not place.smoke else (0,):
        seconds, updates, total = _trained(place, workers)
        remark = f"the federation took {total:.1f} s, its start included"
        processes = {0: "this process", 1: "one process"}.get(workers, f"{workers} processes")
        yield CheckedPart(
            f"3 clients, {processes}: an update of the slowest", seconds / updates, remark=remark
        )


def _trained(place: CheckPlace, workers: int) -> tuple[float, int, float]:
    """Seconds of the slowest client's later rounds, updates of a round, seconds of the whole."""
    out, updates = run_folder(place, f"federation_{workers}"), 2 if place.smoke else 10
    values = {
        **{"name": "clients", "bundle": str(BUNDLES / "factory"), "domains": list(DOMAINS), "labels": LABELS},
        "clients": {name: {"data_root": data(place, name), "domain": name} for name in DOMAINS},
        **{"rounds": 3, "updates_per_round": updates, "workers": workers, "output_dir": out},
        "overrides": {"picture_every": 0, **(SMALL if place.smoke else LARGE)},
    }
    federation = federation_from(values, place.folder / "federation.yaml")
    total = place.seconds(lambda: make_engine(federation, quiet=True).run(force=True))
    rows = read_table(place.folder / "runs" / f"federation_{workers}" / "rounds.csv")
    rounds = {row["round"] for row in rows[3:]}
    slowest = [max(float(row["seconds"]) for row in rows if row["round"] == number) for number in rounds]
    return statistics.median(slowest), updates, total
