from __future__ import annotations

import contextlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.evaluate import evaluate
from shared_components.command_line import run
from shared_components.errors import InputError
from shared_components.metrics.comparison import named_folders
from shared_components.report import write_comparison_report

AFFINE = np.diag([-2.0, 2.0, 5.0, 1.0])
LABELS = {"0": "background", "1": "wall", "2": "cavity"}


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.astype(np.uint8), AFFINE), path)


def heart(radius: float) -> np.ndarray:
    distance = np.linalg.norm(np.moveaxis(np.indices((24, 24, 4)), 0, -1)[..., :2] - 11.5, axis=-1)
    return (distance < radius).astype(int) + (distance < radius - 3)


@pytest.fixture
def root(tmp_path) -> Path:
    """A client data root with two labelled test cases, one of them cine of which one frame has a label."""
    folder = tmp_path / "north"
    cine = np.zeros((24, 24, 4, 3))
    cine[..., 1] = heart(8)
    for case, label in (("still", heart(9)), ("cine", cine)):
        save(folder / "images" / f"{case}.nii.gz", np.ones(label.shape))
        save(folder / "labels" / f"{case}.nii.gz", label)
    save(folder / "images" / "other.nii.gz", np.ones((24, 24, 4)))
    items = [
        {"image": f"images/{case}.nii.gz", "label": f"labels/{case}.nii.gz"} for case in ("still", "cine")
    ]
    content = {
        "name": "north", "domain": "A", "modality": {"0": "MRI"}, "labels": LABELS, "training": [],
        "validation": [], "test": [*items, {"image": "images/other.nii.gz"}],
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def predictions(folder: Path, shrunk: float) -> Path:
    save(folder / "still_seg.nii.gz", heart(9 - shrunk))
    save(folder / "cine_seg.nii.gz", np.stack([heart(8 - shrunk)] * 3, axis=-1))
    return folder


def test_outputs_of_two_models_are_set_side_by_side(root, tmp_path, capsys):
    folders = [predictions(tmp_path / name / "out", shrunk) for name, shrunk in (("exact", 0), ("small", 2))]
    run(evaluate, [str(root), *map(str, folders), "--output_dir", str(tmp_path / "comparison")])
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[:3] for line in lines[1:]] == [
        [f"| {name}", method, "2"]
        for name in ("wall", "cavity", "mean")
        for method in ("exact_out", "small_out")
    ]
    assert "| cavity | exact_out | 2 | 1.000 ± 0.000 | 0.0 ± 0.0 | 0.0 ± 0.0 | 0 |" in printed
    out = tmp_path / "comparison"
    assert sorted(path.name for path in out.iterdir()) == [
        "comparison.json", "comparison.md", "exact_out", "scores_1_wall.png", "scores_2_cavity.png", "small_out"
    ]  # fmt: skip
    assert (out / "comparison.md").read_text(encoding="utf-8") in printed
    summary = json.loads((out / "small_out" / "scores.json").read_text())
    assert summary["cavity"]["dice_mean"] < 1
    assert summary["cavity"]["hd_mean"] == pytest.approx(4, abs=1)  # 2 pixels of 2 mm
    cases = {line.split(",")[0] for line in (out / "small_out" / "scores.csv").read_text().splitlines()[1:]}
    assert cases == {"still", "cine_t01"}
    assert not (folders[0] / "scores.csv").exists()


def test_the_report_shows_the_last_comparison_alone(root, tmp_path):
    first, second = (predictions(tmp_path / name, shrunk) for name, shrunk in (("first", 0), ("second", 2)))
    out = tmp_path / "comparison"
    for folders in ((first, second), (second, root), (first,)):
        with contextlib.suppress(SystemExit):  # the root holds segmentations of none of the cases
            run(evaluate, [str(root), *map(str, folders), "--output_dir", str(out)])
        page = write_comparison_report(out).read_text(encoding="utf-8")
        assert [f"<td>{name}</td>" in page for name in ("first", "second")] == [
            first in folders, second in folders
        ]  # fmt: skip
    (out / "comparison.json").write_text('{"tables": []}')
    with pytest.raises(InputError, match=r"comparison\.json: expected tables and pictures, found Attr"):
        write_comparison_report(out)


def test_a_single_folder_takes_its_own_scores(root, tmp_path, capsys):
    folder = predictions(tmp_path / "out", 0)
    run(evaluate, [str(root), str(folder)])
    assert {path.name for path in folder.iterdir()} == {
        "cine_seg.nii.gz", "still_seg.nii.gz", "comparison.json", "comparison.md", "scores.csv", "scores.json",
        "scores_1_wall.png", "scores_2_cavity.png",
    }  # fmt: skip
    assert "| mean | out | 2 | 1.000 ± 0.000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{root}"], "folders: expected one, or --output_dir"),
        (["{root}", "--output_dir", "{root}/x"], "folders: expected one, or --output_dir"),
        (["{root}", "{root}", "{root}/images"], "folders: expected one, or --output_dir"),
        (["{root}", "{root}/absent"], "absent: expected a folder of segmentations, found none"),
        (["{root}", "{root}", "{root}/images/..", "--output_dir", "{root}/x"], "found it twice"),
        (["{root}", "{root}/images"], "cine_seg.nii.gz: expected a segmentation, found none"),
        (["{root}", "{root}", "--split", "training"], "expected at least one labelled volume"),
        (["{root}/images", "{root}"], "dataset.json"),
    ],
)
def test_faults_are_one_line(root, capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        run(evaluate, [argument.format(root=root) for argument in arguments])
    error = capsys.readouterr().err.strip()
    assert message in error.splitlines()[-1]


@pytest.mark.parametrize("out", ["file", "file/out"])
def test_an_output_that_cannot_be_written_is_one_line(root, tmp_path, capsys, out):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(SystemExit, match="2"):
        run(evaluate, [str(root), str(predictions(tmp_path / "p", 0)), "--output_dir", str(tmp_path / out)])
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "expected a folder at" in error and "/file, found a file; name another folder" in error
    assert (tmp_path / "file").read_text() == "kept"


def test_a_damaged_segmentation_stops_no_other_and_the_exit_code_tells(root, tmp_path, capsys):
    folder = predictions(tmp_path / "out", 0)
    (folder / "cine_seg.nii.gz").write_bytes((folder / "cine_seg.nii.gz").read_bytes()[:200])
    with pytest.raises(SystemExit, match="2"):
        run(evaluate, [str(root), str(folder)])
    told = capsys.readouterr()
    assert "| mean | out | 1 | 1.000" in told.out
    lines = told.err.strip().splitlines()
    assert lines[-2] == "error: the scores above lack what could not be scored:"
    assert lines[-1].startswith(f"{folder}/cine_seg.nii.gz: unreadable: it ends too early")
    assert (folder / "comparison.md").is_file()


def test_folders_are_named_by_what_sets_them_apart(tmp_path):
    folders = [tmp_path / name for name in ("a/out", "b/out")]
    for folder in folders:
        folder.mkdir(parents=True)
    assert list(named_folders(folders)) == ["a_out", "b_out"]
    assert list(named_folders(folders[:1])) == ["out"]
