"""Files that are no volumes: one line each that names the file and the cure, nothing written, the others segmented."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from shared_components.errors import InputError, input_error_in
from shared_components.inferers import CaseDataset, find_cases, inference_transforms
from tests.inferers.known_network import CONFIGS, inference, save_network
from tests.inferers.malformed import AFFINE, VOXELS, malformed

TABLE = malformed()
CURE = r"; .*(again|path|permissions|link|file|header|integers|NIfTI|folder|replace|one series)"


def save_good(path: Path) -> None:
    nib.save(nib.Nifti1Image(VOXELS, AFFINE), path)


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> tuple[list[str], Path]:
    """Lines of the error after a run over all of them and two good volumes, and the output folder."""
    folder, out = tmp_path_factory.mktemp("bad"), tmp_path_factory.mktemp("out")
    for name, write in TABLE.items():
        write(folder / name)
    for name in ("good.nii.gz", "zood.nii.gz"):
        save_good(folder / name)
    entries = [{"image": name, "case": f"case {number}"} for number, name in enumerate(TABLE)]
    (folder / "list.json").write_text(json.dumps(["good.nii.gz", *entries, "zood.nii.gz"]))
    flow = inference(folder / "list.json", out, save_network(out.parent / "model.pt"))
    with pytest.raises(RuntimeError) as raised:  # MONAI's wrapping of what an expression raises
        flow.run()
    return str(input_error_in(raised.value)).split("\n"), out


def test_there_are_at_least_200_and_each_has_one_line(report):
    lines, out = report
    assert len(TABLE) >= 200
    assert lines[0] == f"{len(TABLE)} of {len(TABLE) + 2} volumes were not segmented:"
    assert len(lines) == 1 + len(TABLE)
    assert {path.name for path in out.iterdir()} == {"cases.json", "good_seg.nii.gz", "zood_seg.nii.gz"}


@pytest.mark.parametrize("name", TABLE)
def test_a_malformed_file_is_named_with_its_cure(name, report):
    (line,) = [line for line in report[0][1:] if f"/{name}: " in line]
    assert re.search(CURE, line), line
    assert not re.search(r"Traceback|Error\(|0x[0-9a-f]{6}|applying transform", line), line
    assert len(line) < 500


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """As a user who has no rights of root's; skips where that cannot be."""
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(65534)
    except OSError:
        pytest.skip("root may not become another user here")
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["volume.nii", "volume.nii.gz", "volume.nrrd", "series"])
def test_files_that_may_not_be_read(name):
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        path = Path(place) / name
        path.mkdir() if name == "series" else path.write_bytes(b"a volume, for all that one can see")
        path.chmod(0)
        with unprivileged():
            cases = find_cases(place)
            assert [case["case"] for case in cases if case["image"] == str(path)]
            with pytest.raises(InputError, match=rf"{name}: may not be read .*; change its permissions"):
                CaseDataset([{"image": str(path), "case": "x"}], inference_transforms(16, None))
        path.chmod(0o700)


def test_one_bad_file_alone_is_one_line_and_the_exit_code_tells(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    save_good(folder / "a.nii")
    (folder / "b.nii.gz").write_text("hello")
    (folder / "c.nii.gz").symlink_to(folder / "c.nii.gz")
    save_good(folder / "d.nii.gz")
    weights = save_network(tmp_path / "model.pt")
    network = "{'_target_': 'torch.nn.Conv2d', 'in_channels': 1, 'out_channels': 3, 'kernel_size': 1}"
    ended = subprocess.run(
        [
            sys.executable, "-m", "monai.bundle", "run",
            "--config_file", f"['{CONFIGS / 'common.yaml'}','{CONFIGS / 'inference.yaml'}']",
            "--bundle_root", str(CONFIGS.parent), "--dataset_dir", str(folder), "--output_dir", str(out),
            "--ckpt_path", str(weights), "--network_def", network, "--labels", "{0: 'a', 1: 'b', 2: 'c'}",
            "--device", "$torch.device('cpu')",
        ],
        capture_output=True, text=True, cwd=CONFIGS.parents[2], check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr + ended.stdout
    lines = ended.stderr[ended.stderr.index("error: ") :].splitlines()
    assert lines[0] == "error: 2 of 4 volumes were not segmented:"
    assert [line.split(": ")[0] for line in lines[1:]] == [str(folder / "b.nii.gz"), str(folder / "c.nii.gz")]
    assert sorted(path.name for path in out.iterdir()) == ["a_seg.nii.gz", "cases.json", "d_seg.nii.gz"]
    assert np.unique(nib.load(out / "a_seg.nii.gz").dataobj).tolist() == [0, 1, 2]
