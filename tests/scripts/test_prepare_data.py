"""The command line as a hospital's engineer meets it."""

from __future__ import annotations

import importlib.util
import io
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
import pytest

from shared_components.command_line import run
from shared_components.data.dataset_json import SPLITS
from tests.data.challenges.layouts import write_mnms, write_scgm

SCRIPT = Path(__file__).parents[2] / "scripts/prepare_data.py"


class Ended(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def prepare(capsys):
    """Run the command line in this process: importing MONAI anew for each call would take seconds."""
    spec = importlib.util.spec_from_file_location("prepare_data", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def command(*words: str | Path) -> Ended:
        code = 0
        try:
            run(script.COMMANDS, [str(word) for word in words])
        except SystemExit as ended:
            code = ended.code
        told = capsys.readouterr()
        return Ended(code, told.out, told.err)

    return command


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "ward 7/2024_01"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for number in range(5):
        image = np.random.default_rng(number).normal(size=(8, 8, 3)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), root / f"images/s{number}.nii.gz")
        label = (image > 0).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), root / f"labels/s{number}.nii.gz")
    return root


def test_a_folder_becomes_a_checked_data_root(prepare, folder):
    made = prepare(
        "make-datalist", folder, "--domain", "t2", "--labels", "background,brain", "--modality", "MRI"
    )
    assert made.returncode == 0, made.stderr
    assert "subjects: training 4 (4 labelled), validation 0 (0 labelled), test 1 (1 labelled)" in made.stdout
    assert "classes: 0 background, 1 brain" in made.stdout
    assert (
        "note: validation has no labelled subject: a model trained here is that of the last epoch"
        in made.stdout
    )
    content = json.loads((folder / "dataset.json").read_text())
    assert content["name"] == "2024_01"
    assert content["labels"] == {"0": "background", "1": "brain"}
    checked = prepare("check", folder)
    assert checked.returncode == 0, checked.stderr
    assert "4 (4 labelled)" in checked.stdout
    assert "8 × 8 × 3" in checked.stdout
    assert "note: " not in checked.stdout


def test_what_few_subjects_leave_empty_is_said_with_a_cure_that_works(prepare, folder):
    words = ["make-datalist", folder, "--domain", "t2", "--labels", "background,brain"]
    told = prepare(*words).stdout
    cure = shlex.split(told.split("of the last epoch", 1)[1].split("; ")[1].split(" gives")[0])
    assert cure == ["--validation", "0.25", "--force"]
    again = prepare(*words, *cure).stdout
    assert "validation 1 (1 labelled)" in again and "note: validation" not in again
    for label in (folder / "labels").iterdir():
        label.unlink()
    told = prepare(*words, "--test", "0.01", "--force").stdout
    assert (
        "note: test is empty: no volume of this client is segmented" in told and "validation has" not in told
    )
    assert "note: test has no labels: a study segments" in prepare(*words, "--force").stdout


@pytest.mark.parametrize(
    ("labelled", "cure"), [(1, "one more patient with labels"), (2, "--validation 0.5 --force")]
)
def test_a_share_for_validation_counts_patients(prepare, folder, labelled, cure):
    for kind in ("images", "labels"):
        for number in range(5):
            file = folder / kind / f"s{number}.nii.gz"
            for visit in (1, 2, 3):
                if kind == "images" or number < labelled:
                    (folder / kind / f"P{number}_v{visit}.nii.gz").write_bytes(file.read_bytes())
            file.unlink()
    words = ["make-datalist", folder, "--domain", "t2", "--labels", "background,brain", "--patients", "guess"]
    words += ["--test", "0"]
    told = prepare(*words).stdout
    assert cure in told
    if labelled > 1:
        assert "validation 9 (3 labelled)" in prepare(*words, "--validation", "0.5", "--force").stdout


def test_all_problems_of_all_roots_are_listed_and_the_status_is_1(prepare, folder, tmp_path):
    prepare("make-datalist", folder, "--domain", "t2")
    (folder / "images/s1.nii.gz").write_text("no image")
    (folder / "images/s2.nii.gz").unlink()
    checked = prepare("check", folder, tmp_path / "nowhere")
    assert checked.returncode == 1
    assert checked.stdout == ""
    assert "3 problems in 2 data roots:" in checked.stderr
    assert "s1.nii.gz: not an image" in checked.stderr
    assert "s2.nii.gz: no such file" in checked.stderr
    assert "nowhere: no such folder" in checked.stderr


def test_faults_of_the_command_line_are_one_line_and_status_2(prepare, folder):
    for words, message in (
        (["check"], "name at least one data root"),
        (
            ["make-datalist", folder, "--domain", "t2", "--labels", "brain"],
            "expected class names as background,brain",
        ),
        (["make-datalist", folder / "images/s1.nii.gz", "--domain", "t2"], "no such folder"),
    ):
        refused = prepare(*words)
        assert refused.returncode == 2
        assert refused.stderr.startswith("error: ")
        assert message in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    assert not (folder / "dataset.json").exists()


def test_the_cure_for_a_time_series_works(prepare, folder):
    series = folder / "images/s0.nii.gz"
    movie = np.random.default_rng(9).normal(size=(8, 8, 3, 4)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(movie, np.eye(4)), series)
    prepare("make-datalist", folder, "--domain", "t2", "--labels", "background,brain")
    fault = prepare("check", folder).stderr
    command = fault.split("(in the repository: python scripts/prepare_data.py ")[1].split(")")[0]
    done = prepare(*shlex.split(command))
    assert done.returncode == 0, done.stderr
    assert nibabel.load(folder / "images/s0_t03.nii.gz").shape == (8, 8, 3)


def test_challenges_become_checked_data_roots(prepare, tmp_path):
    out = tmp_path / "mnms out"
    made = prepare(
        "mnms",
        write_mnms(tmp_path / "mnms"),
        "--output_dir",
        out,
        "--splits",
        "random",
        "--unlabelled_frames",
        "1",
    )
    assert made.returncode == 0, made.stderr
    assert f"{out}/C: training 6 (2 labelled), validation 0 (0 labelled), test 0 (0 labelled)" in made.stdout
    checked = prepare(*shlex.split(made.stdout.split("next: python scripts/prepare_data.py ")[1]))
    assert checked.returncode == 0, checked.stderr
    made = prepare(
        "scgm",
        write_scgm(tmp_path / "scgm"),
        "--output_dir",
        tmp_path / "scgm out",
        "--masks",
        "2",
        "--grey_only",
    )
    assert "site4: training 4 (2 labelled), validation 0 (0 labelled), test 1 (1 labelled)" in made.stdout
    refused = prepare("scgm", tmp_path / "scgm", "--output_dir", tmp_path / "other", "--masks", "mean")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: masks: expected majority, union or")


def test_the_script_runs_as_a_program_from_any_folder(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "check", "nowhere"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "1 problem in 1 data root:\n  nowhere: no such folder; correct the path of the data root\n"
    )


def test_threshold_makes_label_maps_of_probability_maps(prepare, folder):
    maps = []
    for number in range(2):
        path = folder / f"labels/s{number}.nii.gz"
        soft = np.asarray(nibabel.load(path).dataobj) * np.float32(0.5) + np.float32(0.1 + 0.2 * number)
        nibabel.save(nibabel.Nifti1Image(soft, np.diag([2.0, 2, 5, 1])), path)
        maps.append(path)
    hard = folder / "labels_thresholded"
    ended = prepare("threshold", *maps, "--output_dir", hard, "--at", "0.6")
    assert (ended.returncode, ended.stdout) == (0, f"wrote 2 label maps into {hard}\n")
    for path in maps:
        made = nibabel.load(hard / path.name)
        soft = np.asarray(nibabel.load(path).dataobj)
        assert made.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(made.dataobj, soft >= np.float32(0.6))
        np.testing.assert_array_equal(made.affine, nibabel.load(path).affine)
    assert "is there already" in prepare("threshold", maps[0], "--output_dir", hard).stderr
    assert "found 2" in prepare("threshold", maps[0], "--output_dir", folder / "new", "--at", "2").stderr
    assert (
        "expected probabilities from 0 to 1"
        in prepare("threshold", folder / "images/s3.nii.gz", "--output_dir", folder / "new").stderr
    )
    assert "name at least one" in prepare("threshold", "--output_dir", hard).stderr
    (folder / "other").mkdir()
    twice = [maps[0], shutil.copy(maps[0], folder / "other")]
    assert "has the name of" in prepare("threshold", *twice, "--output_dir", folder / "new").stderr
    assert not (folder / "new").exists()


def test_the_cure_for_other_label_values_works(prepare, folder):
    for path in (folder / "labels").iterdir():
        label = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(255 * np.asarray(label.dataobj), label.affine), path)
    refused = prepare("make-datalist", folder, "--domain", "t2").stderr
    made = prepare("make-datalist", folder, *MAKE)
    (note,) = [line for line in made.stdout.splitlines() if "holds the values" in line]
    assert note.startswith(f"note: {folder}/labels/") and "(and so do 4 more label maps)" in note
    cure = note.split("prepare_data.py ")[1].split(" makes 0, 1 of them")[0]
    assert f"{cure} renumbers them in that order" in refused
    assert prepare("check", folder).returncode == 1
    ended = prepare(*shlex.split(cure))
    assert ended.stdout.startswith(f"wrote 5 label maps into {folder}_relabelled; ") and not ended.returncode
    assert prepare("relabel", folder, "--values", "0,255", "--replace").returncode == 0
    made = prepare("make-datalist", folder, *MAKE, "--force")
    assert "holds the values" not in made.stdout and prepare("check", folder).returncode == 0
    again = prepare("relabel", folder, "--values", "0,255", "--replace")
    assert again.returncode == 2 and "expected no values but 0, 255, found 1; name all" in again.stderr
    for words in ((), ("--replace", "--output_dir", folder / "x")):
        assert (
            "expected --output_dir or --replace"
            in prepare("relabel", folder, "--values", "0,1", *words).stderr
        )
    assert "--values: expected" in prepare("relabel", folder, "--values", "0", "--replace").stderr


@pytest.mark.parametrize("words", [(), ("--labels", "background,brain")])
def test_label_maps_of_background_alone_are_pointed_out(prepare, folder, words):
    for path in (folder / "labels").iterdir():
        label = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.zeros(label.shape, np.uint8), label.affine), path)
    made = prepare("make-datalist", folder, "--domain", "t2", *words)
    assert (
        "note: none of the 5 label maps has any foreground: all voxels are 0, and nothing can" in made.stdout
    )


def test_notes_are_printed_and_stop_nothing(prepare, folder):
    prepare("make-datalist", folder, "--domain", "t1", "--labels", "background,brain,csf")
    ended = prepare("check", folder)
    assert ended.returncode == 0
    assert "note: " in ended.stdout and "no label map has a voxel of the class 2 csf" in ended.stdout


@pytest.fixture
def hearts(folder):
    """The folder with its images named as two phases of patients: P00_ED, P00_ES, P01_ED, P01_ES, P02_ED."""
    for number, name in enumerate(("P00_ED", "P00_ES", "P01_ED", "P01_ES", "P02_ED")):
        for kind in ("images", "labels"):
            (folder / kind / f"s{number}.nii.gz").rename(folder / kind / f"{name}.nii.gz")
    return folder


MAKE = ("--domain", "t2", "--labels", "background,brain")


def test_a_guess_of_patients_is_told_and_not_taken_unasked(prepare, hearts, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    ended = prepare("make-datalist", hearts, *MAKE)
    assert ended.returncode == 2 and not (hearts / "dataset.json").exists()
    assert ended.stderr.splitlines()[-1] == (
        "error: P00_ED, P00_ES look like images of one patient, P00 (2 such patients); say --patients guess to keep "
        "them in one split, --patients each if every image is another patient's, or name them with --patient_pattern "
        "or a table; where they are sequences, choose one with --images '*_ED.*'"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--patients", "guess"), ["P00", "P00", "P01", "P01", "P02_ED"]),
        (("--patients", "each"), [None] * 5),
        (("--patient_pattern", "(P[0-9]+)_.*"), ["P00", "P00", "P01", "P01", "P02"]),
    ],
)
def test_patients_by_flag(prepare, hearts, words, expected):
    ended = prepare("make-datalist", hearts, *MAKE, *words)
    assert ended.returncode == 0, ended.stderr
    content = json.loads((hearts / "dataset.json").read_text())
    entries = sorted((e["image"], e.get("patient")) for split in SPLITS for e in content[split])
    assert [patient for _, patient in entries] == [
        name and name.replace("P02_ED", "P02") for name in expected
    ]


@pytest.mark.parametrize(("answer", "shared"), [("y\n", True), ("\n", True), ("n\n", False)])
def test_a_guess_of_patients_is_confirmed_at_the_keyboard(prepare, hearts, monkeypatch, answer, shared):
    keyboard = io.StringIO(answer)
    monkeypatch.setattr(keyboard, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", keyboard)
    ended = prepare("make-datalist", hearts, *MAKE)
    assert ended.returncode == 0, ended.stderr
    assert "Keep each patient's images in one split? [Y/n]" in ended.stdout
    assert ("patient" in (hearts / "dataset.json").read_text()) == shared


@pytest.fixture
def visits(folder):
    """Five patients with a folder for each of two visits."""
    for number, label in enumerate(sorted((folder / "labels").iterdir())):
        for visit in ("2019", "2021"):
            place = folder / f"all/P{number}/{visit}"
            place.mkdir(parents=True)
            noise = np.random.default_rng(int(visit) + number).normal(size=(8, 8, 3)).astype(np.float32)
            nibabel.save(nibabel.Nifti1Image(noise, np.eye(4)), place / "t1.nii.gz")
            (place / "seg.nii.gz").write_bytes(label.read_bytes())
    return folder / "all"


def test_visits_in_folders_below_the_patient_are_asked_about_and_kept_together(prepare, visits, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    ended = prepare("make-datalist", visits, *MAKE)
    assert ended.returncode == 2
    assert "P0_2019, P0_2021 look like images of one patient, P0 (5 such patients)" in ended.stderr
    assert ended.stderr.endswith("or name them with --patient_pattern or a table\n")
    ended = prepare("make-datalist", visits, *MAKE, "--patients", "guess", "--validation", "0.2")
    assert ended.returncode == 0 and "they stay in one split" in ended.stdout
    content = json.loads((visits / "dataset.json").read_text())
    patients = {split: [entry["patient"] for entry in content[split]] for split in SPLITS}
    assert {split: len(names) for split, names in patients.items()} == {
        "training": 6,
        "validation": 2,
        "test": 2,
    }
    assert sorted(map(len, map(set, patients.values()))) == [1, 1, 3]


def test_the_cure_for_sequences_in_folders_works(prepare, visits, monkeypatch):
    for place in [*visits.glob("*/2*")]:
        place.rename(place.with_name({"2019": "T1", "2021": "T2"}[place.name]))
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    ended = prepare("make-datalist", visits, *MAKE)
    cure = shlex.split(ended.stderr.splitlines()[-1].split("choose one with ")[1])
    assert cure == ["--images", "*/T1/*"]
    made = prepare("make-datalist", visits, *MAKE, *cure, "--label_maps", "*/T1/seg*")
    assert "training 4 (4 labelled), validation 0 (0 labelled), test 1 (1 labelled)" in made.stdout


def test_sessions_of_bids_are_no_sequences(prepare, tmp_path, monkeypatch):
    for session in ("ses-pre", "ses-post"):
        for kind, voxels in (
            ("", np.random.default_rng(0).normal(size=(8, 8, 3))),
            ("_seg", np.ones((8, 8, 3))),
        ):
            file = tmp_path / f"all/sub-01/{session}/anat/sub-01_{session}_T2w{kind}.nii.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), np.eye(4)), file)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    ended = prepare("make-datalist", tmp_path / "all", *MAKE)
    assert "look like images of one patient" in ended.stderr and "choose one with" not in ended.stderr


def test_a_table_names_patients(prepare, hearts, tmp_path):
    names = ("P00_ED", "P00_ES", "P01_ED", "P01_ES", "P02_ED")
    table = tmp_path / "table.csv"
    table.write_text("image,patient\n" + "".join(f"{name},x{name[2]}\n" for name in names))
    assert prepare("make-datalist", hearts, *MAKE, "--patients", table).returncode == 0
    assert json.loads((hearts / "dataset.json").read_text())["training"][0]["patient"].startswith("x")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("--patients", "each", "--patient_pattern", "(P).*"),
            "expected one of the two; leave the other out",
        ),
        (("--ignore", "many"), "--ignore: expected a whole number, found 'many'"),
        (("--patients", "nowhere.csv"), "--patients: nowhere.csv cannot be read as a table (No such file"),
    ],
)
def test_faulty_flags_are_one_line(prepare, hearts, words, line):
    ended = prepare("make-datalist", hearts, *MAKE, *words)
    assert ended.returncode == 2 and line in ended.stderr.splitlines()[-1]
    assert not (hearts / "dataset.json").exists()


def test_faulty_label_maps_are_pointed_out_in_the_words_of_the_check(prepare, folder):
    file = folder / "labels/s0.nii.gz"
    label = nibabel.load(file)
    voxels = np.where(label.get_fdata() > 0, 1, np.nan).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, label.affine), file)
    made = prepare("make-datalist", folder, *MAKE)
    assert made.returncode == 0 and (folder / "dataset.json").is_file()
    (note,) = [line for line in made.stdout.splitlines() if "NaN" in line]
    assert note.startswith(f"note: {file}: ") and note.endswith(" are NaN or infinite; replace them with 0")
    checked = prepare("check", folder)
    assert checked.returncode == 1 and note.removeprefix("note: ") in checked.stdout + checked.stderr


def test_label_maps_with_labels_in_few_slices_are_pointed_out(prepare, folder):
    label = np.zeros((8, 8, 20), np.uint8)
    label[2:5, 2:5, [4, 9]] = 1
    noise = np.random.default_rng(9).normal(size=label.shape).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(noise, np.eye(4)), folder / "images/s0.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), folder / "labels/s0.nii.gz")
    made = prepare("make-datalist", folder, *MAKE)
    (note,) = [line for line in made.stdout.splitlines() if "have labels" in line]
    assert note == (
        f"note: {folder}/labels/s0.nii.gz: only slices 4, 9 of 20 have labels: if the others were not annotated, say "
        'so with --sparse --force, or with "annotated" in the entries; otherwise they are learnt and scored as '
        "background"
    )
    made = prepare("make-datalist", folder, *MAKE, "--sparse", "--force")
    assert "have labels" not in made.stdout and '"annotated": [' in (folder / "dataset.json").read_text()


def test_the_shipped_spinal_cords(tmp_path, prepare):
    told = prepare("spinal-cord", "--output_dir", tmp_path, "--labelled", "ceitec,milan").stdout
    assert f"{tmp_path}/milan: training 2 (1 labelled), validation 2 (1 labelled), test 0" in told
    assert f"{tmp_path}/nwu: training 1 (0 labelled), validation 0 (0 labelled), test 1 (1 labelled)" in told
