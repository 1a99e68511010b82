from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from shared_components.data.samplers import SideBySide, slice_loader
from shared_components.data.twins import TwinSlices, source_slices, twin_slices
from shared_components.errors import InputError
from tests.data.conftest import box, save

SLICES = {"domains": ["t1", "t2"], "size": 12, "spacing": None}


def make_root(folder, domain: str, sign: float, subjects: int = 2, labelled: bool = True, depth: int = 6):
    """Synthetic subjects whose image is ``sign`` times a ramp along the slices."""
    items = []
    for number in range(subjects):
        ramp = np.broadcast_to(np.arange(depth) + number, (12, 10, depth)).astype(np.float32)
        item = {"image": f"images/s{number}.nii.gz"}
        save(folder / item["image"], sign * ramp)
        if labelled:
            item["label"] = f"labels/s{number}.nii.gz"
            save(folder / item["label"], box((12, 10, depth)))
        items.append(item)
    content = {
        "name": domain,
        "domain": domain,
        "modality": {"0": "MRI"},
        "labels": {"0": "rest", "1": "box"},
    }
    content |= {"training": items, "validation": [], "test": []}
    (folder / "dataset.json").write_text(json.dumps(content))
    return str(folder)


@pytest.fixture
def twins(tmp_path) -> TwinSlices:
    source, twin = make_root(tmp_path / "a", "t1", 1.0), make_root(tmp_path / "b", "t2", -1.0)
    return twin_slices(source, twin, **SLICES)


def test_twins_that_are_not_in_the_clients_look_are_refused(tmp_path):
    source, twin = make_root(tmp_path / "a", "t1", 1.0), make_root(tmp_path / "b", "t2", -1.0)
    assert len(twin_slices(source, twin, client_dir=twin, **SLICES)) == 12
    with pytest.raises(
        InputError, match=r"a: twins of domain t1, where the client's images are of t2; name twins"
    ):
        twin_slices(twin, source, client_dir=[twin], **SLICES)


def test_pairs_the_same_slice_of_the_same_subject(twins):
    assert len(twins) == 12 and twins.labelled == list(range(12)) and twins.unlabelled == []
    for index in (0, 5, 7):
        item = twins[index]
        inside = item["source"][0, 0:12, 1:11]
        torch.testing.assert_close(item["twin"][0, 0:12, 1:11], -inside)
        assert int(item["twin_domain"]) == 1 and float(item["source_position"]) == pytest.approx(
            (index % 6 + 0.5) / 6
        )
        assert item["source_label"].dtype == torch.int64
    assert twins[2]["source_label"].sum() == 25 and twins[5]["source_label"].sum() == 0


@pytest.mark.parametrize("other", [{"subjects": 1}, {"depth": 5}])
def test_other_subjects_or_slices_are_refused(tmp_path, other):
    source, twin = make_root(tmp_path / "a", "t1", 1.0), make_root(tmp_path / "b", "t2", 1.0, **other)
    with pytest.raises(InputError, match=r"expected the same subjects and slices.*synthesize\.yaml"):
        twin_slices(source, twin, **SLICES)


def test_a_source_without_labels_is_refused(tmp_path):
    source = make_root(tmp_path / "a", "t1", 1.0, labelled=False)
    twin = make_root(tmp_path / "b", "t2", 1.0)
    with pytest.raises(InputError, match="expected a label for every synthetic source slice"):
        twin_slices(source, twin, **SLICES)


def test_doubtful_slices_are_left_out(tmp_path):
    source, twin = make_root(tmp_path / "a", "t1", 1.0), make_root(tmp_path / "b", "t2", -1.0)

    def doubt(images) -> torch.Tensor:
        return torch.tensor([number % 6 / 10 for number in range(len(images))])

    kept, every = (twin_slices(source, twin, doubt=doubt, most=most, **SLICES) for most in (0.15, 1.0))
    assert len(kept) == 4 and kept.labelled == list(range(4)) and len(every) == 12
    for index, number in enumerate((0, 1, 6, 7)):
        assert all(torch.equal(value, every[number][key]) for key, value in kept[index].items())
    with pytest.raises(
        InputError, match=r"twin_disagreement: expected .* found none of 12, the least is 0.50"
    ):
        twin_slices(source, twin, doubt=lambda images: torch.full((len(images),), 0.5), most=0.1, **SLICES)


def test_side_by_side_gives_the_entries_of_all_loaders(twins):
    own = slice_loader(twins.source, batch_size=3, batches=2)
    batches = list(SideBySide([own, slice_loader(twins, batch_size=4, batches=2)]))
    assert len(batches) == 2
    assert batches[0]["image"].shape == (3, 1, 12, 12) and batches[0]["source"].shape == (4, 1, 12, 12)


def test_side_by_side_wants_equally_many_batches(twins):
    loaders = [slice_loader(twins, batch_size=2, batches=n) for n in (2, 3)]
    with pytest.raises(InputError, match=r"expected one or more with equally many batches, found \[2, 3\]"):
        SideBySide(loaders)


def test_real_labelled_slices_are_their_own_twins(tmp_path):
    root = make_root(tmp_path / "real", "t1", 1.0, depth=6)
    content = json.loads((tmp_path / "real" / "dataset.json").read_text())
    content["training"][0]["annotated"] = [2, 4]
    del content["training"][1]["label"]
    (tmp_path / "real" / "dataset.json").write_text(json.dumps(content))
    slices = source_slices(root, **SLICES)
    assert len(slices) == 2 and slices.labelled == [0, 1]
    item = slices[1]
    assert item["source_position"] == pytest.approx(4.5 / 6) and "twin" not in item
    assert bool((item["source_label"] >= 0).all())


def test_source_without_labels_is_refused(tmp_path):
    root = make_root(tmp_path / "real", "t1", 1.0, labelled=False)
    with pytest.raises(InputError, match="no volumes"):
        source_slices(root, **SLICES)
