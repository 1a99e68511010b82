from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from shared_components.data.check import check_client_root
from shared_components.data.client_root import ClientRoot
from shared_components.data.datalists import datalist, make_datalist, remarks
from shared_components.errors import InputError
from shared_components.inferers.cases import find_cases

SHAPE = (8, 8, 3)


@pytest.fixture
def folder(tmp_path, save_image):
    """Twenty images, ten of them with a label map."""
    for number in range(20):
        image = np.random.default_rng(number).normal(size=SHAPE).astype(np.float32)
        save_image(tmp_path / f"images/s{number:02d}_0000.nii.gz", image)
        if number < 10:
            save_image(
                tmp_path / f"labels/s{number:02d}.nii.gz", np.arange(192, dtype=np.uint8).reshape(SHAPE) % 3
            )
    return tmp_path


def counts(root) -> dict[str, tuple[int, int]]:
    loaded = ClientRoot.load(root)
    return {s: (len(loaded.items(s, True)), len(loaded.items(s, False))) for s in loaded.splits}


def test_the_list_passes_the_check_and_spreads_labels_over_all_splits(folder):
    file = make_datalist(folder, "t1", labels=["background", "brain", "csf"], name="north", modality="MRI")
    assert file == folder / "dataset.json"
    assert check_client_root(folder) == []
    assert counts(folder) == {"training": (7, 7), "validation": (1, 1), "test": (2, 2)}
    root = ClientRoot.load(folder)
    assert (root.name, root.domain, root.modality) == ("north", "t1", {"0": "MRI"})
    assert root.labels == {0: "background", 1: "brain", 2: "csf"}


def test_labels_of_other_classes_are_refused_where_a_list_is_read_with_its_labels(folder):
    make_datalist(folder, "t1", labels=["background", "brain", "csf"])
    labels = {0: "background", 1: "csf", 2: "brain"}
    assert (
        len(datalist(folder, "training"))
        == len(datalist(folder, "training", labelled=False, labels=labels)) * 2
    )
    with pytest.raises(
        InputError, match=r"dataset\.json: 'labels' are .*'brain'.*, the training's are .*'csf'"
    ):
        datalist(folder, "training", labels=labels)
    assert datalist(folder, "training", labels={0: "background", 1: "brain", 2: "csf"})


def test_patients_folders_name_their_subjects_and_what_is_segmented(tmp_path, save_image):
    for number in range(3):
        save_image(
            tmp_path / f"case0{number}/image.nii.gz", np.full(SHAPE, number, np.float32) + np.eye(8, 3)
        )
        save_image(tmp_path / f"case0{number}/mask.nii.gz", np.ones(SHAPE, np.uint8))
    make_datalist(tmp_path, "t1", test=0.67)
    items = [item for split in ("training", "test") for item in ClientRoot.load(tmp_path).items(split)]
    assert {item["subject"] for item in items} == {"case00", "case01", "case02"}
    assert all(Path(item[key]).parent.name == item["subject"] for item in items for key in ("image", "label"))
    assert {case["case"] for case in find_cases(tmp_path)} == {item["subject"] for item in items[1:]}
    assert not any("subject name" in fault.what for fault in check_client_root(tmp_path))


def test_every_subject_is_in_one_split(folder):
    make_datalist(folder, "t1")
    content = json.loads((folder / "dataset.json").read_text())
    images = [entry["image"] for split in ("training", "validation", "test") for entry in content[split]]
    assert sorted(images) == sorted(f"images/s{number:02d}_0000.nii.gz" for number in range(20))


def test_the_seed_fixes_the_split(folder):
    text = make_datalist(folder, "t1", seed=3).read_text()
    assert make_datalist(folder, "t1", seed=3, force=True).read_text() == text
    assert make_datalist(folder, "t1", seed=4, force=True).read_text() != text


def test_classes_are_read_off_the_label_maps(folder):
    make_datalist(folder, "t1")
    assert ClientRoot.load(folder).labels == {0: "background", 1: "class_1", 2: "class_2"}


def test_labels_may_be_a_mapping(folder):
    make_datalist(folder, "t1", labels={0: "background", 1: "a", 2: "b"})
    assert ClientRoot.load(folder).labels == {0: "background", 1: "a", 2: "b"}


def test_a_folder_that_may_not_be_written_to_is_refused_before_anything_is_read(folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write anywhere
    with pytest.raises(
        InputError, match=r"may not be written to, and dataset\.json lies beside the images; copy"
    ):
        make_datalist(folder, "t2")


def test_an_existing_list_is_not_overwritten_unless_forced(folder):
    (folder / "dataset.json").write_text("mine")
    with pytest.raises(InputError, match="is there already; look at it, and replace it with --force"):
        make_datalist(folder, "t1")
    assert (folder / "dataset.json").read_text() == "mine"
    make_datalist(folder, "t1", force=True)
    assert ClientRoot.load(folder).domain == "t1"
    with pytest.raises(InputError, match="is there already; look at it, and replace it with --force"):
        make_datalist(folder, "t1")


def test_nnunets_dataset_json_is_named_as_one(folder):
    (folder / "dataset.json").write_text(
        '{"channel_names": {"0": "T2"}, "labels": {"background": 0, "cord": 1}}'
    )
    with pytest.raises(InputError, match=r"nnU-Net's; keep a copy .* with --force"):
        make_datalist(folder, "t1")


def test_label_maps_that_are_not_read_are_remarked(folder):
    for path in (folder / "labels").iterdir():
        path.rename(path.with_name(path.name.replace(".nii.gz", ".mgz")))
    make_datalist(folder, "t1")
    assert any(
        "10 files are of a format that is not read, such as" in each
        for each in remarks(ClientRoot.load(folder))
    )


def test_volumes_that_are_in_no_entry_are_remarked(folder, save_image):
    make_datalist(folder, "t2")
    assert [line for line in remarks(ClientRoot.load(folder)) if "not taken" in line] == []
    for path in ("prob/s00.nii.gz", "prob/s01.nii.gz", "imagesTs/x.nii.gz", "stray.nii.gz", ".hidden.nii.gz"):
        save_image(folder / path, np.zeros((4, 4, 2), np.float32))
    (folder / "preview.png").touch()
    assert sorted(line for line in remarks(ClientRoot.load(folder)) if "not taken" in line) == [
        "1 volume in imagesTs/ is not taken, such as imagesTs/x.nii.gz; images belong into images/",
        "1 volume is not taken, such as stray.nii.gz; images belong into images/",
        "2 volumes in prob/ are not taken, such as prob/s00.nii.gz; where they are label maps, say --label_maps "
        "'prob/*' --force; images belong into images/",
    ]
    assert not any("not taken" in line for line in remarks(ClientRoot.load(folder), chosen=True))
    for name in "abc":
        save_image(folder / name / "x.nii.gz", np.zeros((4, 4, 2), np.float32))
    (line,) = [line for line in remarks(ClientRoot.load(folder)) if "not taken" in line]
    assert line.startswith("7 volumes are not taken, such as ")


def test_a_failure_leaves_the_old_list(folder, save_image):
    (folder / "dataset.json").write_text("mine")
    save_image(folder / "labels/nobody.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(InputError, match="no image is named 'nobody'"):
        make_datalist(folder, "t1", force=True)
    assert (folder / "dataset.json").read_text() == "mine"


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (-0.1, 0.2), (0.0, 1.0)])
def test_fractions_must_leave_some_for_training(folder, fractions):
    with pytest.raises(InputError, match="leave some subjects for training"):
        make_datalist(folder, "t1", validation=fractions[0], test=fractions[1])


def test_one_labelled_subject_stays_in_training(tmp_path, save_image):
    save_image(tmp_path / "s1.nii.gz", np.zeros(SHAPE, np.float32))
    save_image(tmp_path / "s1_seg.nii.gz", np.ones(SHAPE, np.uint8))
    make_datalist(tmp_path, "t1", validation=0.4, test=0.5)
    assert counts(tmp_path) == {"training": (1, 0), "validation": (0, 0), "test": (0, 0)}


def test_a_decathlon_folder_keeps_its_own_test_split(tmp_path, save_image):
    for number in range(10):
        save_image(tmp_path / f"imagesTr/s{number}.nii.gz", np.zeros(SHAPE, np.float32))
        save_image(tmp_path / f"labelsTr/s{number}.nii.gz", np.ones(SHAPE, np.uint8))
    for number in (10, 11, 12):
        save_image(tmp_path / f"imagesTs/s{number}.nii.gz", np.zeros(SHAPE, np.float32))
    make_datalist(tmp_path, "t1", validation=0.2)
    assert counts(tmp_path) == {"training": (8, 0), "validation": (2, 0), "test": (0, 3)}


def test_an_image_among_the_label_maps_is_noticed(tmp_path, save_image):
    save_image(tmp_path / "images/s1.nii.gz", np.zeros(SHAPE, np.float32))
    save_image(tmp_path / "labels/s1.nii.gz", np.random.default_rng(0).random(SHAPE, np.float32))
    with pytest.raises(InputError, match="all from 0 to 1: a probability map; make a label map of it"):
        make_datalist(tmp_path, "t1")


def test_label_values_with_a_gap_are_refused_unless_named(folder, save_image):
    save_image(folder / "labels/s00.nii.gz", np.full(SHAPE, 255, np.uint8))
    with pytest.raises(InputError, match="hold the values 0, 1, 2, 255; expected 0, 1, 2, … without a gap"):
        make_datalist(folder, "t1")
    make_datalist(folder, "t1", labels=[f"c{i}" for i in range(256)])


def test_lists_of_one_and_of_several_roots(folder, data_root):
    make_datalist(folder, "t1")
    one = datalist(data_root[0], "training")
    assert [item["subject"] for item in one] == ["s1", "s2"]
    assert datalist([str(data_root[0])], "training") == one
    both = datalist([folder, data_root[0]], "training", labelled=True)
    assert len(both) == 8
    assert {item["domain"] for item in both} == {"t1", "t2"}


def test_images_of_one_patient_stay_in_one_split(folder):
    file = make_datalist(
        folder,
        "t1",
        patients=lambda pairs: {pair.subject: f"p{int(pair.subject[1:]) // 4}" for pair in pairs},
    )
    content = json.loads(file.read_text())
    splits = {}
    for split in ("training", "validation", "test"):
        for entry in content[split]:
            assert entry["patient"] == f"p{int(entry['image'][8:10]) // 4}"
            splits.setdefault(entry["patient"], set()).add(split)
    assert all(len(found) == 1 for found in splits.values()) and set().union(*splits.values()) > {"training"}
    assert counts(folder)["test"] == (4, 0)  # one of the three labelled patients, none of the two others
    assert [p for p in check_client_root(folder) if "patient" in str(p)] == []


def test_without_patients_the_split_is_that_of_images(folder):
    plain = make_datalist(folder, "t1").read_text()
    assert make_datalist(folder, "t1", patients=lambda pairs: {}, force=True).read_text() == plain


def test_a_patient_who_is_held_out_and_trained_on_is_refused(tmp_path, save_image):
    for place in ("imagesTr/p0_a", "imagesTr/p1_a", "imagesTs/p0_b"):
        save_image(tmp_path / f"{place}.nii.gz", np.random.default_rng(1).normal(size=SHAPE))
    with pytest.raises(InputError, match=r"p0_b\.nii\.gz: its patient 'p0' has images that are not held out"):
        make_datalist(
            tmp_path, "t1", patients=lambda pairs: {pair.subject: pair.subject[:2] for pair in pairs}
        )


@pytest.mark.parametrize("ignore", [255, -1])
def test_an_ignored_value_is_no_class(folder, save_image, ignore):
    label = np.zeros(SHAPE, np.int16)
    label[2:4], label[5:] = 1, ignore
    for number in range(10):
        save_image(folder / f"labels/s{number:02d}.nii.gz", label)
    make_datalist(folder, "t1", ignore=ignore)
    root = ClientRoot.load(folder)
    assert root.labels == {0: "background", 1: "class_1"} and root.ignore == ignore
    assert check_client_root(folder) == []


def test_sparse_labels_are_known_where_they_are(folder, save_image):
    for number in range(10):
        label = np.zeros(SHAPE, np.uint8)
        label[..., number % 3] = 1
        if number == 9:
            label[:] = 1
        save_image(folder / f"labels/s{number:02d}.nii.gz", label)
    make_datalist(folder, "t1", sparse=True)
    items = [item for split in ("training", "validation", "test") for item in datalist(folder, split, True)]
    known = {item["subject"][:3]: item.get("annotated") for item in items}
    assert known == {f"s{number:02d}": [number % 3] if number < 9 else None for number in range(10)}
    assert check_client_root(folder) == []
    save_image(folder / "labels/s04.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(
        InputError, match=r"s04\.nii\.gz: no slice has a label, so that nothing of it would be"
    ):
        make_datalist(folder, "t1", labels=["background", "brain"], sparse=True, force=True)


def test_sparse_labels_are_counted_across_thick_slices(tmp_path, save_image):
    """Sagittal slices of 4 mm stored first: the third axis would call parts of each slice unknown."""
    affine = np.array([[4.0, 0, 0, 0], [0, 1.5, 0, 0], [0, 0, 1.5, 0], [0, 0, 0, 1]])
    label = np.zeros((6, 10, 9), np.uint8)
    label[[1, 4], 3:6, 2:5] = 1
    save_image(tmp_path / "images/s1.nii.gz", np.random.default_rng(0).normal(size=label.shape), affine)
    save_image(tmp_path / "labels/s1.nii.gz", label, affine)
    make_datalist(tmp_path, "t1")
    (note,) = (each for each in remarks(ClientRoot.load(tmp_path)) if "have labels" in each)
    assert "only slices 1, 4 of 6 across the file's axis 0 have labels" in note
    make_datalist(tmp_path, "t1", sparse=True, force=True)
    (item,) = datalist(tmp_path, "training", True)
    assert item["annotated"] == {"axis": 0, "slices": [1, 4]}
    assert check_client_root(tmp_path) == []


def test_label_maps_that_a_choice_of_images_left_out_are_noted(tmp_path, save_image):
    for subject in ("p0", "p1"):
        save_image(tmp_path / subject / "ct.nii.gz", np.random.default_rng(0).normal(size=SHAPE))
        save_image(tmp_path / subject / "liver.nii.gz", np.arange(192, dtype=np.uint8).reshape(SHAPE) % 2)
    with pytest.raises(InputError, match=r"which files are label maps, --label_maps says"):
        make_datalist(tmp_path, "ct", labels=["background", "liver"])
    make_datalist(tmp_path, "ct", labels=["background", "liver"], images="*ct.nii.gz")
    found = "\n".join(remarks(ClientRoot.load(tmp_path), chosen=True))
    assert (
        "p0/liver.nii.gz, which is not taken, looks like one; where it is, say --label_maps '*liver.nii.gz'"
        in found
    )
    make_datalist(tmp_path, "ct", images="*ct.nii.gz", label_maps="*liver.nii.gz", force=True)
    assert not [line for line in remarks(ClientRoot.load(tmp_path), chosen=True) if "not taken" in line]


def test_what_no_data_root_may_hold_is_told_before_anything_is_written(tmp_path, save_image):
    save_image(tmp_path / "elsewhere/s1.nii.gz", np.zeros(SHAPE, np.float32))
    (tmp_path / "root/images").mkdir(parents=True)
    (tmp_path / "root/images/s1.nii.gz").symlink_to(tmp_path / "elsewhere/s1.nii.gz")
    with pytest.raises(InputError, match="leaves the root through a link; move or copy the file into"):
        make_datalist(tmp_path / "root", "t1")
    assert not (tmp_path / "root/dataset.json").exists()
