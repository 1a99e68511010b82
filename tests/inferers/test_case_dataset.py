from __future__ import annotations

import re
import threading
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose
from PIL import Image

from shared_components.data.image_loader import ArrayReader
from shared_components.errors import InputError
from shared_components.inferers import (
    CaseDataset,
    ReadAheadLoader,
    find_cases,
    inference_transforms,
    pending_cases,
    read_case_list,
    refuse_replacing,
    write_case_list,
)
from shared_components.inferers.case_dataset import FAULT, drop_scores, note_faults, noted_faults
from shared_components.inferers.replaced import earlier_outputs
from shared_components.records import read_table, write_record, write_table
from tests.inferers.known_network import inference, save_network


def volume(path: Path, shape=(6, 5, 4), value: float = 0.0) -> str:
    voxels = np.zeros(shape, np.float32)
    voxels.flat[0] = value
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return str(path)


def bad_cases(folder: Path) -> list[dict[str, str]]:
    volume(folder / "nan.nii", value=np.nan)
    volume(folder / "cine.nii", (6, 5, 4, 3), value=np.nan)  # in its first frame
    (folder / "text.nrrd").write_text("hello")
    (folder / "empty.nii.gz").touch()
    names = ("nan.nii", "text.nrrd", "cine.nii", "empty.nii.gz", "absent.nii")
    return [{"image": str(folder / name), "case": name} for name in names]


FAULTS = {
    "nan.nii": r"nan\.nii: 1 of 120 voxels are NaN; replace them",
    "text.nrrd": r"text\.nrrd: not an image that can be read \(.+\); copy it again",
    "cine.nii": r"cine\.nii: 1 of 120 voxels are NaN; replace them",
    "empty.nii.gz": r"empty\.nii\.gz: unreadable: the file is empty; copy it again",
    "absent.nii": r"absent\.nii: expected a volume, found nothing; check the path",
}


def test_labels_stay_behind(tmp_path):
    image = volume(tmp_path / "a.nii")
    dataset = CaseDataset([{"image": image, "case": "b", "label": "c"}], Compose([]))
    assert dataset[0] == {"image": image, "case": "b"}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_a_volume_are_told_in_one_line(name, tmp_path):
    case = next(case for case in bad_cases(tmp_path) if case["case"] == name)
    with pytest.raises(InputError, match=FAULTS[name]):
        CaseDataset([case], inference_transforms(16, 1.0))[0]


def test_a_dataset_that_keeps_going_gives_the_fault_as_an_item(tmp_path):
    dataset = CaseDataset(bad_cases(tmp_path), inference_transforms(16, 1.0), keep_going=True)
    items = list(dataset)
    assert [item["case"] for item in items] == ["nan.nii", "text.nrrd", *["cine.nii"] * 3, *list(FAULTS)[3:]]
    for item in items:
        assert re.fullmatch(f".*{FAULTS[item['case']]}.*", item[FAULT]), item[FAULT]
        assert "\n" not in item[FAULT]


def test_a_picture_or_an_archive_that_memory_does_not_hold_stops_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.new("1", (5, 6)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(ArrayReader, "read", lambda *_: np.empty((10**7, 10**6)))
    np.save(tmp_path / "huge.npy", np.zeros(1))
    sound = nib.Nifti1Image(np.arange(60, dtype=np.float32).reshape(5, 4, 3), np.eye(4))
    nib.save(sound, tmp_path / "sound.nii")
    cases = [{"image": str(file), "case": file.stem} for file in sorted(tmp_path.iterdir())]
    bomb, huge, sound = CaseDataset(cases, inference_transforms(16, 1.0), keep_going=True)
    assert "Image size (30 pixels) exceeds limit" in bomb[FAULT]
    assert "huge.npy: does not fit into memory (Unable to allocate 72.8 TiB" in huge[FAULT]
    assert FAULT not in sound


def test_faults_of_a_program_are_not_dressed_up(tmp_path):
    case = {"image": volume(tmp_path / "a.nii"), "case": "b"}
    dataset = CaseDataset([case], Compose([lambda item: item["absent"]]), keep_going=True)
    with pytest.raises(RuntimeError, match="applying transform"):
        dataset[0]


def test_the_loader_reads_ahead_in_order_and_passes_errors_on(tmp_path):
    names = [volume(tmp_path / f"{index}.nii") for index in range(3)]
    cases = [{"image": name, "case": str(index)} for index, name in enumerate(names)]
    threads = []

    def step(item: dict) -> dict:
        threads.append(threading.current_thread())
        return item if item["case"] != "2" else item["absent"]

    batches = iter(ReadAheadLoader(CaseDataset(cases, step), batch_size=1))
    assert [next(batches)["case"], next(batches)["case"]] == [["0"], ["1"]]
    with pytest.raises(RuntimeError, match="applying transform"):
        next(batches)
    assert threading.main_thread() not in threads


def test_a_time_series_is_one_item_a_frame_between_volumes(tmp_path):
    shapes = {"a": (6, 5, 4), "b": (6, 5, 4, 3), "c": (6, 5)}
    cases = [{"image": volume(tmp_path / f"{n}.nii.gz", shape), "case": n} for n, shape in shapes.items()]
    dataset = CaseDataset(cases, Compose([]))
    assert [(item["case"], item.get("frame"), item.get("frames")) for item in dataset] == [
        ("a", None, None), ("b", 0, 3), ("b", 1, 3), ("b", 2, 3), ("c", None, None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "multiple", "expected"),
    [
        ((10, 12, 3), 16, (32, 32, 3)),  # padded to the training size
        ((40, 12, 3), 16, (48, 32, 3)),  # larger: never cropped, padded to the multiple
        ((40, 12, 3), 1, (40, 32, 3)),
    ],
)
def test_slices_are_padded_and_never_cropped(tmp_path, shape, multiple, expected):
    voxels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "volume.nii")
    image = inference_transforms(32, None, multiple=multiple)({"image": str(tmp_path / "volume.nii")})[
        "image"
    ]
    assert image.shape[1:] == expected
    assert image.dtype == torch.float32
    inside = image[0].numpy() != -1
    assert (image.min(), image.max()) == (-1, 1)
    assert inside.sum() <= voxels.size


def test_a_volume_within_the_training_size_looks_as_in_training(tmp_path):
    from shared_components.data.volumes import volume_transforms

    voxels = np.random.default_rng(0).normal(size=(21, 26, 5)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([-1.5, 1.5, 3, 1])), tmp_path / "volume.nii")
    item = {"image": str(tmp_path / "volume.nii")}
    trained = volume_transforms(("image",), 48, 1.0)(item)["image"]
    assert torch.equal(inference_transforms(48, 1.0)(item)["image"], trained)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float64])
def test_without_its_first_step_an_image_in_memory_is_prepared_as_its_file_is(tmp_path, dtype):
    voxels = np.random.default_rng(0).integers(0, 900, size=(21, 26, 5)).astype(dtype)
    affine = np.diag([-1.5, 1.5, 3, 1])
    nib.save(nib.Nifti1Image(voxels, affine), tmp_path / "volume.nii")
    transforms = inference_transforms(32, 1.0)
    expected = transforms({"image": str(tmp_path / "volume.nii")})["image"]
    image = MetaTensor.ensure_torch_and_prune_meta(voxels, in_memory(affine))
    found = Compose(transforms.transforms[1:])({"image": image})["image"]
    assert found.dtype == torch.float32
    assert torch.equal(found.as_tensor(), expected.as_tensor())
    assert torch.equal(found.affine, expected.affine)


def test_an_image_in_memory_has_no_name_in_messages():
    image = MetaTensor(torch.zeros(8, 8, 2), meta=in_memory(np.diag([0.0, 1, 1, 1])))
    steps = Compose(inference_transforms(16, None).transforms[1:])
    with pytest.raises(RuntimeError) as caught:
        steps({"image": image})
    assert isinstance(caught.value.__cause__, InputError)
    assert str(caught.value.__cause__).startswith("image: its affine has a voxel of zero size")


def in_memory(affine: np.ndarray) -> dict:
    """Metadata of an image without a file, as MONAI Deploy gives them."""
    return {"affine": affine, "original_affine": affine, "original_channel_dim": "no_channel", "space": "RAS"}


def pending_volume(path: Path, shape=(16, 14, 5), shift: float = 0.0) -> Path:
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    affine[0, 3] = shift
    nib.save(nib.Nifti1Image((np.indices(shape).sum(0) % 2).astype(np.uint8), affine), path)
    return path


def flipped(content: bytes) -> bytes:
    """With other bits in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.fixture
def folders(tmp_path) -> tuple[list, Path]:
    """Cases a, b (a time series) and c (MetaImage), all of them done."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    pending_volume(source / "a.nii.gz")
    pending_volume(source / "b.nii", (16, 14, 5, 3))
    itk.imwrite(itk.image_from_array(np.zeros((5, 14, 16), np.uint8)), str(source / "c.mha"))
    pending_volume(out / "a_seg.nii.gz")
    pending_volume(out / "b_seg.nii.gz", (16, 14, 5, 3))
    nib.save(
        nib.Nifti1Image(np.zeros((16, 14, 5), np.uint8), np.diag([-1.0, -1, 1, 1])), out / "c_seg.nii.gz"
    )
    return find_cases(source), out


def names(cases) -> list[str]:
    return [case["case"] for case in cases]


def test_without_resume_all_are_pending(folders):
    cases, out = folders
    assert pending_cases(cases, out, resume=False) == cases


def test_cases_with_an_output_on_their_grid_are_left_out(folders):
    cases, out = folders
    assert pending_cases(cases, out, resume=True) == []
    (out / "b_seg.nii.gz").unlink()
    assert names(pending_cases(cases, out, resume=True)) == ["b"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: pending_volume(path, (16, 14, 4)),
        lambda path: pending_volume(path, shift=3.0),
        lambda path: path.write_bytes(path.read_bytes()[:30]),
        lambda path: path.write_bytes(path.read_bytes()[:-8]),  # whole but for its checksum
        lambda path: path.write_bytes(flipped(path.read_bytes())),
        lambda path: path.write_text("hello"),
    ],
)
@pytest.mark.parametrize("case", ["a", "c"])
def test_outputs_of_another_grid_and_damaged_ones_are_made_again(case, spoil, folders):
    cases, out = folders
    spoil(out / f"{case}_seg.nii.gz")
    assert names(pending_cases(cases, out, resume=True)) == [case]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: pending_volume(path, (16, 14, 4, 2)),
        lambda path: pending_volume(path, (16, 14, 5, 2), shift=3.0),
    ],
)
@pytest.mark.parametrize("file", ["a_prob.nii.gz", "b_t02_prob.nii.gz"])
def test_probabilities_must_be_whole_too_when_they_are_wanted(spoil, file, folders):
    cases, out = folders
    for name in ("a", "b_t00", "b_t01", "b_t02"):
        pending_volume(out / f"{name}_prob.nii.gz", (16, 14, 5, 2))
    assert names(pending_cases(cases, out, resume=True, probabilities=True)) == ["c"]
    spoil(out / file)
    assert names(pending_cases(cases, out, resume=True, probabilities=True)) == [file[0], "c"]
    assert pending_cases(cases, out, resume=True) == []


def test_the_bundle_resumes(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    network = save_network(tmp_path / "model.pt")
    for name in ("a", "b"):
        pending_volume(source / f"{name}.nii.gz")
    inference(source, out, network).run()
    written = {path.name: path.stat().st_mtime_ns for path in out.glob("*_seg.nii.gz")}
    (out / "b_seg.nii.gz").unlink()
    inference(source, out, network, resume=True).run()
    assert (out / "a_seg.nii.gz").stat().st_mtime_ns == written["a_seg.nii.gz"]
    assert (out / "b_seg.nii.gz").is_file()
    inference(source, out, network, resume=True).run()  # nothing is left to do
    (source / "c.nii.gz").write_text("hello")
    with pytest.raises(RuntimeError, match="run"):
        inference(source, out, network, resume=True).run()


def test_what_is_written_is_read_with_whole_paths(tmp_path):
    cases = [
        {"image": "/data/a.nii", "case": "a"},
        {"image": "/data/b.nii", "case": "b", "label": "/data/l.nii"},
    ]
    write_case_list(cases, {0: "background", 1: "brain"}, tmp_path)
    read, labels = read_case_list(tmp_path)
    assert labels == {0: "background", 1: "brain"}
    assert read == [case | {"segmentation": str(tmp_path / f"{case['case']}_seg.nii.gz")} for case in cases]


def test_a_missing_or_damaged_list_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cases\.json: expected an inference run's case list, found none"):
        read_case_list(tmp_path)
    (tmp_path / "cases.json").write_text('{"cases": []}')
    with pytest.raises(InputError, match=r"cases\.json: expected a case list, found KeyError"):
        read_case_list(tmp_path)


ENTRY = {"case": "p", "image": "i", "segmentation": "p_seg.nii.gz", "label": "l"}


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (5, "a case list, found TypeError"),
        ({"segmentation": "x"}, "a text as 'case', found None"),
        (ENTRY | {"case": ["p"]}, "a text as 'case', found ['p']"),
        (ENTRY | {"image": 5}, "a text as 'image', found 5"),
        (ENTRY | {"label": []}, "a text as 'label', found []"),
        (ENTRY | {"fault": 5}, "a text as 'fault', found 5"),
        (ENTRY | {"segmentation": 5}, "a text as 'segmentation', found 5"),
        (ENTRY | {"ignore": "a"}, "a whole number as 'ignore', found 'a'"),
        (ENTRY | {"annotated": 5}, "numbers of slices, found 5"),
    ],
)
def test_an_entry_of_another_kind_is_named_in_one_line(entry, found, tmp_path):
    write_record(tmp_path / "cases.json", {"labels": {"1": "brain"}, "cases": [ENTRY, entry]})
    with pytest.raises(InputError, match=rf"^{tmp_path}/cases\.json: .*expected {re.escape(found)}[^\n]+$"):
        read_case_list(tmp_path)
    assert noted_faults(tmp_path) == {}


def test_a_second_run_into_a_folder_keeps_the_list_of_what_is_in_it(tmp_path):
    first, second, gone, failed = (
        {"image": str(volume(tmp_path / f"{name}.nii")), "case": name}
        for name in ("first", "second", "gone", "failed")
    )
    names = {0: "background", 1: "brain"}
    out = tmp_path / "out"
    write_case_list([first, gone, failed], names, out)
    for name in ("first", "gone"):
        volume(out / f"{name}_seg.nii.gz")
    Path(gone["image"]).unlink()

    write_case_list([second], names, out)
    assert [case["case"] for case in read_case_list(out)[0]] == ["first", "second"]
    write_case_list([first | {"label": "/data/l.nii"}], names, out)  # told anew
    assert [(case["case"], case.get("label")) for case in read_case_list(out)[0]] == [
        ("first", "/data/l.nii")
    ]
    write_case_list([second], names | {1: "cord"}, out)  # another model's classes
    assert [case["case"] for case in read_case_list(out)[0]] == ["second"]


def beside_images(folder: Path, *files: str) -> list[dict[str, str]]:
    """Cases a and b of a folder in which further files are."""
    for name in ("a", "b"):
        volume(folder / f"{name}.nii.gz")
    for file in files:
        (folder / file).write_text("by hand")
    return find_cases(folder)


@pytest.mark.parametrize("file", ["b_seg.nii.gz", "a_prob.nii.gz", "a_t03_prob.nii.gz", "scores_1_b.png"])
def test_a_label_with_the_name_of_a_result_is_not_replaced(tmp_path, file):
    a, b, *_ = beside_images(tmp_path, file)
    line = rf"^{tmp_path}/{file}: is read as an image or a label, [^\n]+; give another --output_dir$"
    with pytest.raises(InputError, match=line):
        refuse_replacing([a | {"label": str(tmp_path / "." / file)}, b], tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="is read as an image or a label"):
        refuse_replacing([a, b | {"label": str(tmp_path / file)}], tmp_path / "link")
    refuse_replacing([a | {"label": str(tmp_path / file)}, b], tmp_path / "out")


@pytest.mark.parametrize("file", ["b_seg.nii.gz", "a_prob.nii.gz", "a_t03_prob.nii.gz"])
def test_what_no_list_of_an_earlier_run_has_is_not_replaced(tmp_path, file):
    cases = beside_images(tmp_path, file)
    line = rf"^{tmp_path}/{file}: would be replaced, though {tmp_path}/cases\.json does not list [^\n]+--output_dir"
    with pytest.raises(InputError, match=line):
        refuse_replacing(cases, tmp_path)
    refuse_replacing([case for case in cases if not file.startswith(case["case"])], tmp_path)
    write_case_list(cases, {1: "cord"}, tmp_path)  # an earlier run's, stopped or not
    refuse_replacing(cases, tmp_path)
    for other in ('{"cases": ["a"]', '{"cases": ["a"], "others": "b"}'):  # damaged; another program's
        (tmp_path / "cases.json").write_text(other)
        with pytest.raises(InputError, match="would be replaced"):
            refuse_replacing(cases, tmp_path)


def test_of_a_case_that_failed_a_segmentation_is_somebody_elses(tmp_path):
    cases = beside_images(tmp_path)
    write_case_list(cases, {1: "cord"}, tmp_path)
    note_faults(tmp_path, {"b": "b.nii.gz: is damaged; copy it again"})
    beside_images(tmp_path, "a_seg.nii.gz", "b_prob.nii.gz")
    refuse_replacing(cases, tmp_path)
    beside_images(tmp_path, "b_seg.nii.gz")
    with pytest.raises(InputError, match=rf"^{tmp_path}/b_seg\.nii\.gz: would be replaced"):
        refuse_replacing(cases, tmp_path)


def test_runs_of_several_models_may_replace_one_anothers_results(tmp_path):
    a, b = beside_images(tmp_path)
    write_case_list([a, b], {1: "cord"}, tmp_path)
    beside_images(tmp_path, "a_seg.nii.gz", "b_seg.nii.gz")
    for labels in ({1: "brain"}, {1: "cord"}):  # of which the list has one alone
        write_case_list([a], labels, tmp_path)
        assert names(read_case_list(tmp_path)[0]) == ["a"]
        refuse_replacing([a, b], tmp_path)


def test_two_runs_at_a_time_into_one_folder_know_each_others_results(tmp_path):
    a, b = beside_images(tmp_path)
    for case in (a, b):  # both list before either has written
        write_case_list([case], {1: "cord"}, tmp_path)
    beside_images(tmp_path, "a_seg.nii.gz", "b_seg.nii.gz")
    assert earlier_outputs(tmp_path) == {"a": False, "b": False}
    refuse_replacing([a, b], tmp_path)


@pytest.mark.parametrize("content", ['[{"image": "a.nii.gz"}]', '{"images": []}'])
def test_a_list_of_the_users_own_is_not_replaced(content, tmp_path):
    a, _ = beside_images(tmp_path)
    (tmp_path / "cases.json").write_text(content)
    with pytest.raises(InputError, match=r"cases\.json: would be replaced by this run's own list"):
        refuse_replacing([a], tmp_path)


def test_scores_of_finished_cases_stay(tmp_path):
    names = ("p01", "p01_t02", "p02_t00", "p02_t01")
    write_case_list(
        [{"image": "i", "case": name} for name in ("p01", "p01_t02", "p02")], {1: "cord"}, tmp_path
    )
    write_table(tmp_path / "scores.csv", ["case", "dice"], [{"case": name, "dice": 1} for name in names])
    (tmp_path / "scores.json").touch()
    for anew, left in (
        ({"other"}, names),
        ({"p01"}, names[1:]),
        ({"p02"}, names[1:2]),
        ({"p01"}, names[1:2]),
    ):
        drop_scores(tmp_path, anew)
        assert [row["case"] for row in read_table(tmp_path / "scores.csv", "")] == list(left)
        assert (tmp_path / "scores.json").exists() == (anew == {"other"})
    drop_scores(tmp_path, {"p01_t02"})
    assert not (tmp_path / "scores.csv").exists()
    (tmp_path / "scores.csv").write_bytes(b"\xff")
    drop_scores(tmp_path, {"p01"})
    assert (tmp_path / "scores.csv").read_bytes() == b"\xff"
