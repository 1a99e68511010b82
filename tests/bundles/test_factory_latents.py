"""The factory bundle's latent tools from their own configs."""

from __future__ import annotations

import csv

import nibabel as nib
import pytest
import torch

from shared_components.networks.factory import load_generator
from tests.bundles.tiny import workflow


def run(config: str, factory, output_dir, **overrides) -> None:
    values = {"ckpt_path": factory / "factory.pt", "output_dir": output_dir} | overrides
    workflow("factory", config, kind=None, **values).run()


def test_directions_and_means_of_a_factory(factory, tmp_path):
    run("directions.yaml", factory, tmp_path, directions=2, domain="t2", direction_rows=[0, 3])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["directions.png", "latents.pt", "means.png"]
    found = torch.load(tmp_path / "latents.pt", weights_only=True)
    assert (
        found["means"].shape[:2] == (3, 4)
        and found["means"].shape[3] == 16
        and found["domains"] == ["t1", "t2", "pet"]
    )


def test_projection_of_a_client_is_better_than_the_mean_and_its_latents_draw_it_again(
    clients, factory, tmp_path
):
    means = {}
    for updates in (1, 40):
        out = tmp_path / str(updates)
        run("project.yaml", factory, out, dataset_dir=clients / "north", updates=updates, to_domain="t2")
        with (out / "projection.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        means[updates] = sum(float(row["mae"]) for row in rows) / len(rows)
    assert len(rows) == 6 and {row["domain"] for row in rows} == {"t1"} and means[40] < 0.8 * means[1]
    assert sorted(file.name for file in out.iterdir()) == [
        "projection.csv", "projection.pt", "test0_projection.png"
    ]  # fmt: skip
    found = torch.load(out / "projection.pt", weights_only=True)["test0"]
    image = load_generator(factory / "factory.pt").synthesis(found["w_plus"], "none").image
    assert image.shape == (6, 1, 32, 32)


def test_projection_of_a_file_as_the_domain_that_is_named(clients, factory, tmp_path):
    image = clients / "south" / "images" / "test0.nii.gz"
    assert nib.load(image).shape == (32, 28, 6)
    run(
        "project.yaml", factory, tmp_path, dataset_dir=image, image_domain="t2", slices_per_volume=2, updates=2
    )  # fmt: skip
    assert (tmp_path / "test0_projection.png").is_file()


def test_images_without_a_domain_are_one_line(clients, factory, tmp_path):
    image = clients / "south" / "images" / "test0.nii.gz"
    with pytest.raises(RuntimeError) as caught:
        run("project.yaml", factory, tmp_path, dataset_dir=image)
    assert "name the images' domain with --image_domain" in str(caught.value.__cause__)
