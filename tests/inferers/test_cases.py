from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shared_components.errors import InputError
from shared_components.inferers import find_cases, tell_left_out


def volume(path: Path, shape=(4, 5, 6)) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)), path)
    return str(path)


def names(cases) -> list[str]:
    return [case["case"] for case in cases]


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("b.nii.gz", "a.nii", "deep/c.nii.gz"):
        volume(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a volume")
    (tmp_path / "d.nrrd").write_bytes(b"NRRD0004\n")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{}", ["a", "b", "d"]),
        ("{}/a.nii", ["a"]),
        ("{}/*.nii.gz", ["b"]),
        ("{}/**/*.nii.gz", ["b", "c"]),
        (["{}/deep", "{}/a.nii"], ["c", "a"]),
        (["{}/a.nii", "{}/a.nii", "{}"], ["a", "b", "d"]),
        ({"image": "{}/a.nii", "case": "subject 1"}, ["subject 1"]),
    ],
)
def test_files_that_a_source_means(folder, source, expected):
    def filled(value):
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        return [filled(item) for item in value] if isinstance(value, list) else value.format(folder)

    assert names(find_cases(filled(source))) == expected


@pytest.mark.parametrize(("header", "voxels"), [("x.hdr", "x.img"), ("x.HDR", "x.IMG")])
def test_a_pair_is_one_case_whichever_of_its_files_is_named(header, voxels, tmp_path):
    for name in (header, voxels, "alone.img"):
        (tmp_path / name).touch()
    expected = [{"image": str(tmp_path / header), "case": "x"}]
    named = [tmp_path / header, tmp_path / voxels]
    for source in (named, *named, tmp_path, tmp_path / f"*{voxels[1:]}", {"image": tmp_path / voxels}):
        assert find_cases(source) == expected
    assert names(find_cases(tmp_path / "alone.img")) == ["alone"]


def test_paths_relative_to_the_working_directory_become_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert find_cases("deep") == [{"image": str(folder / "deep" / "c.nii.gz"), "case": "c"}]


def test_an_earlier_output_is_no_input_but_a_name_that_ends_alike_is(tmp_path):
    for name in ("x.nii.gz", "x_seg.nii.gz", "y_seg.nii.gz"):
        volume(tmp_path / name)
    assert names(find_cases(tmp_path)) == ["x", "y_seg"]
    assert names(find_cases(tmp_path / "x_seg.nii.gz")) == ["x_seg"]


def test_earlier_probabilities_are_no_inputs_either(tmp_path):
    for name in ("x.nii.gz", "x_prob.nii.gz", "x_t00_prob.nii.gz", "y_prob.nii.gz"):
        volume(tmp_path / name)
    assert names(find_cases(tmp_path)) == ["x", "y_prob"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "# two of them\na.nii\n\n  deep/c.nii.gz  \n"),
        ("list.lst", "\ufeffa.nii\r\ndeep\r\n"),
        ("list.json", '["a.nii", {"image": "deep/c.nii.gz"}]'),
        ("list.txt", "{folder}/a.nii\n{folder}/deep/*.nii.gz\n"),
    ],
)
def test_a_list_file_names_volumes_relative_to_itself(folder, name, text, tmp_path_factory, monkeypatch):
    (folder / name).write_text(text.replace("{folder}", str(folder)), encoding="utf-8")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    cases = find_cases(folder / name)
    assert cases == [
        {"image": str(folder / "a.nii"), "case": "a"},
        {"image": str(folder / "deep/c.nii.gz"), "case": "c"},
    ]


def test_what_a_list_names_and_is_not_there_is_a_case_that_reading_will_report(folder):
    (folder / "list.txt").write_text("a.nii\nabsent.nii.gz\n")
    (folder / "list.json").write_text('["a.nii", {"image": "absent.nii.gz", "label": "deep/c.nii.gz"}]')
    assert names(find_cases(folder / "list.txt")) == ["a", "absent"]
    assert find_cases(folder / "list.json")[1] == {
        "image": str(folder / "absent.nii.gz"), "label": str(folder / "deep/c.nii.gz"), "case": "absent"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("list.json", '{"image": "a.nii"}', "expected a list of paths or of"),
        ("list.json", "[1, 2]", "expected a list of paths or of"),
        ("list.json", "a.nii", "expected a list of volumes, could not read it"),
        ("list.txt", "", "expected at least one volume, found none"),
        ("list.txt", "other.txt", "found a list in a list"),
    ],
)
def test_a_faulty_list_is_told(folder, name, text, fault):
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=fault):
        find_cases(folder / name)


def test_links_that_lead_in_a_circle_do_not_multiply_the_files(folder):
    (folder / "deep" / "up").symlink_to(folder, target_is_directory=True)
    assert names(find_cases(f"{folder}/**/*.nii.gz")) == ["b", "c"]


def test_equal_file_names_are_told_apart_by_their_folders(tmp_path):
    for name in ("one/mr/t1.nii.gz", "two/mr/t1.nii.gz", "two/mr/t2.nii.gz"):
        volume(tmp_path / name)
    assert names(find_cases(f"{tmp_path}/**/*.nii.gz")) == ["one_mr_t1", "two_mr_t1", "t2"]


def test_a_client_root_gives_a_split_with_its_labels(tmp_path):
    images = [volume(tmp_path / "images" / f"s{index}.nii.gz") for index in range(3)]
    volume(tmp_path / "labels" / "s0.nii.gz")
    content = {
        "name": "north", "domain": "t1", "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "brain"},
        "training": [{"image": "images/s2.nii.gz"}], "validation": [],
        "test": [{"image": "images/s0.nii.gz", "label": "labels/s0.nii.gz"}, {"image": "images/s1.nii.gz"}],
    }  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps(content))

    labelled, unlabelled = find_cases(tmp_path)
    assert labelled == {"image": images[0], "label": str(tmp_path / "labels/s0.nii.gz"), "case": "s0"}
    assert unlabelled == {"image": images[1], "case": "s1"}
    assert names(find_cases(tmp_path, labelled=True)) == ["s0"]
    assert names(find_cases(tmp_path, split="training")) == ["s2"]
    assert find_cases(tmp_path / "dataset.json") == [labelled, unlabelled]
    assert names(find_cases(tmp_path, split="all")) == ["s2", "s0", "s1"]
    with pytest.raises(InputError, match=r"expected at least one volume, found none.*'validation' list"):
        find_cases(tmp_path, split="validation")


def test_a_data_root_of_other_classes_is_not_scored(tmp_path):
    """1 is the left ventricle here and the right one in ACDC: scores by number would be of something else."""
    image = volume(tmp_path / "images" / "s1.nii")
    volume(tmp_path / "labels" / "s1.nii")
    labels = {"0": "background", "1": "right ventricle", "2": "left ventricle"}
    content = {"name": "d", "domain": "t1", "labels": labels, "training": []}
    content["test"] = [{"image": "images/s1.nii", "label": "labels/s1.nii"}]
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    own = {int(value): name for value, name in labels.items()}
    assert [case["image"] for case in find_cases(tmp_path, labelled=True, labels=own)] == [image]
    swapped = {0: "background", 1: "left ventricle", 2: "right ventricle"}
    with pytest.raises(InputError, match=r"dataset\.json: 'labels' are .*right ventricle"):
        find_cases([str(tmp_path)], labelled=True, labels=swapped)
    assert find_cases(tmp_path / "images", labels=swapped), "a folder says nothing of classes"


def test_what_of_a_client_root_is_left_out_is_told(tmp_path, capsys):
    entries = [{"image": Path(volume(tmp_path / f"s{index}.nii.gz")).name} for index in range(3)]
    content = {"name": "north", "domain": "t1", "labels": {"0": "background", "1": "brain"}, "validation": []}
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps(content | {"training": entries[:2], "test": entries[2:]}))

    for source in (tmp_path, file, str(tmp_path)):
        tell_left_out(source, "test")
        out = capsys.readouterr().out
        assert "1 of its 3 images are in its 'test' list" in out and "--split all" in out
    for source, split in (
        (tmp_path, "all"),
        ([str(tmp_path)], "test"),
        (str(tmp_path / "s0.nii.gz"), "test"),
    ):
        tell_left_out(source, split)
    file.write_text(json.dumps(content | {"training": [], "test": entries}))
    tell_left_out(tmp_path, "test")
    assert not capsys.readouterr().out


def test_files_of_a_folder_that_nothing_reads_are_told(tmp_path, capsys):
    volume(tmp_path / "s0.nii.gz")
    tell_left_out(tmp_path, "test")
    assert not capsys.readouterr().out
    (tmp_path / "aseg.mgz").touch()
    tell_left_out(tmp_path, "test")
    out = capsys.readouterr().out
    assert "1 file is of a format that is not read" in out and "aseg.nii.gz" in out
    (tmp_path / "s0.nii.gz").unlink()
    with pytest.raises(InputError, match=r"found none in .*1 file is of a format that is not read"):
        find_cases(tmp_path)


def test_folders_of_dicom_slices_are_one_case_each(tmp_path):
    for series, suffix in (("s1", ".dcm"), ("s2", "")):
        (tmp_path / series).mkdir()
        for index in range(2):
            (tmp_path / series / f"{index}{suffix}").write_bytes(bytes(128) + b"DICM")
    assert names(find_cases(tmp_path)) == ["s1", "s2"]
    assert names(find_cases(tmp_path / "s2")) == ["s2"]


def test_faults_name_the_file_and_the_cure(tmp_path):
    with pytest.raises(InputError, match=r"absent: expected a volume, a folder or a pattern"):
        find_cases(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: expected volumes .*a pattern searches the folders"):
        find_cases(tmp_path / "empty")
    with pytest.raises(InputError, match=r"nowhere\.nii: expected a volume, found nothing"):
        find_cases([{"image": tmp_path / "nowhere.nii"}])
    with pytest.raises(InputError, match="expected a key 'image'"):
        find_cases([{"label": "x.nii"}])
    same = [volume(tmp_path / "same" / name) for name in ("a.nii", "a.nii.gz")]
    with pytest.raises(InputError, match=r"a\.nii and .*a\.nii\.gz: would be one file, a_seg\.nii\.gz"):
        find_cases(same)


def test_a_volume_of_one_time_point_one_slice_and_a_time_series_are_accepted(tmp_path):
    volume(tmp_path / "cine.nii.gz", (4, 5, 6, 3))
    volume(tmp_path / "one.nii.gz", (4, 5, 6, 1))
    volume(tmp_path / "slice.nii.gz", (4, 5))
    assert names(find_cases(tmp_path)) == ["cine", "one", "slice"]


def test_images_in_folders_below_are_told_unless_they_are_outputs(folder, capsys):
    tell_left_out(folder, "test")
    said = capsys.readouterr().out
    assert f"such as {folder}/deep/c.nii.gz; '{folder}/**/*' takes all" in said
    assert names(find_cases(folder / "**" / "*")) == ["a", "b", "d", "c"]
    (folder / "deep" / "cases.json").write_text("[]")
    tell_left_out(folder, "test")
    assert capsys.readouterr().out == ""


def test_folders_of_dicom_below_a_folder_are_no_images_below_it_but_those_deeper_are(tmp_path, capsys):
    for place in ("anna", "bert/t1"):
        (tmp_path / place).mkdir(parents=True)
        for index in range(2):
            (tmp_path / place / f"{index}").write_bytes(bytes(128) + b"DICM")
    tell_left_out(tmp_path, "test")
    assert f"such as {tmp_path}/bert/t1;" in capsys.readouterr().out
    assert names(find_cases(tmp_path)) == ["anna"]
    assert names(find_cases(tmp_path / "**" / "*")) == ["anna", "t1"]
    shutil.rmtree(tmp_path / "anna")
    with pytest.raises(InputError, match=r"which finds .*/bert/t1$"):
        find_cases(tmp_path)
