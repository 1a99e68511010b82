"""Hearts: four scanners, three labels, three labelled slices."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from shared_components.data.phantoms import cardiac, make_cardiac
from shared_components.data.phantoms.cardiac_anatomy import BLOOD, LABELS, MYOCARDIUM, TISSUES, draw_anatomy
from shared_components.data.phantoms.cases import Case

COARSE = 2.0
SUBJECTS = {"A": (2, 1, 2), "B": (2, 1, 1), "C": (4, 1, 1), "D": (0, 0, 1)}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    out = tmp_path_factory.mktemp("cardiac")
    made = make_cardiac(out, subjects=SUBJECTS, workers=1, coarseness=COARSE)
    return {root.name: root for root in made}


def _content(root) -> dict:
    return json.loads((root / "dataset.json").read_text())


def _case(domain: str, index: int = 0) -> Case:
    return Case(cardiac.SCENARIO, domain, "training", index, seed=0, coarseness=COARSE)


def test_labels_are_uneven(roots):
    labelled = {
        name: sum("label" in item for item in _content(root)["training"]) for name, root in roots.items()
    }
    assert labelled == {"A": 2, "B": 0, "C": 3, "D": 0}
    assert not any("label" in item for name in "BC" for item in _content(roots[name])["validation"])
    assert all("label" in item for root in roots.values() for item in _content(root)["test"])
    assert _content(roots["A"])["labels"] == {str(value): name for value, name in LABELS.items()}


@pytest.fixture(scope="module")
def general(tmp_path_factory):
    out = tmp_path_factory.mktemp("general")
    made = make_cardiac(out, subjects=(2, 1, 1), workers=1, coarseness=COARSE, generalisation=True)
    return {root.name: root for root in made}


def test_for_generalisation_every_domain_has_every_split_with_labels(general):
    assert list(general) == ["A", "B", "C", "D"]
    for root in general.values():
        splits = {split: _content(root)[split] for split in ("training", "validation", "test")}
        assert {split: len(items) for split, items in splits.items()} == {
            "training": 2,
            "validation": 1,
            "test": 1,
        }
        files = [item for items in splits.values() for item in items]
        assert all((root / item["label"]).is_file() for item in files)
        assert not any("_slice" in item["image"] for item in files)


def test_for_generalisation_the_subjects_are_those_of_the_uneven_form(roots, general):
    for domain in "ABCD":
        name = f"images/{domain}_test_001.nii.gz"
        assert (general[domain] / name).read_bytes() == (roots[domain] / name).read_bytes()


def test_by_default_all_domains_have_as_many_subjects_for_generalisation():
    assert {client.counts for client in cardiac.clients(generalisation=True)} == {(30, 5, 8)}
    assert cardiac.clients({"D": 4}, generalisation=True)[3].counts == (4, 1, 1)
    assert cardiac.clients()[3].counts == (0, 0, 8)


def test_labelled_slices_are_cut_from_their_volumes(roots):
    root = roots["C"]
    slices = [item for item in _content(root)["training"] if "label" in item]
    assert [item["image"] for item in slices] == [f"images/C_training_00{k}_slice.nii.gz" for k in (1, 2, 3)]
    for item in slices:
        one, label = nib.load(root / item["image"]), nib.load(root / item["label"])
        whole = nib.load(root / item["image"].replace("_slice", ""))
        middle = whole.shape[2] // 2
        assert np.array_equal(one.dataobj[..., 0], whole.dataobj[..., middle])
        assert np.allclose(one.affine @ [3, 5, 0, 1], whole.affine @ [3, 5, middle, 1], atol=1e-3)
        assert set(np.unique(label.dataobj)) == set(LABELS)


@pytest.mark.parametrize("domain", cardiac.SCANNERS)
def test_stacks_are_thick_oblique_and_show_every_label(domain):
    image, label, affine = cardiac.render(_case(domain))
    assert image.shape == label.shape
    assert (8 <= image.shape[2] <= 10) if domain != "D" else (11 <= image.shape[2] <= 13)
    assert set(np.unique(label)) == set(LABELS)
    assert np.rad2deg(nib.affines.obliquity(affine).max()) > 10
    in_plane, _, thickness = nib.affines.voxel_sizes(affine)
    assert thickness > in_plane


def test_contrast_of_blood_and_muscle_by_scanner():
    ratio = {}
    for domain in cardiac.SCANNERS:
        volumes = [cardiac.render(_case(domain, index)) for index in range(2)]
        image = np.concatenate([volume.image.ravel() for volume in volumes])
        label = np.concatenate([volume.label.ravel() for volume in volumes])
        ratio[domain] = np.median(image[label == 3]) / np.median(image[label == 2])
    assert ratio["A"] > 1.8
    assert ratio["B"] < 0.95
    assert 1.02 < ratio["C"] < 1.5
    assert ratio["D"] < 0.6


def test_anatomy_nests_pool_in_wall_and_hides_trabeculae_in_the_pool():
    axis = np.arange(-60, 60, 1.0, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis, np.float32([0, 15]), indexing="ij"), axis=-1)
    anatomy = draw_anatomy(np.random.default_rng(0), points)
    assert anatomy.tissue.max() < len(TISSUES)
    pool = anatomy.label == 1
    dilated = sum(np.roll(pool, shift, axis) for axis in (0, 1) for shift in (-1, 1)) > 0
    assert set(np.unique(anatomy.label[dilated & ~pool])) == {2}
    assert (anatomy.tissue[pool] == BLOOD).mean() > 0.6
    assert (anatomy.tissue[pool] == MYOCARDIUM).any()
    assert (anatomy.tissue[anatomy.label == 2] == MYOCARDIUM).all()
