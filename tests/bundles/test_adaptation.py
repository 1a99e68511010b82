"""The adaptation bundle from its own configs: from a factory to segmentations, resuming, federated training."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections import defaultdict
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow

from shared_components.data.check import check_client_root
from shared_components.errors import input_error_in
from shared_components.federation.federation_file import federation_from
from shared_components.federation.local import LocalEngine
from shared_components.networks.factory import export_generator, factory_description
from shared_components.networks.flips import MirrorDisagreement
from shared_components.networks.generator import Generator
from shared_components.records import read_table
from tests.bundles.tiny import (
    BUNDLES,
    LABELS,
    SIZES,
    assert_same_run,
    changed_modules,
    different,
    federated_by_monai,
    kill_at,
    make_root,
    tensors,
    workflow,
)


def pretraining(clients: Path, output_dir: Path, **overrides) -> ConfigWorkflow:
    values = {"dataset_dir": clients / "north", "output_dir": output_dir, "max_epochs": 3}
    values |= {"ckpt_path": output_dir / "model.pt", "val_interval": 2}
    return workflow("adaptation", "pretrain.yaml", **(values | overrides))


def adaptation_values(clients: Path, source: Path, synthetic: Path, output_dir: Path) -> dict:
    return {
        "dataset_dir": clients / "south", "output_dir": output_dir, "ckpt_path": output_dir / "model.pt",
        "source_model_path": source / "model.pt", "source_dir": synthetic / "t1",
        "twin_dir": synthetic / "t2",
    }  # fmt: skip


@pytest.fixture
def adaptation(clients, source, synthetic):
    """Makes an adaptation workflow of three phases of two updates that writes to a folder."""

    def make(output_dir: Path, *more: str, **overrides) -> ConfigWorkflow:
        values = adaptation_values(clients, source, synthetic, output_dir)
        return workflow("adaptation", "train.yaml", *more, **(values | overrides))

    return make


@pytest.fixture(scope="module")
def adapted(clients, source, synthetic, tmp_path_factory) -> Path:
    """The folder of an unbroken adaptation."""
    folder = tmp_path_factory.mktemp("adapted")
    values = adaptation_values(clients, source, synthetic, folder)
    workflow("adaptation", "train.yaml", **values, picture_every=1).run()
    return folder


@pytest.fixture(scope="module")
def pretrained(clients, tmp_path_factory) -> Path:
    """The folder of an unbroken pre-training of three epochs."""
    folder = tmp_path_factory.mktemp("pretrained")
    pretraining(clients, folder).run()
    return folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    return read_table(folder / "metrics.csv", "train again")


# --- source model ----------------------------------------------------------------------------------------------------


def test_pretraining_has_what_monai_asks_for(clients, tmp_path):
    assert not pretraining(clients, tmp_path).check_properties()


def test_pretraining_leaves_table_checkpoint_and_model(source):
    first, second = rows_of(source)
    assert float(first["loss"]) > 0 and first["validation_dice"] == ""
    assert 0 <= float(second["validation_dice"]) <= 1
    assert list((source / "tensorboard").glob("events*"))
    exported = torch.load(source / "model.pt", weights_only=True)
    checkpoint = torch.load(source / "checkpoint.pt", weights_only=True)
    kept = {f"average.module.{name}": tensor for name, tensor in exported["model"].items()}
    trained = {name.replace("average.module", "trained"): tensor for name, tensor in kept.items()}
    network = checkpoint["network"]
    assert int(network["average.n_averaged"]) == 4 and network.keys() == {
        *kept,
        *trained,
        "average.n_averaged",
    }
    assert different(kept, {name: network[name] for name in kept}) == []
    assert different(trained, {name: network[name] for name in trained})  # an average swings less
    assert exported["description"] == {
        "domains": ["t1", "t2", "pet"], "labels": LABELS, "spacing": 4.0, "orientation": "RAS"
    }  # fmt: skip


def test_validation_scores_what_the_network_says(clients, source):
    flow = pretraining(clients, source, max_epochs=2)
    network = flow.parser.get_parsed_content("result")
    network.load_state_dict(tensors(source / "model.pt"))
    flow.parser.get_parsed_content("validate::evaluator").run()
    dataset = flow.parser.get_parsed_content("validate::dataset")
    network.eval()
    volumes = defaultdict(list)
    for item in (dataset[i] for i in range(len(dataset))):
        with torch.no_grad():
            found = network(item["image"][None]).argmax(dim=1)[0] == 1
        volumes[int(item["volume"])].append(torch.stack([found, item["label"][0] == 1]))
    pairs = [torch.stack(slices).unbind(1) for slices in volumes.values()]
    scores = [float(2 * (found & true).sum() / (found.sum() + true.sum())) for found, true in pairs]
    assert float(rows_of(source)[1]["validation_dice"]) == pytest.approx(np.mean(scores), abs=1e-5)


def test_pretraining_balances_classes_when_asked(clients, tmp_path):
    flow = pretraining(clients, tmp_path, class_weights="balanced", rare_per_batch=2)
    flow.run()
    background, brain = flow.parser.get_parsed_content("loss").cross_entropy.weight.tolist()
    assert brain > 1 > background and background + brain == pytest.approx(2)
    dataset = flow.parser.get_parsed_content("train::dataset")
    for batch in flow.parser.get_parsed_content("train::dataloader").batch_sampler:
        assert all(bool((dataset[number]["label"] == 1).any()) for number in batch[:2])
    assert (tmp_path / "model.pt").is_file()


def test_labels_of_slices_that_nobody_annotated_are_not_looked_at(clients, tmp_path):
    """Trained and validated weights are the same, whatever the label maps hold there."""
    weights, dices = [], []
    for filling in (0, 1):
        root = shutil.copytree(clients / "north", tmp_path / f"root{filling}")
        content = json.loads((root / "dataset.json").read_text())
        for entry in [*content["training"], *content["validation"]]:
            entry["annotated"] = [2, 3]
            label = nib.load(root / entry["label"])
            voxels = np.asarray(label.dataobj).copy()
            voxels[..., [0, 1, 4, 5]] = filling
            nib.save(nib.Nifti1Image(voxels, label.affine), root / entry["label"])
        (root / "dataset.json").write_text(json.dumps(content))
        output = tmp_path / f"run{filling}"
        flow = pretraining(clients, output, dataset_dir=root, max_epochs=2)
        flow.run()
        flow.finalize()
        weights.append(tensors(output / "model.pt"))
        dices.append(rows_of(output)[1]["validation_dice"])
    assert different(*weights) == [] and dices[0] == dices[1] != ""


@pytest.mark.parametrize("update", [3, 5])
def test_killed_pretraining_resumes_exactly(clients, pretrained, tmp_path, update):
    kill_at(pretraining(clients, tmp_path), update)
    pretraining(clients, tmp_path, resume=True).run()
    assert_same_run(pretrained, tmp_path, "model.pt")


def test_validation_changes_nothing_and_can_be_left_out(clients, pretrained, tmp_path):
    root = shutil.copytree(clients / "north", tmp_path / "north")
    content = json.loads((root / "dataset.json").read_text()) | {"validation": []}
    (root / "dataset.json").write_text(json.dumps(content))
    pretraining(clients, tmp_path, dataset_dir=root, val_interval=0).run()
    assert different(tensors(pretrained / "model.pt"), tensors(tmp_path / "model.pt")) == []
    assert "validation_dice" not in rows_of(tmp_path)[0]


def test_the_learning_rate_decays_over_the_epochs(pretrained):
    state = torch.load(pretrained / "checkpoint.pt", weights_only=True)
    group = state["optimizer"]["param_groups"][0]
    assert group["lr"] == pytest.approx(
        group["initial_lr"] * (1 + math.cos(math.pi * 2 / 3)) / 2
    )  # of the third


# --- synthetic volumes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", ["t1", "t2", "pet"])
def test_synthesis_writes_sound_client_roots(synthetic, domain):
    assert check_client_root(synthetic / domain, labels=LABELS, domains=["t1", "t2", "pet"]) == []
    assert json.loads((synthetic / domain / "dataset.json").read_text())["domain"] == domain


def test_twins_share_labels_but_not_looks(synthetic):
    names = {path.name for path in (synthetic / "t1/images").iterdir()}
    assert names == {"synthetic_0000.nii.gz", "synthetic_0001.nii.gz"}
    for name in names:
        first, second = (nib.load(synthetic / domain / "images" / name) for domain in ("t1", "t2"))
        assert np.array_equal(first.affine, second.affine)
        assert not np.array_equal(first.get_fdata(), second.get_fdata())
        labels = [(synthetic / domain / "labels" / name).read_bytes() for domain in ("t1", "t2")]
        assert labels[0] == labels[1]


def test_labels_are_what_the_source_model_says(source, synthetic):
    flow = workflow("adaptation", "synthesize.yaml", kind=None, source_model_path=source / "model.pt")
    model = flow.parser.get_parsed_content("source_model").eval()
    image = nib.load(synthetic / "t1/images/synthetic_0001.nii.gz").get_fdata(dtype=np.float32)
    label = np.asarray(nib.load(synthetic / "t1/labels/synthetic_0001.nii.gz").dataobj)
    with torch.no_grad():
        found = model(torch.from_numpy(image).movedim(-1, 0)[:, None]).argmax(1).movedim(0, -1)
    assert np.mean(found.numpy() == label) > 0.999


def test_a_factory_that_draws_label_maps_needs_no_source_model(factory, tmp_path):
    description = factory_description(factory / "factory.pt")
    torch.manual_seed(0)
    drawing = Generator(**{**description["generator"], "classes": len(description["labels"])})
    known = {key: description[key] for key in ("domains", "labels", "spacing", "orientation")}
    export_generator(drawing, tmp_path / "factory.pt", **known)
    workflow(
        "adaptation", "synthesize.yaml", kind=None, factory_path=tmp_path / "factory.pt", labels_from="factory",
        source_model_path=tmp_path / "nowhere.pt", output_dir=tmp_path / "out", progress=False, volumes=1,
    ).run()  # fmt: skip
    assert not check_client_root(tmp_path / "out" / "t1")


def test_a_model_or_a_factory_of_another_geometry_draws_nothing(factory, source, tmp_path):
    torch.save(torch.load(source / "model.pt", weights_only=True)["model"], tmp_path / "bare.pt")
    values = {"factory_path": factory / "factory.pt", "output_dir": tmp_path / "out", "progress": False}
    for model, labels in (
        (source / "model.pt", {0: "background", 1: "tumour"}),
        (tmp_path / "bare.pt", None),
    ):
        more = {"labels": labels} if labels else {"spacing": [4.0, 5.0]}
        flow = workflow("adaptation", "synthesize.yaml", kind=None, source_model_path=model, **values, **more)
        with pytest.raises(RuntimeError) as caught:
            flow.run()
        told = str(input_error_in(caught.value))
        assert (
            "model.pt: trained with labels" if labels else "spacing: expected 4.0, with which the"
        ) in told
        assert not (tmp_path / "out").exists()


def test_same_seed_same_bytes(factory, source, synthetic, tmp_path):
    for seed in (0, 1):
        workflow(
            "adaptation", "synthesize.yaml", kind=None, factory_path=factory / "factory.pt", seed=seed,
            source_model_path=source / "model.pt", output_dir=tmp_path / str(seed), progress=False,
            twin_domains=["t2"],
        ).run()  # fmt: skip
    assert {path.name for path in (tmp_path / "0").iterdir()} == {"t1", "t2"}
    files = sorted(path.relative_to(tmp_path / "0") for path in (tmp_path / "0").rglob("*") if path.is_file())
    assert len(files) == 10
    assert all((tmp_path / "0" / file).read_bytes() == (synthetic / file).read_bytes() for file in files)
    images = [file for file in files if file.parent.name == "images"]
    assert all((tmp_path / "1" / file).read_bytes() != (synthetic / file).read_bytes() for file in images)


def test_twins_of_one_model_are_compared_and_shown(factory, source, tmp_path):
    workflow(
        "adaptation", "twins.yaml", kind=None, factory_path=factory / "factory.pt", output_dir=tmp_path,
        source_model_path=source / "model.pt", ckpt_path=source / "model.pt", volumes=2, slices=3,
    ).run()  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"twins.csv", "twins.png"}


# --- adaptation ------------------------------------------------------------------------------------------------------


def test_adaptation_has_what_monai_asks_for(adaptation, tmp_path):
    assert not adaptation(tmp_path).check_properties()


def test_self_training_alone_has_what_monai_asks_for(adaptation, tmp_path):
    flow = adaptation(tmp_path, "self_training.yaml", phases=[0, 0, 4])
    assert not flow.check_properties()


def test_adaptation_leaves_table_pictures_checkpoint_and_model(adapted, source):
    rows = rows_of(adapted)
    phases = ("translator_adversarial", "segmentation", "self_training")
    assert [[bool(row[name]) for name in phases] for row in rows] == np.eye(3, dtype=bool).tolist()
    assert {path.name for path in (adapted / "pictures").iterdir()} == {
        f"translation_{epoch:05d}.png" for epoch in (1, 2, 3)
    }  # fmt: skip
    checkpoint = torch.load(adapted / "checkpoint.pt", weights_only=True)["network"]
    exported = {f"average.module.{name}": tensor for name, tensor in tensors(adapted / "model.pt").items()}
    assert different(exported, {name: checkpoint[name] for name in exported}) == []
    assert int(checkpoint["average.n_averaged"]) == 4  # of the two phases that move the segmenter
    assert different(tensors(source / "model.pt"), tensors(adapted / "model.pt"))


@pytest.mark.parametrize(
    ("values", "stride"),
    [
        ({"image_size": 34}, 4),
        ({"image_size": 36, "downsampling": 8}, 8),
        ({"image_size": 36, "translator_channels": [4] * 4, "phases": [1, 1, 1]}, 8),
    ],
)
def test_an_image_size_that_the_strides_do_not_divide_is_refused_before_training(
    clients, adaptation, tmp_path, values, stride
):
    flows = [adaptation(tmp_path, **values)]
    if "phases" not in values:
        flows.append(pretraining(clients, tmp_path, **values))
    for flow in flows:
        with pytest.raises(RuntimeError) as caught:
            flow.parser.get_parsed_content("train::dataset")
        fault = f"image_size: expected a multiple of {stride} pixels, the network's total stride, found"
        assert fault in str(input_error_in(caught.value))


@pytest.mark.parametrize("update", [3, 5])
def test_killed_adaptation_resumes_exactly(adaptation, adapted, tmp_path, update):
    kill_at(adaptation(tmp_path), update)
    adaptation(tmp_path, resume=True, picture_every=1).run()
    assert_same_run(adapted, tmp_path, "model.pt")


def test_careful_self_training_resumes_exactly(adaptation, tmp_path):
    """Two rounds, mild looks of own slices, pixels that two views agree on, twins that the source model believes."""
    built = adaptation(tmp_path / "never").parser
    every = built.get_parsed_content("train::synthetic").source
    doubts = MirrorDisagreement(built.get_parsed_content("segmenter"))([item["image"] for item in every])
    careful = {
        "phases": [0, 2, 4], "self_training_rounds": 2, "self_training_looks": "mild", "pseudo_agreement": True,
        "pseudo_confidence": 0.51, "twin_disagreement": doubts.median().item(), "own_share": 0.5,
    }  # fmt: skip
    adaptation(tmp_path / "whole", **careful).run()
    kill_at(adaptation(tmp_path / "broken", **careful), 5)
    resumed = adaptation(tmp_path / "broken", **careful, resume=True, picture_every=1)
    resumed.run()
    assert_same_run(tmp_path / "whole", tmp_path / "broken", "model.pt")
    synthetic = resumed.parser.get_parsed_content("train::synthetic")
    assert len(synthetic) == int((doubts <= doubts.median()).sum()) < len(every)
    assert not different(
        resumed.parser.get_parsed_content("network").result.state_dict(), tensors(tmp_path / "whole/model.pt")
    )


def test_self_training_alone_needs_nothing_synthetic(adaptation, source, tmp_path):
    flow = adaptation(
        tmp_path, "self_training.yaml", phases=[0, 0, 4], source_dir="absent", twin_dir="absent"
    )
    flow.run()
    assert [row.keys() for row in rows_of(tmp_path)] == [{"epoch", "update", "self_training"}] * 2
    assert different(tensors(source / "model.pt"), tensors(tmp_path / "model.pt"))


def test_a_source_model_of_another_size_is_refused(adaptation, tmp_path):
    flow = adaptation(tmp_path, segmenter_channels=[4, 8])
    with pytest.raises(RuntimeError) as caught:
        flow.run()
    assert "do not fit the configured network" in str(input_error_in(caught.value))


# --- segmentations ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def segmented(clients, adapted, tmp_path_factory) -> Path:
    """A folder with the segmentations of the unlabelled client's test volumes, scored."""
    folder = tmp_path_factory.mktemp("segmented")
    flow = workflow(
        "adaptation", "inference.yaml", "evaluate.yaml", kind="inference", dataset_dir=clients / "south",
        output_dir=folder, ckpt_path=adapted / "model.pt",
    )  # fmt: skip
    assert not flow.check_properties()
    flow.run()
    return folder


def test_segmentations_lie_on_the_grid_of_their_images(clients, segmented):
    (path,) = segmented.glob("*_seg.nii.gz")
    image, segmentation = nib.load(clients / "south/images/test0.nii.gz"), nib.load(path)
    assert path.name == "test0_seg.nii.gz" and segmentation.shape == image.shape
    assert np.array_equal(segmentation.affine, image.affine)
    assert segmentation.get_data_dtype().kind in "ui"
    assert set(np.unique(np.asarray(segmentation.dataobj))) <= set(LABELS)


def test_scores_are_those_of_the_files(clients, segmented):
    true = np.asarray(nib.load(clients / "south/labels/test0.nii.gz").dataobj) == 1
    found = np.asarray(nib.load(segmented / "test0_seg.nii.gz").dataobj) == 1
    with (segmented / "scores.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["case"], row["name"]) == ("test0", "brain")
    assert float(row["dice"]) == pytest.approx(
        2 * (true & found).sum() / (true.sum() + found.sum()), abs=1e-4
    )


# --- federated -------------------------------------------------------------------------------------------------------


def test_monai_algo_pretrains_two_rounds(clients, tmp_path):
    before, after, updates = federated_by_monai(
        "adaptation", "pretrain.yaml", dataset_dir=clients / "north", output_dir=tmp_path
    )
    assert updates == 4
    assert any(not torch.equal(before[name], after[name]) for name in after)
    assert all(tensor.isfinite().all() for tensor in after.values())


def test_monai_algo_adapts_two_rounds(clients, source, synthetic, tmp_path):
    values = adaptation_values(clients, source, synthetic, tmp_path)
    before, after, updates = federated_by_monai("adaptation", "train.yaml", **values)
    assert updates == 4  # the phases of translation and segmentation
    assert changed_modules(before, after) == {"segmenter", "average", "translator", "discriminator"}


def test_labelled_clients_pretrain_in_a_federation(clients, tmp_path):
    roots = clients / "north", make_root(tmp_path / "west", "t1", seed=3)
    north, west = ({"data_root": str(root), "domain": "t1"} for root in roots)
    content = {
        "name": "sources", "bundle": str(BUNDLES / "adaptation"), "domains": ["t1", "t2", "pet"],
        "labels": LABELS, "configs": ["common.yaml", "pretrain.yaml", "smoke.yaml"], "overrides": SIZES,
        "clients": {"north": north, "west": west}, "rounds": 2, "updates_per_round": 2, "workers": 0,
        "output_dir": str(tmp_path / "run"),
    }  # fmt: skip
    folder = LocalEngine(federation_from(content, source=Path("sources.yaml")), quiet=True).run()
    exchanged = tensors(folder / "global.pt")
    exported = {
        f"average.module.{name}": tensor for name, tensor in tensors(folder / "adaptation.pt").items()
    }
    assert different(exported, {name: exchanged[name] for name in exported}) == []
    assert {name.split(".")[0] for name in exchanged} == {"trained", "average"}
    assert "loss" in rows_of(folder / "clients/west")[1]


def test_protected_rounds_average_as_others_do_and_resume(clients, tmp_path):
    """Noise leaves counters alone; so little of it, and a clip beyond every difference, change nothing else."""
    content = {
        "name": "sources", "bundle": str(BUNDLES / "adaptation"), "domains": ["t1", "t2", "pet"],
        "labels": LABELS, "configs": ["common.yaml", "pretrain.yaml", "smoke.yaml"],
        "overrides": {**SIZES, "train::handlers::3::epochs": 3},  # a shorter run decays as slowly
        "clients": {"north": {"data_root": str(clients / "north"), "domain": "t1"}}, "updates_per_round": 2,
        "min_clients": 1, "workers": 0, "exchange": {"dtype": "float32", "down": "float32"},
    }  # fmt: skip

    def run(name: str, rounds: int = 3, resume: bool = False, **changes) -> dict[str, torch.Tensor]:
        values = {**content, "output_dir": str(tmp_path / name), "rounds": rounds, **changes}
        engine = LocalEngine(federation_from(values, source=Path("sources.yaml")), quiet=True)
        return tensors(engine.run(resume=resume) / "global.pt")

    protected = {"privacy": {"clip": 1e6, "noise": 1e-13}}
    plain, kept = run("plain"), run("protected", **protected)
    assert (int(plain["average.n_averaged"]), int(kept["average.n_averaged"])) == (6, 0)
    averages = [
        n for n in plain if n.startswith("average.module") and n.endswith("weight")
    ]  # no bias before a norm
    lag = max(float((plain[n] - plain[n.replace("average.module", "trained")]).abs().max()) for n in averages)
    gap = max(float((plain[name] - kept[name]).abs().max()) for name in averages)
    assert gap < 0.01 * lag, "the averages of both differ"
    clipped = run("clipped", privacy={"clip": 1e6})
    assert int(clipped["average.n_averaged"]) == 6 and different(clipped, plain) == []
    run("broken", rounds=2, privacy={"clip": 1e6})
    assert different(run("broken", resume=True, privacy={"clip": 1e6}), clipped) == []
