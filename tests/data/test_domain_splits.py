from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shared_components.data.domain_splits import domain_items, few_labels, patient, source_domains
from shared_components.data.episodes import EpisodeLoader
from shared_components.data.slices import SliceDataset
from shared_components.errors import InputError

DOMAINS = ["A", "B", "C"]


@pytest.fixture
def roots(tmp_path, save_image):
    """Data roots of the domains A, B and C: three training subjects each (two of them labelled), one validation."""
    for domain in DOMAINS:
        root = tmp_path / domain
        for number in range(4):
            image = np.random.default_rng(number).normal(100, 20, (12, 10, 3)).astype(np.float32)
            save_image(root / f"images/{domain}{number}.nii.gz", image)
            save_image(root / f"labels/{domain}{number}.nii.gz", np.ones((12, 10, 3), np.uint8))
        entries = [
            {"image": f"images/{domain}{n}.nii.gz", "label": f"labels/{domain}{n}.nii.gz"} for n in range(4)
        ]
        del entries[2]["label"]
        labels = {"0": "background", "1": "heart"}
        content = {"name": domain, "domain": domain, "labels": labels, "training": entries[:3]}
        (root / "dataset.json").write_text(json.dumps(content | {"validation": entries[3:]}))
    return [tmp_path / domain for domain in DOMAINS]


def subjects(items) -> list[str]:
    return [item["subject"] for item in items]


def spoil(root: Path) -> None:
    for file in [*root.glob("images/*"), *root.glob("labels/*")]:
        file.write_bytes(b"no image")


def test_the_held_out_domain_is_left_out(roots):
    assert subjects(domain_items(roots, "training", "B")) == ["A0", "A1", "A2", "C0", "C1", "C2"]
    assert subjects(domain_items(roots, "training", "B", labelled=True)) == ["A0", "A1", "C0", "C1"]
    assert subjects(domain_items(roots, "validation", "A", domains=DOMAINS)) == ["B3", "C3"]
    assert len(domain_items(roots, "training")) == 9
    assert subjects(domain_items(str(roots[0]), "validation")) == ["A3"]


def test_no_image_of_the_held_out_domain_is_ever_read(roots):
    spoil(roots[1])
    for split in ("training", "validation"):
        items = few_labels(domain_items(roots, split, "B", domains=DOMAINS), 0.5)
        slices = SliceDataset(items, source_domains(DOMAINS, "B"), size=16, spacing=None)
        assert {int(slices[i]["domain"]) for i in range(len(slices))} == {0, 1}
        for iteration in EpisodeLoader(slices, batch_size=2, batches=3):
            assert iteration["labelled"]["meta_train"]["image"].shape == (2, 1, 16, 16)
    with pytest.raises(InputError, match=r"B/images/B0\.nii\.gz: not an image that can be read"):
        SliceDataset(domain_items(roots, "training"), DOMAINS, size=16, spacing=None)


def test_images_of_the_held_out_domain_need_not_be_there(roots):
    for file in roots[1].glob("*/*"):
        file.unlink()
    assert len(domain_items(roots, "training", "B")) == 6


def test_a_held_out_domain_without_a_data_root_must_be_one_of_the_federations(roots):
    assert len(domain_items(roots[:2], "training", "C", domains=DOMAINS)) == 6
    with pytest.raises(InputError, match="held_out: expected one of the domains 'A', 'B' or null, found 'C'"):
        domain_items(roots[:2], "training", "C")
    with pytest.raises(InputError, match="found 'b'; a misspelt name would let the domain train"):
        domain_items(roots, "training", "b", domains=DOMAINS)


@pytest.mark.parametrize(
    ("chosen", "arguments", "message"),
    [
        (
            slice(1),
            {"held_out": "A", "domains": DOMAINS},
            "training: no images in any data root .'A' is held",
        ),
        (slice(1), {"held_out": "A"}, "leaves none of the domains"),
        (slice(2), {"domains": ["A", "X"]}, "'domain' is 'B', the federation has 'A', 'X'"),
        (slice(2), {"split": "test"}, "test: no images in .*A, .*B; add some"),
        (slice(2), {"split": "validation", "labelled": False, "held_out": "B"}, "no unlabelled images in"),
        (slice(2), {"split": "trial"}, "split: expected one of training"),
    ],
)
def test_what_leaves_nothing_or_is_unknown_is_refused(roots, chosen, arguments, message):
    with pytest.raises(InputError, match=message):
        domain_items(roots[chosen], **{"split": "training"} | arguments)


def test_a_data_root_named_twice_is_refused(roots):
    with pytest.raises(InputError, match=r"dataset_dir: names .*A twice"):
        domain_items([roots[0], roots[1], roots[1].parent / "B" / ".." / "A"], "training")


def test_labels_of_other_classes_are_refused_where_they_are_used(roots):
    file = roots[2] / "dataset.json"
    content = json.loads(file.read_text())
    content["labels"]["1"] = "liver"
    file.write_text(json.dumps(content))
    with pytest.raises(
        InputError, match=r"C/dataset\.json: 'labels' are .*liver.*A/dataset\.json are .*heart"
    ):
        domain_items(roots, "training")
    assert domain_items(roots, "training", "C")  # held out: not even its classes matter
    assert domain_items(roots, "training", labelled=False)
    for entry in content["training"]:
        entry.pop("label", None)
    file.write_text(json.dumps(content))
    assert len(domain_items(roots, "training")) == 9


def test_a_data_root_without_description_is_refused(roots, tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        domain_items([*roots, tmp_path / "nowhere"], "training", "A")


def labelled_items(count: int, domains="AB") -> list[dict[str, str]]:
    return [
        {"image": f"{domain}{n}.nii", "label": f"{domain}{n}_seg.nii", "domain": domain, "subject": f"{n}"}
        for domain in domains
        for n in range(count)
    ]


def kept(items) -> set[tuple[str, str]]:
    return {(item["domain"], patient(item)) for item in items if "label" in item}


@pytest.mark.parametrize(
    ("fraction", "count"), [(0, 0), (0.001, 1), (0.02, 2), (0.07, 7), (0.071, 8), (1, 100)]
)
def test_few_labels_by_fraction_of_each_domains_subjects(fraction, count):
    items = labelled_items(100)
    few = few_labels(items, fraction)
    assert Counter(domain for domain, _ in kept(few)) == ({"A": count, "B": count} if count else {})
    assert [item["image"] for item in few] == [item["image"] for item in items]
    assert all("label" in item for item in items)  # the input stays as it is


def test_fractions_count_labelled_subjects_alone():
    items = labelled_items(10, "A") + [
        {"image": "u.nii", "domain": "A", "subject": f"u{n}"} for n in range(90)
    ]
    assert len(kept(few_labels(items, 0.3))) == 3


def test_the_draw_depends_on_the_seed_not_on_the_order_nor_on_other_domains():
    items = labelled_items(20)
    few = kept(few_labels(items, 0.3, seed=5))
    assert kept(few_labels(items[::-1], 0.3, seed=5)) == few
    assert kept(few_labels(items[:20], 0.3, seed=5)) == {one for one in few if one[0] == "A"}
    assert kept(few_labels(items, 0.3, seed=6)) != few
    assert {name for domain, name in few if domain == "A"} != {name for domain, name in few if domain == "B"}


def test_a_larger_fraction_keeps_the_subjects_of_a_smaller_one():
    items = labelled_items(20)
    assert kept(few_labels(items, 0.1)) < kept(few_labels(items, 0.2)) < kept(few_labels(items, 0.9))


def test_frames_of_one_patient_go_together():
    items = [
        {"image": f"{n}_{frame}", "label": "l", "domain": "A", "subject": f"{n}_{frame}", "patient": str(n)}
        for n in range(10)
        for frame in ("ED", "ES")
    ]
    few = [item["subject"] for item in few_labels(items, 0.2) if "label" in item]
    assert len(few) == 4
    assert {name.split("_")[0] for name in few[::2]} == {name.split("_")[0] for name in few[1::2]}


def test_fractions_by_domain():
    few = kept(few_labels(labelled_items(10, "ABC"), {"A": 0.1, "B": 0}))
    assert Counter(domain for domain, _ in few) == {"A": 1, "C": 10}


@pytest.mark.parametrize("fraction", [1.1, -0.1, "half", True, None, {"A": 2}])
def test_fractions_of_no_sense_are_refused(fraction):
    with pytest.raises(InputError, match="label_fraction: expected a number of 0 to 1"):
        few_labels(labelled_items(2), fraction)


def test_a_fraction_for_an_unknown_domain_is_refused():
    with pytest.raises(
        InputError, match="label_fraction: names the domain 'D', the training items have 'A', 'B'"
    ):
        few_labels(labelled_items(2), {"D": 0.5})


def test_source_domains_keep_their_order():
    assert source_domains(["B", "A", "C"], "A") == ["B", "C"]
    assert source_domains(["B", "A"]) == ["B", "A"]


def test_labels_must_be_those_of_the_training(roots):
    wanted = {0: "background", 1: "heart"}
    assert domain_items(roots, "training", labels=wanted) == domain_items(roots, "training")
    with pytest.raises(InputError, match=r"'labels' are .*heart.*, the training's are .*grey.*--labels"):
        domain_items(roots, "training", labels={"0": "background", "1": "grey"})
    with pytest.raises(InputError, match=r"labels: expected values 0, 1, 2, … without a gap, found \[0, 2\]"):
        domain_items(roots, "training", labels={0: "background", 2: "heart"})
