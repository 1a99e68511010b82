"""Whose images they are, by pattern, table and guess."""

from __future__ import annotations

import time
import unicodedata
from itertools import product
from pathlib import Path

import pytest

from shared_components.data.check import inspect_client_root
from shared_components.data.pairing import Pair, find_pairs
from shared_components.data.patients import (
    guessed_patients,
    likely_patients,
    patients_by_pattern,
    patients_by_table,
    shared_patients,
)
from shared_components.errors import InputError


def shared(names: list[str]) -> list[list[str]]:
    return list(shared_patients(guessed_patients(names)).values())


@pytest.mark.parametrize(
    "names",
    [
        ["P00_ED", "P00_ES"],
        ["patient001_frame01", "patient001_frame12"],
        ["sub-01_ses-1_T1w", "sub-01_ses-2_T1w"],
        ["heart_07_left", "heart_07_right"],
        ["s3-visit2", "s3-visit1"],
        ["case12.pre", "case12.post"],
        ["P03_t1", "P03_t1ce", "P03_t2", "P03_flair"],
        ["P0-t1c", "P0-t1n", "P0-t2f", "P0-t2w"],
        ["P3_T1w", "P3_T1GD"],
        ["OAS_03_MR1", "OAS_03_MR2"],
        ["P3_series3", "P3_series4"],
    ],
)
def test_names_of_one_patient(names):
    assert shared(names) == [names]
    others = [name.replace("0", "8").replace("3", "8").replace("12", "8") for name in names]
    assert len(shared([*names, *others])) == 2


@pytest.mark.parametrize(
    "names",
    [
        ["s1", "s2"],
        ["sub-01", "sub-02"],
        [f"case_{number:02d}" for number in range(9)],
        [f"BraTS2021_{number:05d}" for number in range(9)],
        [f"site{site}-sc{number:02d}" for site in range(4) for number in range(9)],
        [f"site{site}_{number:02d}" for site in range(4) for number in range(9)],
        ["A0S9V9", "A1D0Q7"],
        [f"t1_{name}" for name in "abcdefghijklmnop"],  # too many for one patient
        [f"case_{number}" for number in range(1998, 2008)],
        [f"2019-03-{day:02d}_scan" for day in (1, 2, 3)],
        ["P1a", "P2b", "P3c"],
    ],
)
def test_names_that_tell_nothing(names):
    assert shared(names) == []


@pytest.mark.parametrize(
    "form", ["{}_{:03d}", "{}_s{:03d}", "{}_z{:02d}", "{}_img{:03d}", "{}-slice{:04d}", "{}_{:03d}_flair"]
)
@pytest.mark.parametrize("slices", [5, 30])
def test_pictures_are_slices_of_whom_their_names_begin_with(form, slices):
    names = [[form.format(patient, number) for number in range(slices)] for patient in ("P01", "P02", "P03")]
    images = {name: f"images/{name}.png" for own in names for name in own}
    assert list(shared_patients(likely_patients(images)).values()) == names
    folders = {f"{p}/{n}": f"{p}/{n}.png" for p in ("case 1", "case 2") for n in range(slices)}
    assert len(shared_patients(likely_patients(folders))) == 2


@pytest.mark.parametrize(
    "form", ["retina_{:03d}", "ISIC{:05d}", "img{:03d}", "site 1/{:03d}", "train/{:03d}"]
)
def test_pictures_that_tell_nobody(form):
    images = {form.format(number): f"{form.format(number)}.png" for number in range(20)}
    assert not shared_patients(likely_patients(images))


def test_mere_numbers_count_where_patients_outnumber_images():
    names = [f"p{patient}_{image}" for patient in range(3) for image in (1, 2)]
    assert shared(names) == [names[:2], names[2:4], names[4:]]


@pytest.mark.parametrize("names", [["P0_2019", "P0_2021"], ["P0_2019-03-01", "P0_20210402", "P0_01.04.2022"]])
def test_years_and_days_are_visits(names):
    assert shared(names) == [names]


@pytest.mark.parametrize("ends", [("_2019", "_2021"), ("_visit1", "_visit2"), ("_2019-03-01", "_01.04.2021")])
def test_patients_without_a_number_count_where_they_outnumber_their_visits(ends):
    names = [f"{patient}{end}" for patient in ("Meier", "Huber") for end in ends]
    assert shared(names) == [names[:2], names[2:]]
    assert shared(names[:2]) == []


@pytest.mark.parametrize("form", ["{p}{v}", "2019-03-0{n}_{p}"])
def test_letters_behind_patients_and_dates_before_them(form):
    names = [form.format(p=p, v=v, n=n) for p in ("P0", "P1", "P2") for n, v in enumerate("ab", 1)]
    assert shared(names) == [names[:2], names[2:4], names[4:]]


FIVE = ("P0", "P1", "P2", "P3", "P4")
NAMES = ("Meier", "Huber", "Schmidt")


def in_folders(form: str, **words: tuple[str, ...]) -> dict[str, list[str]]:
    """The likely patients of several images whose paths are every combination of the words."""
    paths = [form.format(**dict(zip(words, chosen, strict=True))) for chosen in product(*words.values())]
    return shared_patients(likely_patients({path: Path("/root", path) for path in paths}))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("{p}/{v}/t1.nii.gz", {"p": FIVE, "v": ("2019", "2021")}),
        ("{p}/{v}/t1.nii.gz", {"p": NAMES, "v": ("2019-03-01", "20210402_MR", "01.02.2023", "baseline")}),
        ("images/{p}/{v}/scan.nii.gz", {"p": NAMES[:2], "v": tuple(f"visit{n}" for n in range(12))}),
        ("{p}/{v}/scan.nii.gz", {"p": NAMES, "v": ("old", "new")}),
        ("{p}/scan-{p}-{v}.nii.gz", {"p": NAMES, "v": ("old", "new")}),
        ("{v}/{p}.nii.gz", {"v": ("session1", "session2"), "p": FIVE}),
        ("{p}/{v}.nii.gz", {"p": NAMES, "v": ("T1", "flair")}),
        ("sub-{p}/ses-{v}/anat/sub-{p}_ses-{v}_T1w.nii.gz", {"p": ("01", "02"), "v": ("1", "2", "3")}),
    ],
)
def test_folders_say_whose_visits_they_hold(form, words):
    found = in_folders(form, **words)
    assert [name.removeprefix("sub-") for name in found] == list(words["p"])
    assert {len(images) for images in found.values()} == {len(words["v"])}


def test_patients_of_two_sites_are_two():
    found = in_folders("{s}/{p}/{v}/t1.nii", s=("Bern", "Basel"), p=NAMES, v=("2019", "2020"))
    assert list(found) == [f"{site}_{name}" for site in ("Bern", "Basel") for name in NAMES]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("{p}/t1.nii.gz", {"p": FIVE}),
        ("images/{p}/t1.nii.gz", {"p": FIVE}),
        ("{v}/{p}.nii.gz", {"v": ("train", "val", "test", "extra"), "p": ("1", "2", "3")}),
        ("site{s}/sc{p}.nii.gz", {"s": ("1", "2", "3", "4"), "p": ("1", "2", "3")}),
        ("{s}/{p}.nii.gz", {"s": ("Bern", "Basel", "Milan"), "p": ("p01", "p02")}),
        ("{s}/{p}/t1.nii.gz", {"s": ("Bern", "Basel"), "p": NAMES}),
        ("sub-{p}/anat/sub-{p}_T1w.nii.gz", {"p": ("01", "02")}),
    ],
)
def test_folders_of_sites_and_layouts_are_no_patients(form, words):
    assert in_folders(form, **words) == {}


def test_visits_of_some_patients_alone():
    paths = ("P0/2019/t1.nii", "P0/2021/t1.nii", "P1/2020/t1.nii", "P2/t1.nii")
    assert likely_patients({path: path for path in paths}) == dict(
        zip(paths, ("P0", "P0", "P1", "P2"), strict=True)
    )


def test_a_pattern_with_one_group():
    assert patients_by_pattern(["P00_ED", "P01_ES"], r"(P\d+)_.*") == {"P00_ED": "P00", "P01_ES": "P01"}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(P\d+", r"expected a regular expression, found '\(P"),
        (r"P\d+_.*", r"expected one group in parentheses, the patient, found 0 in"),
        (r"(P)(\d+)_.*", r"expected one group in parentheses, the patient, found 2 in"),
        (r"(X\d+)_.*", r"finds no patient in the image 'P00_ED'; it must fit the whole name"),
        (r"(P*?)00_ED|.*", r"finds no patient in the image 'Q'"),
    ],
)
def test_patterns_of_no_sense(pattern, message):
    with pytest.raises(InputError, match=message) as told:
        patients_by_pattern(["P00_ED", "Q"], pattern)
    assert "\n" not in str(told.value)


def test_a_pattern_that_would_never_end_is_stopped():
    began = time.monotonic()
    with pytest.raises(InputError, match=r"takes more than 2 s; write a simpler one"):
        patients_by_pattern(["a" * 60 + "!"], "((?:a+)+)")
    assert time.monotonic() - began < 10


def pairs(*images: str) -> list[Pair]:
    return [Pair(Path(image).name.split(".")[0], Path("root/images") / image) for image in images]


def table(folder: Path, *rows: str) -> Path:
    path = folder / "patients.csv"
    path.write_text("\n".join(["\ufeffimage, patient", *rows, ""]), encoding="utf-8")
    return path


def test_a_table(tmp_path):
    stated = table(tmp_path, "images/s1.nii.gz,p7", "s2,p7", "s3.nrrd, p8", "other,p9")
    found = patients_by_table(pairs("s1.nii.gz", "s2.nii.gz", "s3.nrrd"), stated)
    assert found == {"s1": "p7", "s2": "p7", "s3": "p8"}


def found_in(root: Path, images: list[str]) -> list[Pair]:
    for image in images:
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        (root / image).touch()
    return find_pairs(root)


@pytest.mark.parametrize(
    ("images", "rows"),
    [
        (["p1/t2.nii.gz", "p2/t2.nii.gz"], ["p1/t2.nii.gz,a", "site/p2/t2.nii.gz,b"]),
        (["p1/t2.nii.gz", "p2/t2.nii.gz"], ["p1,a", "p2/flair.nii.gz,b"]),
        (
            ["imagesTr/case_1_0000.nii.gz", "imagesTr/case_2_0000.nii.gz"],
            ["case_1_0000.nii.gz,a", "case_2,b"],
        ),
        (["images/c_0000.nii", "images/d_0000.nii"], ["images/c_0000.nii,a", "d_0000,b"]),
        (["images/c_0001.nii", "images/c_0002.nii"], ["images/c_0001.nii,a", "c_0002,b"]),
        (["c_0001.nii.gz", "c_0002.nii.gz"], ["elsewhere/c_0001.nii.gz,a", "c_0002.nii.gz,b"]),
        (["M\u00fcller.nii.gz", "Sa\u0308nger.nii.gz"], ["Mu\u0308ller.nii.gz,a", "S\u00e4nger,b"]),
        (["c1/p01/t2.nii", "c1/p02/t2.nii", "c2/p01/t2.nii"], ["c1/p01/t2.nii,a", "c1_p02,b", "c2/p01,c"]),
        (["case_0001/t2.nii", "case_0002/t2.nii"], ["case_0001,a", "case_0002/t2.nii,b"]),
        (["c1/p01.nii", "c2/p01.nii"], ["c1/p01.nii,a", "/elsewhere/c2/p01.nii,b"]),
        (["a.nii.gz", "b.nii.gz"], ["b/a.nii.gz,a", "a/b.nii.gz,b"]),
        (["a.nii.gz", "b.nii.gz"], [f"/{'long/' * 30}a.nii.gz,a", "b,b", "c.nii.gz,c", "..,d", ".,e"]),
    ],
)
def test_images_are_stated_as_they_stand_in_the_folder(tmp_path, images, rows):
    found = patients_by_table(found_in(tmp_path / "root", images), table(tmp_path, *rows))
    assert list(found.values()) == ["a", "b", "c"][: len(images)]


def test_numbered_subjects_that_are_not_in_the_folder_are_passed_over(tmp_path):
    images = found_in(tmp_path / "root", [f"case_{n:04}.nii" for n in (1, 2)])
    stated = table(tmp_path, "case_0001,a", "case_0002,b", "case_0007,c")
    assert patients_by_table(images, stated) == {"case_0001": "a", "case_0002": "b"}
    one = found_in(tmp_path / "one", ["case_0001.nii"])
    with pytest.raises(InputError, match="has no line of the image 'case_0001'; add it"):
        patients_by_table(one, table(tmp_path, "case_0002,b"))


def test_umlauts_of_a_mac_are_those_of_other_machines(tmp_path):
    images = found_in(tmp_path / "root", [unicodedata.normalize("NFD", "M\u00fcller.nii.gz")])
    stated = table(tmp_path, unicodedata.normalize("NFD", "M\u00fcller.nii.gz") + ",a")
    assert patients_by_table(images, stated) == {"M\u00fcller": "a"}


def test_another_site_s_image_of_the_same_name_is_not_taken(tmp_path):
    images = found_in(tmp_path / "root", ["c1/p01/t2.nii", "c2/p02/t2.nii"])
    with pytest.raises(InputError, match=r"has no line of the image 'c1'; add it"):
        patients_by_table(images, table(tmp_path, "c3/p01/t2.nii,a", "c2/p02/t2.nii,b"))


def test_a_line_that_fits_several_images_is_told(tmp_path):
    images = found_in(tmp_path / "root", ["c1/p01.nii", "c2/p01.nii"])
    with pytest.raises(InputError) as told:
        patients_by_table(images, table(tmp_path, "c1/p01.nii,a", "", "p01.nii,b"))
    assert str(told.value) == (
        f"{tmp_path / 'patients.csv'}: line 4: expected one image, found 'p01.nii', which fits 2, such as "
        f"{images[0].image} and {images[1].image}; state its folders too, or the subject, such as 'c1'"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,patient\ns1,p1\n", r"expected the columns image and patient, found \['file', 'patient'\]"),
        ("", r"expected the columns image and patient, found \[\]"),
        ("image,patient\ns1,p1\n", r"has no line of the image 's2' and 1 more; add it"),
        ("image,patient\ns1,p1\ns1,p2\n", r"line 3: a second patient of 's1'; keep one of them"),
        ("image,patient\ns1\n", r"line 2: expected a name, found ''; state an image and its patient"),
        (
            "image,patient\ns1,\0\n",
            r"line 2: expected a name of letters that can be printed|line contains NUL",
        ),
    ],
)
def test_tables_of_no_sense(tmp_path, text, message):
    (tmp_path / "patients.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        patients_by_table(pairs("s1.nii", "s2.nii", "s3.nii"), tmp_path / "patients.csv")


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_tables_as_excel_and_windows_write_them(tmp_path, mark):
    lines = ["image,patient", r"C:\data\images\s1.nii,p1", r"images\s2.nii,p2"]
    (tmp_path / "t.csv").write_text("\ufeff" + "\r\n".join(line.replace(",", mark) for line in lines))
    assert patients_by_table(pairs("s1.nii", "s2.nii"), tmp_path / "t.csv") == {"s1": "p1", "s2": "p2"}


def test_a_table_in_another_encoding(tmp_path):
    (tmp_path / "t.csv").write_text("image,patient\ns1,Müller\n", encoding="latin-1")
    with pytest.raises(InputError, match=r"t\.csv is no UTF-8 text \(.*\); save it as CSV in UTF-8"):
        patients_by_table(pairs("s1.nii"), tmp_path / "t.csv")


def test_a_table_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"--patients: .*none\.csv cannot be read as a table \(No such file"):
        patients_by_table(pairs("s1.nii"), tmp_path / "none.csv")


def test_the_check_warns_of_one_patient_in_two_splits(data_root, describe):
    root, content = data_root
    for key, old, new in (("training", "s2", "P00_ED"), ("validation", "s3", "P00_ES")):
        (root / f"images/{old}.nii.gz").rename(root / f"images/{new}.nii.gz")
        content[key][-1]["image"] = f"images/{new}.nii.gz"
    describe(root, content)
    report = inspect_client_root(root)
    assert report.faults == []
    assert [str(note) for note in report.notes] == [
        f"{root}/dataset.json: P00_ED (training) and P00_ES (validation) look like images of one patient, P00; keep "
        "them in one split, or give every entry its 'patient' if they are not"
    ]
    for key, name, visit in (("training", "P00_ED", "2019"), ("validation", "P00_ES", "2021")):
        (root / f"images/Meier/{visit}").mkdir(parents=True)
        content[key][-1] = {"image": f"images/Meier/{visit}/t1.nii.gz", "subject": f"Meier_{visit}"}
        (root / f"images/{name}.nii.gz").rename(root / content[key][-1]["image"])
    describe(root, content)
    (note,) = inspect_client_root(root).notes
    assert "Meier_2019 (training) and Meier_2021 (validation) look like images of one patient, Meier;" in str(
        note
    )
    content["training"][-1]["patient"], content["validation"][-1]["patient"] = "p1", "p2"
    describe(root, content)
    assert inspect_client_root(root).notes == []
