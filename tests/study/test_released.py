"""What may leave a site: a list, checked where it leaves and where it arrives."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from shared_components.errors import InputError
from shared_components.metrics import read_scores, write_scores
from shared_components.study.released import carries, may_leave, pack, unpack


@pytest.mark.parametrize(
    ("stage", "path"),
    [
        ("adaptation", "model.pt"),
        ("adaptation", "checkpoint.pt"),
        ("adaptation", "pictures/translation_1.png"),
        ("adaptation", "overrides.yaml"),
        ("adaptation_predictions", "s3_seg.nii.gz"),
        ("adaptation_predictions", "cases.json"),
        ("adaptation_predictions", "scores.json"),
        ("generalisation_predictions", "s3_seg.nii.gz"),
        ("source_model", "log.txt"),
        ("source_model", "cache/s0.pt"),
        ("source_model", "images/s0.nii.gz"),
        ("synthetic", "../images/s0.nii.gz"),
        ("synthetic", "s0.nii.gz"),
        ("synthetic", "t1/images/../../../s0.nii.gz"),
        ("pictures", "real.png"),
        ("audit", "worst_pairs_0.png"),  # real images
        ("audit", "audit.md"),
        ("something", "model.pt"),
    ],
)
def test_nothing_else_may_leave(stage, path):
    assert not may_leave(stage, path)


def test_the_numbers_of_an_audit_may_leave():
    assert may_leave("audit", "audit.csv") and not carries("audit")


def test_models_and_volumes_go_on_to_other_sites_and_an_adapted_model_does_not():
    assert [
        name for name in ("source_model", "source_only", "synthetic", "generalisation") if not carries(name)
    ] == []
    assert not any(carries(name) for name in ("adaptation", "self_trained", "adaptation_predictions", "else"))


@pytest.fixture
def segmented(tmp_path) -> Path:
    folder = tmp_path / "site" / "adaptation_predictions"
    row = {
        "label": 1,
        "name": "brain",
        "dice": 0.5,
        "hd95_mm": 2.0,
        "hd_mm": 3.0,
        "predicted_ml": 1.0,
        "reference_ml": 1.5,
    }
    scores = [{**row, "case": name, "label": label} for name in ("Mueller", "Smith") for label in (1, 2)]
    folder.mkdir(parents=True)
    write_scores(scores, folder / "scores.csv")
    (folder / "Smith_seg.nii.gz").write_bytes(b"a segmentation")
    return folder


def test_scores_leave_without_names_and_segmentations_not_at_all(segmented, tmp_path):
    archive = tmp_path / "released.zip"
    assert pack("adaptation_predictions", segmented, archive) == ["scores.csv"]
    assert b"Smith" not in archive.read_bytes() and b"Mueller" not in archive.read_bytes()
    assert unpack("adaptation_predictions", archive, tmp_path / "server") == ["scores.csv"]
    rows, before = read_scores(tmp_path / "server" / "scores.csv"), read_scores(segmented / "scores.csv")
    assert [row["case"] for row in rows] == ["volume 1", "volume 1", "volume 2", "volume 2"]
    assert [{**row, "case": ""} for row in rows] == [{**row, "case": ""} for row in before]
    assert (segmented / "scores.csv").read_bytes().count(b"Smith") == 2


def test_links_are_not_followed(tmp_path):
    images, folder = tmp_path / "data", tmp_path / "synthetic"
    (images / "images").mkdir(parents=True)
    (images / "images" / "real.nii.gz").write_bytes(b"a real image")
    (folder / "t2" / "images").mkdir(parents=True)
    (folder / "t2" / "images" / "s0.nii.gz").write_bytes(b"a synthetic image")
    (folder / "t2" / "images" / "s1.nii.gz").symlink_to(images / "images" / "real.nii.gz")
    (folder / "t1").symlink_to(images)
    assert pack("synthetic", folder, tmp_path / "a.zip") == ["t2/images/s0.nii.gz"]
    assert pack("synthetic", folder, tmp_path / "a.zip", tables_alone=True) == []


@pytest.mark.parametrize(
    "name", ["../model.pt", "/model.pt", "images/s0.nii.gz", "t1/../../../images/s0.nii.gz"]
)
def test_an_archive_with_anything_else_is_refused_before_anything_is_written(tmp_path, name):
    archive, folder = tmp_path / "a.zip", tmp_path / "server" / "source_model"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("model.pt", b"weights")
        made.writestr(name, b"x")
    with pytest.raises(InputError, match="is nothing that may leave a site"):
        unpack("source_model", archive, folder)
    assert not folder.exists()


def test_links_and_damage_in_an_archive_are_refused(tmp_path):
    archive = tmp_path / "a.zip"
    link = zipfile.ZipInfo("model.pt")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(link, b"/etc/passwd")
    with pytest.raises(InputError, match=r"model\.pt.* is nothing that may leave"):
        unpack("source_model", archive, tmp_path / "server")
    archive.write_bytes(archive.read_bytes()[:20])
    with pytest.raises(InputError, match="is no archive that can be read"):
        unpack("source_model", archive, tmp_path / "server")


@pytest.mark.parametrize(
    ("method", "times", "told"),
    [
        (zipfile.ZIP_DEFLATED, 1, r"expected 'model\.pt' as it is, found it compressed"),
        (zipfile.ZIP_STORED, 3, "larger than its archive"),
    ],
)
def test_a_small_archive_of_much_is_refused_before_anything_is_written(tmp_path, method, times, told):
    archive, folder = tmp_path / "a.zip", tmp_path / "server" / "source_model"
    with zipfile.ZipFile(archive, "w", method) as made:
        made.writestr("model.pt", bytes(10**5))
        made.filelist *= times  # entries of one and the same content
    with pytest.raises(InputError, match=rf"^source_model: .*{told}; let its site send it again"):
        unpack("source_model", archive, folder)
    assert not folder.exists()
