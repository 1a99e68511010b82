"""The factory bundle from its own configs: training, resuming, federated training, drawing volumes."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import run

from shared_components.errors import input_error_in
from shared_components.federation.federation import client_plan
from shared_components.federation.federation_file import federation_from
from shared_components.federation.local import LocalEngine
from shared_components.federation.site import Site
from shared_components.networks.factory import factory_description, load_generator
from tests.bundles.tiny import (
    BUNDLES,
    LABELS,
    SIZES,
    assert_same_run,
    changed_modules,
    config_files,
    different,
    federated_by_monai,
    kill_at,
    tensors,
    workflow,
)

LAZY = {"ada_target": 0.0, "ada_images": 64, "path_length_weight": 2.0, "r1_every": 3}


def training(clients: Path, output_dir: Path, **overrides):
    return workflow(
        "factory", "train.yaml", dataset_dir=clients / "north", output_dir=output_dir, **overrides
    )


@pytest.fixture(scope="module")
def whole(clients, tmp_path_factory) -> Path:
    """The folder of an unbroken run of three epochs of two updates."""
    folder = tmp_path_factory.mktemp("whole")
    training(clients, folder, max_epochs=3).run()
    return folder


def test_training_has_what_monai_asks_for(clients, tmp_path):
    assert not training(clients, tmp_path).check_properties()


def test_training_leaves_table_pictures_checkpoint_and_factory(factory):
    with (factory / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["update"]) for row in rows] == [("1", "2"), ("2", "4")]
    assert {"discriminator", "generator", "r1"} <= rows[0].keys()
    assert all(np.isfinite(float(rows[0][name])) for name in ("discriminator", "generator", "r1"))
    assert {path.name for path in (factory / "pictures").iterdir()} == {
        "factory_00001.png", "factory_00002.png"
    }  # fmt: skip
    assert list((factory / "tensorboard").glob("events*"))
    assert torch.load(factory / "checkpoint.pt", weights_only=True)["trainer"]["iteration"] == 4
    description = factory_description(factory / "factory.pt")
    assert description["domains"] == ["t1", "t2", "pet"] and description["labels"] == LABELS
    assert (description["spacing"], description["orientation"]) == (4.0, "RAS")
    assert description["percentiles"] == [0.5, 99.5]
    averaged = torch.load(factory / "checkpoint.pt", weights_only=True)["network"]
    exported = load_generator(factory / "factory.pt").state_dict()
    assert different({f"generator_ema.{name}": t for name, t in exported.items()},
                     {name: t for name, t in averaged.items() if name.startswith("generator_ema.")}) == []  # fmt: skip


@pytest.mark.parametrize("update", [3, 5])
def test_killed_and_resumed_equals_unbroken(clients, whole, tmp_path, update):
    kill_at(training(clients, tmp_path, max_epochs=3), update)
    assert not (tmp_path / "factory.pt").exists()
    training(clients, tmp_path, max_epochs=3, resume=True).run()
    assert_same_run(whole, tmp_path, "factory.pt")


def test_resuming_what_is_finished_changes_nothing(clients, whole, tmp_path):
    training(clients, tmp_path, max_epochs=3).run()
    (tmp_path / "factory.pt").unlink()
    training(clients, tmp_path, max_epochs=3, resume=True).run()
    assert_same_run(whole, tmp_path, "factory.pt")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"domains": ["pet", "t2", "t1"]}, "domains: "),
        ({"orientation": "LPS"}, "orientation: 'RAS', now it is 'LPS'"),
        ({"poses": True}, "poses: False, now it is True"),
    ],
)
def test_a_run_is_not_resumed_with_what_would_name_or_show_it_otherwise(clients, tmp_path, change, words):
    training(clients, tmp_path, max_epochs=1).run()
    before = (tmp_path / "factory.pt").read_bytes()
    with pytest.raises(RuntimeError) as caught:
        training(clients, tmp_path, max_epochs=2, resume=True, **change).run()
    assert f"settings.json: the run to resume had {words}" in str(input_error_in(caught.value))
    assert (tmp_path / "factory.pt").read_bytes() == before
    training(clients, tmp_path, max_epochs=2, resume=True).run()


def test_pictures_change_nothing(clients, whole, tmp_path):
    training(clients, tmp_path, max_epochs=3, picture_every=1).run()
    assert_same_run(whole, tmp_path, "factory.pt")


def test_another_seed_gives_another_factory(clients, whole, tmp_path):
    training(clients, tmp_path, max_epochs=3, seed=1).run()
    assert different(tensors(whole / "factory.pt"), tensors(tmp_path / "factory.pt"))


@pytest.mark.parametrize("frozen", [False, True])
def test_with_lazy_terms_and_augmentation_resuming_equals_an_unbroken_run(clients, tmp_path, frozen):
    values = {"max_epochs": 6, "frozen_features": frozen, **LAZY}
    training(clients, tmp_path / "whole", **values).run()
    # between two lazy terms and two adaptations
    kill_at(training(clients, tmp_path / "resumed", **values), 7)
    training(clients, tmp_path / "resumed", resume=True, **values).run()
    assert_same_run(tmp_path / "whole", tmp_path / "resumed", "factory.pt")
    state = torch.load(tmp_path / "whole/checkpoint.pt", weights_only=True)
    assert float(state["augmentation"]["p"]) > 0.1 and float(state["path_length"]["mean"]) > 0
    with (tmp_path / "whole/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["augmentation_p"]) > 0 and -1 <= float(rows[-1]["overfitting"]) <= 1


def test_label_maps_of_a_domain_that_agrees_are_drawn_beside_images(clients, tmp_path):
    training(clients, tmp_path, label_domains=["t1"]).run()
    generator = load_generator(tmp_path / "factory.pt")
    assert generator.classes == len(LABELS)
    assert generator.to_image[0].state_dict()["weight"].shape[0] == 1 + len(LABELS)


def test_twins_of_common_rows_share_their_coarse_features(clients, tmp_path):
    training(clients, tmp_path, common_rows="$2 * len(@channels) - 5", poses=True, pose_shift=0.3).run()
    generator = load_generator(tmp_path / "factory.pt")
    z, height = torch.randn(2, generator.z_dim), torch.rand(2)
    twins = [
        generator.synthesis(generator.w_plus(z, torch.full((2,), domain), height), "none")
        for domain in (0, 1)
    ]
    assert torch.equal(twins[0].features[1], twins[1].features[1])
    assert not torch.allclose(twins[0].image, twins[1].image, atol=1e-4)


FROZEN = {"frozen_features": True, "federation::shared": ["generator", "generator_ema", "discriminator"]}


@pytest.mark.parametrize("frozen", [{}, FROZEN])
def test_a_site_that_is_built_anew_goes_on_with_its_augmentation_which_is_not_exchanged(
    clients, tmp_path, frozen
):
    content = {
        "name": "alone", "bundle": str(BUNDLES / "factory"), "domains": ["t1", "t2", "pet"], "labels": LABELS,
        "configs": ["common.yaml", "train.yaml", "smoke.yaml"], "overrides": SIZES | LAZY | frozen, "seed": 5,
        "clients": {"north": {"data_root": str(clients / "north"), "domain": "t1"}},
        "rounds": 5, "updates_per_round": 2, "workers": 0, "output_dir": str(tmp_path),
        "exchange": {"what": "weights"},  # nothing rounded
    }  # fmt: skip
    plan = client_plan(federation_from(content, source=Path("alone.yaml")), "north")
    kept = Site(plan)
    kept.build(0)
    weights, third, ended = kept.shared_weights(), None, None
    for number in range(1, 6):
        ended = kept.train(number, number - 1, weights)
        kept.remember(number)
        third = weights if number == 4 else third
        weights = ended.weights
    anew = Site(plan)
    again = anew.train(4, 3, third)
    anew.remember(4)
    again = anew.train(5, 4, again.weights)
    assert different(ended.weights, again.weights) == []
    assert ended.values["augmentation_p"] == again.values["augmentation_p"] > 0
    assert not any("augmentation" in name for name in ended.weights)
    assert not any("features" in name for name in ended.weights)
    critic = {name.split(".")[1] for name in ended.weights if name.startswith("discriminator.")}
    assert critic == ({"heads", "condition", "fingerprint"} if frozen else set())


def test_federation_of_one_equals_plain_training(clients, tmp_path):
    values = SIZES | {"seed": 5, "picture_every": 1}
    plain = tmp_path / "plain"
    run(
        config_file=config_files("factory", "train.yaml"), bundle_root=str(BUNDLES / "factory"),
        dataset_dir=str(clients / "north"), output_dir=str(plain), max_epochs=3, **values,
    )  # fmt: skip
    del values["seed"]
    content = {
        "name": "alone", "bundle": str(BUNDLES / "factory"), "domains": ["t1", "t2", "pet"], "labels": LABELS,
        "configs": ["common.yaml", "train.yaml", "smoke.yaml"], "overrides": values, "seed": 5,
        "clients": {"north": {"data_root": str(clients / "north"), "domain": "t1"}},
        "rounds": 3, "updates_per_round": 2, "workers": 0, "output_dir": str(tmp_path / "federation"),
        "exchange": {"what": "weights"},  # nothing rounded
    }  # fmt: skip
    folder = LocalEngine(federation_from(content, source=Path("alone.yaml")), quiet=True).run()
    network = torch.load(plain / "checkpoint.pt", weights_only=True)["network"]
    shared = tensors(folder / "global.pt")
    assert changed_modules(network, shared) == set() and {name.split(".")[0] for name in shared} == {
        "generator", "generator_ema"
    }  # fmt: skip
    assert different(tensors(plain / "factory.pt"), tensors(folder / "factory.pt")) == []
    assert (plain / "metrics.csv").read_text() == (folder / "clients/north/metrics.csv").read_text()


def test_monai_algo_trains_two_rounds(clients, tmp_path):
    before, after, updates = federated_by_monai(
        "factory", "train.yaml", dataset_dir=clients / "north", output_dir=tmp_path
    )
    assert updates == 4
    assert changed_modules(before, after) == {"generator", "generator_ema", "discriminator"}
    assert all(tensor.isfinite().all() for tensor in after.values())


# --- drawing volumes -----------------------------------------------------------------------------------------------


def drawing(factory: Path, output_dir: Path, **overrides):
    values = {"ckpt_path": factory / "factory.pt", "output_dir": output_dir, "domain": "t2", "volumes": 2}
    values |= {"slices": 5, "dataset_dir": "unused"} | overrides
    return workflow("factory", "inference.yaml", kind="inference", **values)


def test_drawing_has_what_monai_asks_for(factory, tmp_path):
    assert not drawing(factory, tmp_path).check_properties()


def test_draws_named_volumes_in_space(factory, tmp_path):
    drawing(factory, tmp_path).run()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["t2_0000_synthetic.nii.gz", "t2_0001_synthetic.nii.gz"]
    for file in files:
        image = nib.load(file)
        assert image.shape == (32, 32, 5) and nib.aff2axcodes(image.affine) == ("R", "A", "S")
        np.testing.assert_allclose(image.header.get_zooms(), (4.0, 4.0, 5.0))
        assert np.abs(image.get_fdata()).max() <= 1 and image.get_fdata().std() > 0


def test_pixels_that_are_no_squares_keep_their_two_sizes(clients, tmp_path):
    training(clients, tmp_path, max_epochs=1, spacing=[4.0, 5.0]).run()
    assert factory_description(tmp_path / "factory.pt")["spacing"] == [4.0, 5.0]
    drawing(tmp_path, tmp_path / "drawn", volumes=1).run()
    image = nib.load(tmp_path / "drawn/t2_0000_synthetic.nii.gz")
    np.testing.assert_allclose(image.header.get_zooms(), (4.0, 5.0, 5.0))


def test_a_volume_depends_on_seed_number_and_domain_alone(factory, tmp_path):
    drawing(factory, tmp_path / "two").run()
    drawing(factory, tmp_path / "second", first=1, volumes=1).run()
    drawing(factory, tmp_path / "seed", seed=1).run()
    drawing(factory, tmp_path / "domain", domain="t1").run()
    drawn = (tmp_path / "two/t2_0001_synthetic.nii.gz").read_bytes()
    assert drawn == (tmp_path / "second/t2_0001_synthetic.nii.gz").read_bytes()
    assert drawn != (tmp_path / "seed/t2_0001_synthetic.nii.gz").read_bytes()
    assert drawn != (tmp_path / "domain/t1_0001_synthetic.nii.gz").read_bytes()


def test_truncation_and_directions_change_what_is_drawn_and_their_defaults_do_not(factory, tmp_path):
    volumes = {"volumes": 1, "slices": 9}
    changes = {"plain": {}, "mean": {"truncation": 0.0}, "step": {"direction": 0, "strength": 0.5}}
    changes |= {"none": {"truncation": 1.0, "direction": 3, "strength": 0.0}}
    drawn = {}
    for name, options in changes.items():
        drawing(factory, tmp_path / name, **volumes, **options).run()
        drawn[name] = nib.load(tmp_path / name / "t2_0000_synthetic.nii.gz").get_fdata()
    plain = drawn.pop("plain")
    assert plain.shape == (32, 32, 9) and np.array_equal(drawn.pop("none"), plain)
    assert all(np.abs(volume - plain).max() > 1e-3 for volume in drawn.values())


# --- faults --------------------------------------------------------------------------------------------------------


def test_a_fault_of_the_input_is_one_line_on_the_command_line(tmp_path):
    names = [str(Path(file).relative_to(BUNDLES.parent)) for file in config_files("factory", "train.yaml")]
    ended = subprocess.run(
        [
            sys.executable, "-m", "monai.bundle", "run", "--config_file", str(names),
            "--bundle_root", "bundles/factory", "--dataset_dir", str(tmp_path), "--output_dir", str(tmp_path),
        ],
        cwd=BUNDLES.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ") and str(tmp_path / "dataset.json") in last
