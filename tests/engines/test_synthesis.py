from __future__ import annotations

import copy

import nibabel as nib
import numpy as np
import pytest
import torch

from shared_components.data import datalist
from shared_components.data.check import check_client_root
from shared_components.engines.synthesis import (
    LatentDataset,
    WriteSyntheticd,
    label_volume,
    slice_affine,
    synthesize,
    write_volume,
)
from shared_components.errors import InputError
from shared_components.networks.generator import Generator
from shared_components.networks.volume_generator import VolumeGenerator, sample_latents

DOMAINS, LABELS = ["t1", "t2", "pet"], {0: "background", 1: "brain"}


class Threshold(torch.nn.Module):
    """Class 1 where the image is above 0."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([-image, image], dim=1)


THRESHOLD = Threshold()


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(16, 3, 4, channels=(4, 4, 4), z_dim=4, w_dim=4, mapping_layers=1, mapping_lr=0.01).eval()


def run(generator, folder, model=THRESHOLD, **changes):
    values = {"volumes": 2, "slices": 5, "spacing": 4.0, "thickness": 6.0, "progress": False} | changes
    return synthesize(generator, model, DOMAINS, LABELS, "t1", folder, **values)


def test_a_volume_is_labelled_slice_by_slice():
    volume = torch.linspace(-1, 1, 4 * 4 * 20).reshape(1, 4, 4, 20)
    label = label_volume(Threshold(), volume)
    assert label.dtype == torch.uint8 and torch.equal(label, (volume[0] > 0).to(torch.uint8))


def test_scores_that_are_nan_are_no_background():
    volume = torch.zeros(1, 4, 4, 3)
    volume[0, 1, 2, 1] = float("nan")
    with pytest.raises(InputError, match="source_model_path: its scores on synthetic slices are NaN"):
        label_volume(Threshold(), volume)


def test_a_factory_that_draws_nan_writes_nothing(generator, tmp_path):
    spoilt = copy.deepcopy(generator)
    with torch.no_grad():
        spoilt.constant.fill_(float("nan"))
    with pytest.raises(
        InputError, match=r"synthetic_0000\.nii\.gz: not written, since the factory draws NaN"
    ):
        run(spoilt, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_of_each_label_the_largest_component_is_kept():
    volume = torch.full((1, 8, 8, 4), -1.0)
    volume[0, 1:5, 1:5, 1:3], volume[0, 7, 7, 0] = 1.0, 1.0
    assert label_volume(Threshold(), volume).sum() == 33
    kept = label_volume(Threshold(), volume, largest_component=True)
    assert kept.sum() == 32 and kept[7, 7, 0] == 0


def test_writes_sound_roots_with_labels_of_the_source_look(generator, tmp_path):
    roots = run(generator, tmp_path)
    assert {name: root.name for name, root in roots.items()} == {name: name for name in DOMAINS}
    for name, root in roots.items():
        assert check_client_root(root, labels=LABELS, domains=DOMAINS) == [], name
        for number in range(2):
            file = f"synthetic_{number:04d}.nii.gz"
            source = nib.load(tmp_path / "t1/images" / file)
            label = np.asarray(nib.load(root / "labels" / file).dataobj)
            assert np.array_equal(label, source.get_fdata() > 0)
            image = nib.load(root / "images" / file)
            assert image.shape == (16, 16, 5) and np.array_equal(image.affine, source.affine)
            np.testing.assert_allclose(image.header.get_zooms(), (4.0, 4.0, 6.0))


def test_the_same_subject_whatever_else_is_drawn(generator, tmp_path):
    run(generator, tmp_path / "all", volumes=3)
    roots = run(generator, tmp_path / "some", twin_domains=["pet"])
    assert set(roots) == {"t1", "pet"}
    for name in roots:
        for file in ("images/synthetic_0001.nii.gz", "labels/synthetic_0001.nii.gz"):
            found = (tmp_path / "some" / name / file).read_bytes()
            assert found == (tmp_path / "all" / name / file).read_bytes()


def test_with_a_domain_of_single_slices_every_slice_is_another_image(generator, tmp_path):
    flat = copy.deepcopy(generator)
    flat.remember(torch.tensor([1]), torch.tensor([torch.nan]))
    with torch.no_grad():
        flat.condition.linear.weight[:, 3:].zero_()  # heights that change nothing
    stacks = run(flat, tmp_path / "stacks", twin_domains=["pet"])
    separate = run(flat, tmp_path / "separate", twin_domains=["t2"])
    for folder, alike in ((stacks["t1"], True), (separate["t1"], False), (separate["t2"], False)):
        volume = torch.from_numpy(nib.load(folder / "images/synthetic_0000.nii.gz").get_fdata())
        assert (float(volume.diff(dim=-1).abs().max()) < 1e-5) == alike
    assert check_client_root(separate["t2"], labels=LABELS, domains=DOMAINS) == []


def test_validation_subjects_are_further_ones(generator, tmp_path):
    roots = run(generator, tmp_path / "more", validation=1)
    fewer = run(generator, tmp_path / "fewer")
    for name, root in roots.items():
        splits = {split: datalist(root, split, labelled=True) for split in ("training", "validation")}
        names = {split: [item["subject"] for item in items] for split, items in splits.items()}
        assert names == {"training": ["synthetic_0000", "synthetic_0001"], "validation": ["synthetic_0002"]}
        assert datalist(fewer[name], "validation") == []


@pytest.mark.parametrize("changes", [{"twin_domains": ["ct"]}, {"twin_domains": ["t2", "ct"]}])
def test_an_unknown_domain_is_refused_before_anything_is_written(generator, tmp_path, changes):
    with pytest.raises(InputError, match=r"domain 'ct': the factory knows t1, t2, pet"):
        run(generator, tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_a_domain_cannot_lead_out_of_the_folder(generator, tmp_path):
    domains = ["t1", "../../outside", "pet"]
    with pytest.raises(InputError, match=r"\.\./\.\./outside: leaves"):
        synthesize(generator, THRESHOLD, domains, LABELS, "t1", tmp_path / "a" / "b", volumes=1, slices=3,
                   spacing=4.0, thickness=6.0, progress=False)  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_a_factory_that_draws_label_maps_needs_no_model(tmp_path):
    torch.manual_seed(0)
    factory = Generator(
        16, 3, 4, channels=(4, 4, 4), z_dim=4, w_dim=4, mapping_layers=1, mapping_lr=0.01, classes=2
    ).eval()
    values = {"volumes": 1, "slices": 5, "spacing": 4.0, "thickness": 6.0, "progress": False}
    roots = synthesize(factory, None, DOMAINS, LABELS, "t1", tmp_path, **values)
    drawn = VolumeGenerator(factory, 0, 5).labelled(sample_latents(1, 4, 0)[0])[1]
    for root in roots.values():
        assert check_client_root(root) == []
        label = np.asarray(nib.load(root / "labels/synthetic_0000.nii.gz").dataobj)
        assert np.array_equal(label, drawn.numpy()) and 0 < label.mean() < 1


def test_drawn_label_maps_of_another_meaning_are_refused(generator, tmp_path):
    turned = {0: "brain", 1: "background"}
    with pytest.raises(InputError, match="labels: expected those of the factory's label maps"):
        run(generator, tmp_path, model=None, factory_labels=turned)
    assert not list(tmp_path.iterdir())


def test_without_a_model_a_factory_must_draw_label_maps(generator, tmp_path):
    with pytest.raises(InputError, match="draws no label maps; train it with label_domains"):
        run(generator, tmp_path, model=None)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "ASL"])
def test_axes_steps_and_centre_of_the_affine(orientation):
    affine = slice_affine(2.0, 5.0, orientation, (10, 8, 6))
    assert nib.aff2axcodes(affine) == tuple(orientation)
    np.testing.assert_allclose(nib.affines.voxel_sizes(affine), (2.0, 2.0, 5.0))
    np.testing.assert_allclose(nib.affines.apply_affine(affine, (4.5, 3.5, 2.5)), 0, atol=1e-12)


@pytest.mark.parametrize("orientation", ["RAS", "PIR"])
def test_two_pixel_sizes_are_those_of_the_first_and_the_second_axis(orientation):
    affine = slice_affine([2.0, 3.0], 5.0, orientation, (10, 8, 6))
    np.testing.assert_allclose(nib.affines.voxel_sizes(affine), (2.0, 3.0, 5.0))
    np.testing.assert_allclose(nib.affines.apply_affine(affine, (4.5, 3.5, 2.5)), 0, atol=1e-12)


@pytest.mark.parametrize("orientation", [None, "native"])
def test_what_is_not_known_counts_as_1_mm_and_ras(orientation):
    found = slice_affine(None, 3.0, orientation, (4, 4, 2))
    np.testing.assert_array_equal(found, slice_affine(1.0, 3.0, "RAS", (4, 4, 2)))


def test_volumes_are_written_in_mm(tmp_path):
    affine = slice_affine(2.0, 5.0, "LPS", (3, 4, 5))
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    image = nib.load(write_volume(tmp_path / "new" / "v.nii.gz", array, affine))
    np.testing.assert_array_equal(image.get_fdata(), array)
    np.testing.assert_allclose(image.affine, affine)
    assert image.header.get_xyzt_units()[0] == "mm" and image.get_data_dtype() == np.float32


def test_same_volume_same_bytes(tmp_path):
    array = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    files = [write_volume(tmp_path / name / "v.nii.gz", array, np.eye(4)) for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_latents_depend_on_seed_and_number_alone():
    whole, part = LatentDataset("t1", 4, z_dim=6), LatentDataset("t2", 2, z_dim=6, first=2)
    assert (len(whole), len(part)) == (4, 2)
    assert torch.equal(whole[3]["image"], part[1]["image"])
    assert (whole[3]["case"], part[1]["case"]) == ("t1_0003", "t2_0003")
    others = [LatentDataset("t1", 4, z_dim=6, seed=1)[3]["image"], whole[2]["image"]]
    assert not any(torch.equal(whole[3]["image"], other) for other in others)


def test_latents_are_standard_normal_and_draw_nothing_from_outside():
    state = torch.get_rng_state()
    latents = torch.stack([LatentDataset("t1", 50, z_dim=100)[n]["image"] for n in range(50)])
    assert torch.equal(state, torch.get_rng_state())
    assert abs(latents.mean()) < 0.05 and abs(latents.std() - 1) < 0.05


@pytest.mark.parametrize(("volumes", "first"), [(0, 0), (2, -1)])
def test_numbers_that_make_no_sense_are_refused(volumes, first):
    with pytest.raises(InputError, match="volumes: expected at least 1, from 0 on"):
        LatentDataset("t1", volumes, z_dim=2, first=first)


def test_writer_names_the_file_after_the_case(tmp_path):
    pred = torch.rand(1, 4, 4, 3) * 2 - 1
    data = WriteSyntheticd(tmp_path, 2.0, 5.0, "RAS")({"pred": pred, "case": "t2_0007"})
    image = nib.load(tmp_path / "t2_0007_synthetic.nii.gz")
    assert data["path"] == str(tmp_path / "t2_0007_synthetic.nii.gz")
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), pred[0].numpy())
