from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from shared_components.data.challenges import prepare_mnms
from shared_components.data.check import check_client_root
from shared_components.data.client_root import ClientRoot
from shared_components.data.domain_splits import domain_items, few_labels
from shared_components.errors import InputError
from tests.data.challenges.layouts import AFFINE, FRAMES, TABLE, cine, cine_label, save, write_table


def volumes(root) -> dict[str, list[str]]:
    """Names of the volumes by split, those without a label in brackets."""
    loaded = ClientRoot.load(root)
    return {
        split: [
            item["subject"] if "label" in item else f"({item['subject']})" for item in loaded.items(split)
        ]
        for split in loaded.splits
    }


def test_each_vendor_becomes_a_data_root_with_the_published_splits(mnms_folder, tmp_path):
    roots = prepare_mnms(mnms_folder, tmp_path / "out")
    assert [root.name for root in roots] == ["A", "B", "C", "D"]
    found = {root.name: volumes(root) for root in roots}
    assert found["A"] == {
        "training": ["A1B2C3_ED", "A1B2C3_ES", "A4B5C6_ED", "A4B5C6_ES"],
        "validation": [],
        "test": [],
    }
    assert found["B"]["validation"] == ["B2B2B2_ED", "B2B2B2_ES"]
    assert found["C"]["training"] == ["(C9C9C9_ED)", "(C9C9C9_ES)"]
    assert found["C"]["test"] == ["C1C1C1_ED", "C1C1C1_ES"]
    assert found["D"] == {"training": [], "validation": [], "test": ["D1D1D1_ED", "D1D1D1_ES"]}
    assert all(check_client_root(root) == [] for root in roots[:3])
    labels = {0: "background", 1: "left ventricle", 2: "myocardium", 3: "right ventricle"}
    assert all(ClientRoot.load(root).labels == labels for root in roots)


def test_frames_are_those_of_the_table(mnms_folder, tmp_path):
    prepare_mnms(mnms_folder, tmp_path / "out")
    for name, frame in (("B1B1B1_ED", 5), ("B1B1B1_ES", 2)):
        image = nibabel.load(tmp_path / f"out/B/images/{name}.nii.gz")
        label = nibabel.load(tmp_path / f"out/B/labels/{name}.nii.gz")
        assert np.array_equal(image.dataobj, cine("B1B1B1")[..., frame])
        assert np.array_equal(label.dataobj, cine_label(5, 2)[..., frame])
        assert image.get_data_dtype() == np.int16 and label.get_data_dtype() == np.uint8
        assert np.allclose(image.affine, AFFINE) and np.allclose(label.affine, AFFINE)


def test_both_frames_of_a_patient_keep_their_labels_or_none(mnms_folder, tmp_path):
    prepare_mnms(mnms_folder, tmp_path / "out")
    items = few_labels(domain_items(tmp_path / "out/A", "training"), 0.5)
    labelled = [item["subject"] for item in items if "label" in item]
    assert labelled in (["A1B2C3_ED", "A1B2C3_ES"], ["A4B5C6_ED", "A4B5C6_ES"])


def test_a_data_root_for_each_centre(mnms_folder, tmp_path):
    roots = prepare_mnms(mnms_folder, tmp_path / "out", by="centre")
    assert [root.name for root in roots] == ["centre1", "centre2", "centre3", "centre4", "centre5"]
    assert ClientRoot.load(roots[2]).domain == "centre3"


def test_more_frames_without_labels_of_training_cines_alone(mnms_folder, tmp_path):
    roots = prepare_mnms(mnms_folder, tmp_path / "out", unlabelled_frames=2)
    found = {root.name: volumes(root) for root in roots}
    assert found["A"]["training"][2:4] == ["(A1B2C3_t02)", "(A1B2C3_t05)"]  # of the frames 1, 2, 4 and 5
    assert found["B"]["validation"] == ["B2B2B2_ED", "B2B2B2_ES"]
    frame = nibabel.load(tmp_path / "out/A/images/A1B2C3_t05.nii.gz")
    assert np.array_equal(frame.dataobj, cine("A1B2C3")[..., 5])
    all_frames = prepare_mnms(mnms_folder, tmp_path / "all", unlabelled_frames=99)
    assert len(volumes(all_frames[0])["training"]) == 2 * FRAMES


def test_random_splits_keep_a_patient_together_and_let_every_vendor_train(mnms_folder, tmp_path):
    roots = prepare_mnms(mnms_folder, tmp_path / "out", splits="random", validation=0.0, test=0.5)
    found = {root.name: volumes(root) for root in roots}
    assert all(split["training"] for split in found.values())
    assert "(C9C9C9_ED)" in found["C"]["training"] and found["D"]["training"] == ["D1D1D1_ED", "D1D1D1_ES"]
    assert len(found["A"]["test"]) == 2 and len({name[:6] for name in found["A"]["test"]}) == 1
    again = prepare_mnms(mnms_folder, tmp_path / "again", splits="random", validation=0.0, test=0.5)
    assert {root.name: volumes(root) for root in again} == found


def test_labels_of_unlabeled_subjects_are_used_on_request_alone(mnms_folder, tmp_path):
    save(mnms_folder / "Training/Unlabeled/C9C9C9/C9C9C9_sa_gt.nii.gz", cine_label(0, 2))
    before = prepare_mnms(mnms_folder, tmp_path / "out")
    assert volumes(before[2])["training"] == ["(C9C9C9_ED)", "(C9C9C9_ES)"]
    after = prepare_mnms(mnms_folder, tmp_path / "all", use_all_labels=True)
    assert volumes(after[2])["training"] == ["C9C9C9_ED", "C9C9C9_ES"]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_separators_letters_and_folders_above(mnms_folder, tmp_path, delimiter):
    text = write_table(mnms_folder / TABLE, delimiter).read_text().replace("External code", "EXTERNAL_CODE")
    (mnms_folder / TABLE).write_text("\ufeff" + text.replace("A1B2C3", "a1b2c3"), encoding="utf-8")
    (mnms_folder / "Training").rename(mnms_folder / "training")
    (mnms_folder / "other.csv").write_text("name,age\nx,1\n")
    roots = prepare_mnms(mnms_folder.parent, tmp_path / "out")  # one folder above
    assert [root.name for root in roots] == ["A", "B", "C", "D"]


def test_frames_written_as_decimals(mnms_folder, tmp_path):
    write_table(mnms_folder / TABLE, B1B1B1="5.0")
    prepare_mnms(mnms_folder, tmp_path / "out")
    image = nibabel.load(tmp_path / "out/B/images/B1B1B1_ED.nii.gz")
    assert np.array_equal(image.dataobj, cine("B1B1B1")[..., 5])


def test_existing_data_roots_are_kept_unless_forced(mnms_folder, tmp_path):
    prepare_mnms(mnms_folder, tmp_path / "out")
    with pytest.raises(InputError, match=r"out/A/dataset\.json: is there already; name another folder"):
        prepare_mnms(mnms_folder, tmp_path / "out")
    prepare_mnms(mnms_folder, tmp_path / "out", unlabelled_frames=1, force=True)
    assert len(json.loads((tmp_path / "out/A/dataset.json").read_text())["training"]) == 6


def test_a_fault_leaves_no_part_of_any_data_root_and_old_ones_as_they_were(mnms_folder, tmp_path):
    write_table(mnms_folder / TABLE, D1D1D1="9")
    with pytest.raises(InputError, match=r"D1D1D1_sa\.nii\.gz: expected a 4-D cine"):
        prepare_mnms(mnms_folder, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    write_table(mnms_folder / TABLE)
    prepare_mnms(mnms_folder, tmp_path / "out")
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    write_table(mnms_folder / TABLE, A1B2C3="3", D1D1D1="9")
    with pytest.raises(InputError, match="expected a 4-D cine"):
        prepare_mnms(mnms_folder, tmp_path / "out", force=True)
    assert before == {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}


@pytest.mark.parametrize(("unit", "length"), [("meter", 1e-3), ("micron", 1e3)])
def test_sizes_are_in_the_headers_unit(mnms_folder, tmp_path, unit, length):
    image = nibabel.Nifti1Image(cine("D1D1D1"), np.diag([length] * 3 + [1]) @ AFFINE)
    image.header.set_xyzt_units(unit, "sec")
    nibabel.save(image, mnms_folder / "Testing/D1D1D1/D1D1D1_sa.nii.gz")
    prepare_mnms(mnms_folder, tmp_path / "out")
    for folder in ("images", "labels"):
        written = nibabel.load(tmp_path / f"out/D/{folder}/D1D1D1_ED.nii.gz")
        assert np.allclose(written.affine, AFFINE, atol=1e-4)


def test_companions_that_macos_packs_are_left_alone(mnms_folder, tmp_path):
    for place in (
        "__MACOSX/Training/Labeled/A1B2C3/._A1B2C3_sa.nii.gz",
        "Testing/._X_sa.nii.gz",
        ".x/Y_sa.nii",
    ):
        (mnms_folder / place).parent.mkdir(parents=True, exist_ok=True)
        (mnms_folder / place).write_text("x")
    (mnms_folder / f"__MACOSX/{TABLE}").write_bytes((mnms_folder / TABLE).read_bytes())
    assert len(prepare_mnms(mnms_folder, tmp_path / "out")) == 4


def _no_table(source):
    (source / TABLE).unlink()


def _two_tables(source):
    write_table(source / "copy.csv")


def _no_row(source):
    (source / TABLE).write_text((source / TABLE).read_text().replace("D1D1D1", "D2D2D2"))


def _other_folders(source):
    (source / "Testing").rename(source / "Rest")


def _frame_beyond(source):
    write_table(source / TABLE, A1B2C3="9")


def _unlabelled_frame(source):
    write_table(source / TABLE, A1B2C3="2")


def _no_frame(source):
    write_table(source / TABLE, A1B2C3="")


def _strange_label(source):
    save(source / "Training/Labeled/A1B2C3/A1B2C3_sa_gt.nii.gz", cine_label(0, 3) * 7)


def _turned_label(source):
    file = source / "Training/Labeled/A1B2C3/A1B2C3_sa_gt.nii.gz"
    save(file, cine_label(0, 3), AFFINE @ np.diag([-1.0, 1, 1, 1]))


def _damaged(source):
    (source / "Validation/B2B2B2/B2B2B2_sa.nii.gz").write_bytes(b"no image")


def _twice(source):
    save(source / "Validation/A1B2C3/A1B2C3_sa.nii.gz", cine("A1B2C3"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            _no_table,
            r"expected one table like 211230_M&Ms.*External code, Vendor, Centre, ED, ES, found 0 CSV files",
        ),
        (_two_tables, "found 2 such files; name the challenge's folder, or the table with --table"),
        (_no_row, r"D1D1D1_sa\.nii\.gz: expected a row 'D1D1D1' in .*csv, found none"),
        (_other_folders, "expected it in Training, Validation or Testing below"),
        (
            _frame_beyond,
            r"A1B2C3_sa\.nii\.gz: expected a 4-D cine with the frame ED = 9 .*found 8×7×3×6 voxels",
        ),
        (
            _unlabelled_frame,
            r"A1B2C3_sa_gt.*expected labels in the frame ED = 2 .*found them in 0, 3; correct",
        ),
        (_no_frame, r"csv, line 2: ED expected a frame, counted from 0, found ''; correct the table"),
        (_strange_label, r"A1B2C3_sa_gt.*expected the label values 0, 1, 2, 3, found 7"),
        (
            _turned_label,
            r"A1B2C3_sa_gt.*expected the grid of its image, \(8, 7, 3, 6\) voxels along LIA.* along RIA",
        ),
        (_damaged, r"B2B2B2_sa\.nii\.gz: expected a NIfTI file, found none"),
        (_twice, "a second cine of 'A1B2C3' beside"),
    ],
)
def test_what_departs_from_the_published_structure_is_named(mnms_folder, tmp_path, spoil, message):
    spoil(mnms_folder)
    with pytest.raises(InputError, match=message):
        prepare_mnms(mnms_folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "scanner"}, "by: expected vendor or centre, found 'scanner'"),
        ({"splits": "new"}, "splits: expected published or random"),
        ({"unlabelled_frames": -1}, "unlabelled_frames: expected a number of at least 0, found -1"),
        ({"splits": "random", "test": 1.0}, "expected fractions that leave some subjects for training"),
        ({"table": "nowhere.csv"}, r"nowhere\.csv: cannot be read"),
    ],
)
def test_options_of_no_sense_are_refused(mnms_folder, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        prepare_mnms(mnms_folder, tmp_path / "out", **options)


def test_a_table_without_a_column_is_refused(mnms_folder, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("External code,Vendor,ED,ES\n")
    with pytest.raises(InputError, match=r"other\.csv: expected the columns .* found none named 'Centre'"):
        prepare_mnms(mnms_folder, tmp_path / "out", table=other)


def test_a_folder_without_cines_is_refused(tmp_path):
    write_table(tmp_path / TABLE)
    with pytest.raises(InputError, match=r"expected cines Training/Labeled/<code>/<code>_sa\.nii\.gz"):
        prepare_mnms(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="nowhere: no such folder"):
        prepare_mnms(tmp_path / "nowhere", tmp_path / "out")
