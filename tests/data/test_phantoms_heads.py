"""Heads: one anatomy per subject, seen on any grid; looks; the client roots as a whole."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from shared_components.data.phantoms import heads, make_heads
from shared_components.data.phantoms.cases import SPLITS, Case
from shared_components.errors import InputError

COARSE = 2.5


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    out = tmp_path_factory.mktemp("heads")
    return make_heads(out, subjects=(3, 1, 2), workers=1, coarseness=COARSE)


def _case(domain: str = "t1", **changes) -> Case:
    return replace(Case(heads.SCENARIO, domain, "training", 0, seed=0, coarseness=COARSE), **changes)


def test_three_roots_with_uneven_labels(roots):
    assert [root.name for root in roots] == ["t1", "t2", "pet"]
    for root in roots:
        content = json.loads((root / "dataset.json").read_text())
        assert content["domain"] == root.name
        assert content["labels"] == {"0": "background", "1": "brain"}
        labelled = {
            split: ["label" in item for item in content[split]]
            for split in ("training", "validation", "test")
        }
        only_t1 = root.name == "t1"
        assert labelled == {"training": [only_t1] * 3, "validation": [only_t1], "test": [True] * 2}
        named = {item["label"] for split in labelled for item in content[split] if "label" in item}
        assert {f"labels/{path.name}" for path in (root / "labels").iterdir()} == named


def test_files_vary_in_geometry_and_labels_fit(roots):
    spacings = set()
    for root in roots:
        content = json.loads((root / "dataset.json").read_text())
        items = [item for split in ("training", "validation", "test") for item in content[split]]
        images = [nib.load(root / item["image"]) for item in items]
        assert {"".join(nib.aff2axcodes(image.affine)) for image in images} == {"RAS", "LPS"}
        tilts = np.rad2deg([nib.affines.obliquity(image.affine).max() for image in images])
        assert sorted(tilts > 5) == [False] * 4 + [True] * 2
        assert sum(item["image"].endswith(".nii") for item in items) == 1
        for item, image in zip(items, images, strict=True):
            assert image.get_data_dtype() == np.int16
            spacings.add(tuple(np.round(image.header.get_zooms(), 3)))
            if "label" in item:
                label = nib.load(root / item["label"])
                assert np.array_equal(label.affine, image.affine)
                assert label.shape == image.shape
                assert set(np.unique(label.dataobj)) == {0, 1}
                assert np.array_equal(label.get_qform(), label.get_qform(coded=True)[0])
    assert len(spacings) == 18


@pytest.mark.parametrize("domain", heads.LOOKS)
def test_brain_has_a_human_size_and_lies_inside_the_volume(domain):
    for index in range(3):
        phantom = heads.render(_case(domain, index=index))
        litres = phantom.label.sum() * abs(np.linalg.det(phantom.affine[:3, :3])) / 1e6
        assert 1.1 < litres < 2.4
        for axis in range(3):
            edges = np.moveaxis(phantom.label, axis, 0)[[0, -1]]
            assert not edges.any()


def test_an_oblique_lps_volume_shows_the_same_world():
    plain = heads.render(_case(coarseness=1.5))
    tilted = heads.render(_case(coarseness=1.5, oblique=True, codes="LPS"))
    assert not np.allclose(plain.affine, tilted.affine)
    voxels = np.argwhere(plain.label > 0)
    world = nib.affines.apply_affine(plain.affine, voxels)
    there = np.rint(nib.affines.apply_affine(np.linalg.inv(tilted.affine), world)).astype(int)
    assert (tilted.label[tuple(there.T)] > 0).mean() > 0.9
    centres = [nib.affines.apply_affine(p.affine, np.argwhere(p.label > 0)).mean(0) for p in (plain, tilted)]
    assert np.allclose(*centres, atol=1.0)  # mm


def test_anatomies_differ_between_subjects_and_clients():
    cases = [_case(), _case(index=1), _case("t2"), _case("pet"), _case(split="test"), _case(seed=1)]
    point = np.array([[30.0, 10.0, 40.0]])
    places = np.concatenate([heads.subject_warp(case)(point) for case in cases])
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + 100 * np.eye(len(cases))
    assert apart.min() > 0.5  # mm


def test_looks_tell_the_brain_by_different_contrasts():
    contrast = {}
    for domain in heads.LOOKS:
        image, brain, _ = heads.render(_case(domain, coarseness=1.5))
        head = image > 0.05 * np.percentile(image, 99)
        contrast[domain] = np.median(image[brain > 0]) / np.median(image[head & (brain == 0)])
    assert contrast["pet"] > 2
    assert contrast["t1"] < 2


def test_t1_keeps_the_order_of_the_real_tissues():
    image, brain, _ = heads.render(_case(coarseness=1.0))
    inside = image[brain > 0].astype(float)
    low, high = np.percentile(inside, [10, 90])
    assert 1.2 < high / low < 3  # grey and white matter, as in the shipped head


def test_any_client_may_be_the_labelled_one():
    labelled = {client.domain: client.labelled for client in heads.clients(labelled="t2")}
    assert labelled == {"t1": ("test",), "t2": SPLITS, "pet": ("test",)}
    with pytest.raises(InputError, match="--labelled: expected one of t1, t2, pet, found 'ct'"):
        heads.clients(labelled="ct")
