"""Volumes in, label maps out, through the bundle's own configs.

The network is a real one with a real checkpoint whose answer is known: a 1 × 1 convolution that gives each
pixel the class with the nearest intensity. What is tested is everything around it.
"""

from __future__ import annotations

import json
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from nibabel.affines import apply_affine
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from scipy.spatial.transform import Rotation

from shared_components.errors import InputError, input_error_in
from tests.bundles.tiny import save_by_itk

CONFIGS = Path(__file__).parents[2] / "bundles" / "adaptation" / "configs"
LABELS = {0: "background", 1: "shell", 2: "core"}
SIZE, SPACING = 48, 2.0  # a training slice: 96 mm wide

OVERRIDES = {
    "device": "$torch.device('cpu')",
    "labels": LABELS,
    "image_size": SIZE,
    "spacing": SPACING,
    "network_def": {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 3, "kernel_size": 1},
    "bundle_root": str(CONFIGS.parent),
}


def anatomy(shape, affine, centre=(0.0, 0.0, 0.0)) -> np.ndarray:
    """Labels of an ellipsoid (no two axes alike) with an off-centre core, at the voxels' places."""
    world = apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1)) - np.asarray(centre)
    shell = np.linalg.norm(world / np.array([34.0, 26.0, 30.0]), axis=-1) < 1
    core = np.linalg.norm((world - np.array([10.0, -6.0, 5.0])) / np.array([14.0, 12.0, 13.0]), axis=-1) < 1
    return (shell.astype(np.uint8) + (core & shell)).astype(np.uint8)


def grid(shape, voxel, codes="RAS", angle=0.0, centre=(0.0, 0.0, 0.0)):
    """Shape and affine of a grid about ``centre``, its axes along ``codes``, turned by ``angle`` degrees."""
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    change = ornt_transform(io_orientation(affine), axcodes2ornt(codes))
    affine = affine @ inv_ornt_aff(change, shape)
    shape = tuple(np.array(shape)[np.argsort(change[:, 0])])
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", [angle, angle / 2, -angle], degrees=True).as_matrix()
    affine = turn @ affine
    affine[:3, 3] += centre
    return shape, affine


GRIDS = {
    "ras.nii.gz": grid((64, 56, 40), (1.5, 1.5, 2.0)),
    "lps.nii.gz": grid((64, 56, 40), (1.5, 1.5, 2.0), "LPS"),
    "permuted.nii": grid((60, 60, 30), (1.5, 1.5, 2.5), "PIR"),
    "oblique.nii.gz": grid((72, 64, 36), (1.3, 1.4, 3.0), "LAS", angle=20.0, centre=(31.0, -12.5, 7.25)),
    "fine.nrrd": grid((90, 80, 30), (1.0, 1.0, 2.5), "LPS", centre=(3.0, 5.0, -8.0)),
    "wide.nii.gz": grid((110, 104, 30), (1.5, 1.5, 2.0), centre=(40.0, -38.0, 0.0)),  # 165 mm
}


def intensities(labels: np.ndarray) -> np.ndarray:
    return (100 * labels).astype(np.float32)


def write_volume(path: Path, labels: np.ndarray, affine: np.ndarray) -> None:
    if path.suffix == ".nrrd":
        save_by_itk(path, intensities(labels), affine)
        return
    image = nib.Nifti1Image(intensities(labels), affine)
    image.set_sform(affine, code="mni")
    image.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)


def centre_of_anatomy(name: str, affine, shape):
    middle = apply_affine(affine, (np.array(shape) - 1) / 2)
    return middle + {"wide": np.array([-45.0, 50.0, 0.0])}.get(name.split(".", maxsplit=1)[0], 0.0)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> dict[str, np.ndarray]:
    """A folder of volumes: path to true labels."""
    folder = tmp_path_factory.mktemp("volumes")
    truth = {}
    for name, (shape, affine) in GRIDS.items():
        labels = anatomy(shape, affine, centre_of_anatomy(name, affine, shape))
        write_volume(folder / name, labels, affine)
        truth[str(folder / name)] = labels
    return truth


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """Logits 8 (c x - c² / 2) with c = -1, 0, 1: the class of the nearest of three intensities."""
    levels = torch.tensor([-1.0, 0.0, 1.0])
    state = {"weight": 8 * levels.reshape(3, 1, 1, 1), "bias": -4 * levels**2}
    path = tmp_path_factory.mktemp("models") / "model.pt"
    torch.save({"model": state}, path)
    return path


def bundle(*configs: str, **overrides) -> ConfigWorkflow:
    files = [str(CONFIGS / config) for config in ("common.yaml", *configs)]
    return ConfigWorkflow(config_file=files, workflow_type="inference", **(OVERRIDES | overrides))


def run_bundle(*configs: str, **overrides) -> None:
    workflow = bundle(*configs, **overrides)
    workflow.initialize()
    workflow.run()
    workflow.finalize()


@pytest.fixture(scope="module")
def output(volumes, checkpoint, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("output")
    folder = str(Path(next(iter(volumes))).parent)
    run_bundle("inference.yaml", dataset_dir=folder, output_dir=str(output), ckpt_path=str(checkpoint))
    return output


def dice(found: np.ndarray, true: np.ndarray, label: int) -> float:
    found, true = found == label, true == label
    return 2 * (found & true).sum() / (found.sum() + true.sum())


@pytest.mark.parametrize("name", GRIDS)
def test_a_segmentation_matches_the_anatomy_on_the_grid_of_its_image(name, volumes, output):
    image, true = next((path, labels) for path, labels in volumes.items() if path.endswith("/" + name))
    segmentation = nib.load(output / f"{name.split('.')[0]}_seg.nii.gz")
    found = np.asarray(segmentation.dataobj)

    assert segmentation.shape == true.shape
    assert found.dtype == np.uint8
    assert dice(found, true, 1) >= 0.97
    assert dice(found, true, 2) >= 0.97
    np.testing.assert_allclose(segmentation.affine, GRIDS[name][1], atol=1e-4)
    if not name.endswith(".nrrd"):
        source = nib.load(image)
        assert np.array_equal(segmentation.affine, source.affine)
        for field in ("sform_code", "qform_code", "xyzt_units", "pixdim", "srow_x", "quatern_b", "qoffset_x"):
            assert np.array_equal(segmentation.header[field], source.header[field]), field


def test_windows_of_the_training_size_find_what_lies_outside_the_training_crop(volumes, checkpoint, tmp_path):
    image = next(path for path in volumes if path.endswith("wide.nii.gz"))
    run_bundle(
        "inference.yaml", dataset_dir=image, output_dir=str(tmp_path), ckpt_path=str(checkpoint),
        window=[SIZE, SIZE], multiple=1,
    )  # fmt: skip
    found = np.asarray(nib.load(tmp_path / "wide_seg.nii.gz").dataobj)
    assert dice(found, volumes[image], 1) >= 0.97
    assert dice(found, volumes[image], 2) >= 0.97


def test_a_dicom_series_comes_out_as_nifti_in_its_place(checkpoint, tmp_path):
    shape, affine = grid((48, 44, 12), (2.0, 2.0, 4.0), "LPS", centre=(-5.0, 9.0, 20.0))
    labels = anatomy(shape, affine, apply_affine(affine, (np.array(shape) - 1) / 2))
    write_series(tmp_path / "series", labels, affine)
    run_bundle(
        "inference.yaml", dataset_dir=str(tmp_path / "series"), output_dir=str(tmp_path / "out"),
        ckpt_path=str(checkpoint),
    )  # fmt: skip
    segmentation = nib.load(tmp_path / "out" / "series_seg.nii.gz")
    true = anatomy(segmentation.shape, segmentation.affine, apply_affine(affine, (np.array(shape) - 1) / 2))
    found = np.asarray(segmentation.dataobj)
    assert sorted(segmentation.shape) == sorted(shape)
    assert min(dice(found, true, 1), dice(found, true, 2)) >= 0.97


def test_a_folder_of_two_dicom_series_is_refused_and_not_half_read(checkpoint, tmp_path):
    affine = grid((24, 24, 3), (2.0, 2.0, 4.0), "LPS")[1]
    for series in (1, 2):
        write_series(tmp_path / "study", np.ones((24, 24, 3)), affine, series)
    with pytest.raises(RuntimeError) as caught:
        run_bundle(
            "inference.yaml", dataset_dir=str(tmp_path / "study"), output_dir=str(tmp_path / "out"),
            ckpt_path=str(checkpoint),
        )  # fmt: skip
    assert "study: expected one DICOM series, found 2; put each" in str(input_error_in(caught.value))
    assert not list((tmp_path / "out").glob("*_seg*"))


def write_series(folder: Path, labels: np.ndarray, affine: np.ndarray, series: int = 4) -> None:
    folder.mkdir(exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    for index in range(labels.shape[2]):
        plane = itk.image_from_array(
            np.ascontiguousarray(intensities(labels)[None, :, :, index].astype(np.int16).swapaxes(1, 2))
        )
        position = (lps @ np.array([0, 0, index, 1.0]))[:3]
        plane.SetSpacing(np.linalg.norm(lps[:3, :3], axis=0))
        plane.SetOrigin(position)
        tags = {
            "0008|0060": "MR", "0020|000e": f"1.2.3.{series}", "0020|000d": "1.2.3", "0020|0013": str(index),
            "0020|0032": "\\".join(f"{x:.6f}" for x in position), "0020|0037": "1\\0\\0\\0\\1\\0",
            "0018|0050": "4.0",
        }  # fmt: skip
        writer = itk.ImageFileWriter[itk.Image[itk.SS, 3]].New(
            plane, FileName=str(folder / f"{series}_{index:03d}.dcm")
        )
        dicom = itk.GDCMImageIO.New()
        dicom.KeepOriginalUIDOn()
        dictionary = plane.GetMetaDataDictionary()
        for tag, value in tags.items():
            dictionary[tag] = value
        plane.SetMetaDataDictionary(dictionary)
        writer.SetImageIO(dicom)
        writer.Update()


@pytest.mark.parametrize("configs", [["inference.yaml"], ["inference.yaml", "evaluate.yaml"]])
def test_required_properties_are_there(configs, volumes, checkpoint, tmp_path):
    versions = dict.fromkeys(("version", "monai_version", "pytorch_version", "numpy_version"), "0")
    (tmp_path / "metadata.json").write_text(json.dumps(versions))
    workflow = bundle(
        *configs, dataset_dir=str(Path(next(iter(volumes))).parent), output_dir=str(tmp_path),
        ckpt_path=str(checkpoint), labelled=None, meta_file=str(tmp_path / "metadata.json"),
    )  # fmt: skip
    workflow.initialize()
    assert not workflow.check_properties()


def test_evaluation_scores_a_client_root_from_its_files(checkpoint, tmp_path):
    root = tmp_path / "root"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for name in ("s1", "s2"):
        shape, affine = GRIDS["ras.nii.gz"]
        labels = anatomy(shape, affine)
        write_volume(root / "images" / f"{name}.nii.gz", labels, affine)
        nib.save(nib.Nifti1Image(labels, affine), root / "labels" / f"{name}.nii.gz")
    items = [{"image": f"images/{name}.nii.gz", "label": f"labels/{name}.nii.gz"} for name in ("s1", "s2")]
    content = {
        "name": "north", "domain": "t1", "modality": {"0": "MRI"},
        "labels": {str(value): name for value, name in LABELS.items()},
        "training": [items[0]], "validation": [], "test": [items[1]],
    }  # fmt: skip
    (root / "dataset.json").write_text(json.dumps(content))
    out = tmp_path / "out"
    run_bundle(
        "inference.yaml", "evaluate.yaml", dataset_dir=str(root), output_dir=str(out),
        ckpt_path=str(checkpoint),
    )  # fmt: skip
    summary = json.loads((out / "scores.json").read_text())
    assert [line.split(",")[0] for line in (out / "scores.csv").read_text().splitlines()] == [
        "case",
        "s2",
        "s2",
    ]
    assert summary["core"]["dice_mean"] >= 0.97
    assert summary["shell"]["hd95_mean"] <= 2.0


def test_an_evaluation_scores_the_rest_and_tells_of_all_that_it_could_not(tmp_path, checkpoint):
    shape, affine = GRIDS["ras.nii.gz"]
    labels, out = anatomy(shape, affine), tmp_path / "out"
    cases = []
    for name in ("a", "b", "c"):
        write_volume(tmp_path / f"{name}.nii.gz", labels, affine)
        nib.save(nib.Nifti1Image(labels, affine), tmp_path / f"{name}_label.nii.gz")
        cases.append(
            {"image": str(tmp_path / f"{name}.nii.gz"), "label": str(tmp_path / f"{name}_label.nii.gz")}
        )
    (tmp_path / "a.nii.gz").write_bytes((tmp_path / "a.nii.gz").read_bytes()[:600])
    (tmp_path / "c_label.nii.gz").write_text("hello")
    with pytest.raises(RuntimeError) as raised:
        run_bundle(
            "inference.yaml",
            "evaluate.yaml",
            dataset_dir=cases,
            output_dir=str(out),
            ckpt_path=str(checkpoint),
        )
    first, *lines = str(input_error_in(raised.value)).split("\n")
    assert first == "2 of 3 cases were not scored:"
    assert [line.split(": ")[0] for line in lines] == [
        str(tmp_path / f) for f in ("a.nii.gz", "c_label.nii.gz")
    ]
    assert {line.split(",")[0] for line in (out / "scores.csv").read_text().splitlines()[1:]} >= {"b"}
    assert {path.name for path in out.glob("*_seg.nii.gz")} == {"b_seg.nii.gz", "c_seg.nii.gz"}
    assert (out / "scores_1_shell.png").is_file()


def test_a_missing_checkpoint_is_named(volumes, tmp_path):
    folder = str(Path(next(iter(volumes))).parent)
    with pytest.raises(RuntimeError) as raised:  # MONAI's wrapping of what an expression raises
        run_bundle(
            "inference.yaml", dataset_dir=folder, output_dir=str(tmp_path),
            ckpt_path=str(tmp_path / "absent.pt"),
        )  # fmt: skip
    assert isinstance(raised.value.__cause__, InputError)
    assert "absent.pt: expected a file of tensors, found none" in str(raised.value.__cause__)


def test_the_largest_part_alone_is_kept_on_demand(checkpoint, tmp_path):
    shape, affine = GRIDS["ras.nii.gz"]
    labels = anatomy(shape, affine)
    with_speck = labels.copy()
    with_speck[2:6, 2:6, 4:8] = 1
    write_volume(tmp_path / "speck.nii.gz", with_speck, affine)
    for kept, expected in ([], True), ([1], False):
        run_bundle(
            "inference.yaml", dataset_dir=str(tmp_path / "speck.nii.gz"),
            output_dir=str(tmp_path / "out"), ckpt_path=str(checkpoint), largest_component=kept,
        )  # fmt: skip
        found = np.asarray(nib.load(tmp_path / "out" / "speck_seg.nii.gz").dataobj)
        assert found[2:6, 2:6, 4:8].any() == expected
        assert dice(found, labels, 2) >= 0.97
