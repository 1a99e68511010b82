from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.inferers import SliceInferer
from monai.networks.nets import UNet
from monai.transforms import Compose, MapTransform
from torch import nn

from shared_components.errors import InputError
from shared_components.inferers import (
    CaseDataset,
    CaseEvaluator,
    LabelsOnFileGridd,
    ModelLoader,
    ReadAheadLoader,
    WriteProbabilitiesd,
    WriteSegmentationd,
    find_cases,
    inference_transforms,
    read_case_list,
    write_case_list,
)
from shared_components.inferers.case_dataset import FAULT, pending_cases
from shared_components.records import read_table, write_table


def volume(path: Path, shape=(16, 14, 5), bad: bool = False) -> None:
    voxels = np.random.default_rng(0).random(shape).astype(np.float32)
    if bad:
        voxels[(5, 5, 2, -1)[: len(shape)]] = np.inf
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 5.0, 1.0])), path)


class Slices(torch.nn.Module):
    """Two classes by sign; finds nothing in volumes of seven slices and refuses those of nine."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, x):
        if x.shape[-1] == 9:
            raise self.error
        if x.shape[-1] == 7:
            x = -x.abs()
        return torch.cat([-x, x], dim=1)


def evaluator(
    source: Path | list[Path], error: Exception | None = None, folder: Path | None = None, steps=()
) -> CaseEvaluator:
    folder = folder or source
    dataset = CaseDataset(find_cases(source), inference_transforms(16, None, multiple=1), keep_going=True)
    return CaseEvaluator(
        device=torch.device("cpu"),
        val_data_loader=ReadAheadLoader(dataset, batch_size=1),
        network=Slices(error or RuntimeError("unused")),
        postprocessing=Compose([*steps, LabelsOnFileGridd(), WriteSegmentationd(folder / "out")]),
        output_dir=folder / "out",
    )


def outputs(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "out").glob("*"))


def test_good_volumes_are_written_and_each_bad_one_has_a_line(tmp_path):
    volume(tmp_path / "a.nii")
    volume(tmp_path / "b.nii", bad=True)
    volume(tmp_path / "c.nii.gz", (16, 14, 5, 3), bad=True)  # its last frame
    volume(tmp_path / "d.nii.gz", (16, 14, 5, 2))
    (tmp_path / "e.nii.gz").write_text("hello")
    with pytest.raises(InputError) as raised:
        evaluator(tmp_path).run()
    lines = str(raised.value).split("\n")
    assert lines[0] == "3 of 5 volumes were not segmented:"
    assert [re.match(r".*/(.)\.nii", line)[1] for line in lines[1:]] == ["b", "c", "e"]
    assert outputs(tmp_path) == ["a_seg.nii.gz", "d_seg.nii.gz"]


def test_reasons_are_noted_in_the_case_list_and_may_be_told_later(tmp_path):
    volume(tmp_path / "a.nii")
    brain = nib.cifti2.BrainModelAxis.from_mask(
        np.ones((3, 3, 3), bool), affine=np.eye(4), name="thalamus_left"
    )
    axes = (nib.cifti2.ScalarAxis(["a", "b"]), brain)
    nib.save(nib.cifti2.Cifti2Image(np.ones((2, 27), np.float32), axes), tmp_path / "x.dscalar.nii")
    write_case_list(find_cases(tmp_path), {0: "air", 1: "body"}, tmp_path / "out")
    run = evaluator(tmp_path)
    run.run(tell=False)
    (line,) = run.faults.values()
    assert re.fullmatch(r".*x\.dscalar\.nii: a Cifti2 file, which holds no volume; [^\n]+", line)
    a, x = read_case_list(tmp_path / "out")[0]
    assert (FAULT in a, x[FAULT]) == (False, line)
    assert outputs(tmp_path) == ["a_seg.nii.gz", "cases.json"]
    with pytest.raises(InputError, match="1 of 2 volumes were not segmented"):
        evaluator(tmp_path).run()


def test_scores_of_what_is_segmented_anew_are_removed_and_others_stay(tmp_path):
    for name in ("a", "b"):
        volume(tmp_path / f"{name}.nii")
    out = tmp_path / "out"
    for name in ("scores.json", "scores_1_body.png", "comparison.md"):
        out.mkdir(exist_ok=True)
        (out / name).touch()
    write_table(
        out / "scores.csv", ["case", "dice"], [{"case": name, "dice": 0.5} for name in ("b_t00", "c")]
    )
    evaluator(tmp_path).run()
    assert [row["case"] for row in read_table(out / "scores.csv", "")] == ["c"]
    assert outputs(tmp_path) == ["a_seg.nii.gz", "b_seg.nii.gz", "scores.csv"]
    write_table(out / "scores.csv", ["case", "dice"], [{"case": "b", "dice": 0.5}])
    evaluator(tmp_path).run()
    assert outputs(tmp_path) == ["a_seg.nii.gz", "b_seg.nii.gz"]


def test_what_another_model_has_left_is_not_taken_for_done(tmp_path):
    """A run that is stopped after its first volume goes on with the others, whatever lay in the folder."""
    for name in ("a", "b"):
        volume(tmp_path / f"{name}.nii")
    evaluator(tmp_path).run()
    stopped = evaluator(tmp_path)

    def stop():
        raise InterruptedError

    stopped.add_event_handler(Events.ITERATION_COMPLETED(once=1), stop)
    with pytest.raises(InterruptedError):
        stopped.run()
    assert outputs(tmp_path) == ["a_seg.nii.gz"]
    (left,) = pending_cases(find_cases(tmp_path), tmp_path / "out", resume=True)
    assert left["case"] == "b"


def test_an_image_with_the_name_of_a_result_is_neither_removed_nor_replaced(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    volume(tmp_path / "a.nii")
    volume(out / "a_seg.nii.gz")
    write_table(out / "scores.csv", ["case", "dice"], [{"case": "a", "dice": 0.5}])
    before = {path: path.read_bytes() for path in out.iterdir()}
    run = evaluator([tmp_path / "a.nii", out / "a_seg.nii.gz"], folder=tmp_path)
    with pytest.raises(InputError, match=r"a_seg\.nii\.gz: is read as an image"):
        run.run()
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_fault_of_one_volume_while_it_is_segmented_stops_no_other(tmp_path):
    volume(tmp_path / "a.nii", (16, 14, 9))
    volume(tmp_path / "b.nii")
    with pytest.raises(InputError, match=r"1 of 2 volumes were not segmented:\na: too long; cut it"):
        evaluator(tmp_path, InputError("a: too long; cut it")).run()
    assert outputs(tmp_path) == ["b_seg.nii.gz"]


class Refuse(MapTransform):
    """Refuses volumes of four slices, after some of their outputs are written."""

    def __call__(self, data):
        if data["image"].shape[-1] == 4:
            raise InputError("too short")
        return data


def test_nothing_of_a_volume_that_failed_is_left(tmp_path):
    volume(tmp_path / "a.nii")
    volume(tmp_path / "b.nii.gz", (16, 14, 5, 3), bad=True)  # its last frame
    volume(tmp_path / "c.nii", (16, 14, 4))
    run = evaluator(tmp_path, steps=[WriteProbabilitiesd(tmp_path / "out"), Refuse("pred")])
    run.run(tell=False)
    assert sorted(run.faults) == ["b", "c"]
    assert outputs(tmp_path) == ["a_prob.nii.gz", "a_seg.nii.gz"]


def test_what_a_run_has_written_is_whole_for_the_next(tmp_path):
    for name, shape in (("a.nii", (16, 14)), ("b.nii", (16, 14, 5, 3)), ("c.nii", (16, 14, 5, 1))):
        volume(tmp_path / name, shape)
    np.save(tmp_path / "d.npy", np.random.default_rng(0).random((16, 14, 5), np.float32))
    cases, out = find_cases(tmp_path), tmp_path / "out"
    evaluator(tmp_path, steps=[WriteProbabilitiesd(out)]).run()
    assert pending_cases(cases, out, resume=True, probabilities=True) == []


def test_a_network_that_does_not_take_a_size_is_a_line_of_the_case(tmp_path):
    volume(tmp_path / "a.nii")
    volume(tmp_path / "b.nii", (21, 14, 5))
    run = evaluator(tmp_path)
    run.network = UNet(2, 1, 2, channels=(2, 2, 2), strides=(2, 2))
    run.inferer = SliceInferer(roi_size=(-1, -1), spatial_dim=2)
    line = r"b: expected slices of a size that the network takes, .*must match.*; set downsampling to the"
    with pytest.raises(InputError, match=rf"1 of 2 volumes were not segmented:\n{line} network's total"):
        run.run()
    assert outputs(tmp_path) == ["a_seg.nii.gz"]


def test_any_other_error_stops_the_run(tmp_path):
    volume(tmp_path / "a.nii", (16, 14, 9))
    volume(tmp_path / "b.nii")
    with pytest.raises(RuntimeError, match="a fault of the program"):
        evaluator(tmp_path, RuntimeError("a fault of the program")).run()


def test_a_single_volume_is_a_single_line_and_no_volumes_are_no_error(tmp_path):
    (tmp_path / "a.nii").write_text("hello")
    with pytest.raises(InputError, match=r"^\S+a\.nii: not an image that can be read [^\n]*$"):
        evaluator(tmp_path).run()
    empty = evaluator(tmp_path)
    empty.data_loader = []
    empty.run()


def test_at_the_end_it_says_how_many_are_where_and_in_which_nothing_was_found(tmp_path, capsys):
    volume(tmp_path / "a.nii")
    volume(tmp_path / "c.nii.gz", (16, 14, 5, 2))
    volume(tmp_path / "b.nii", (16, 14, 7))
    evaluator(tmp_path).run()
    said = capsys.readouterr().out
    assert f"3 volumes segmented, in {tmp_path}/out; nothing was found in b\n" in said
    assert f"pictures: python -m shared_components.report {tmp_path}/out" in said
    assert "note:" not in said
    rest = evaluator(tmp_path)
    rest.data_loader = []
    rest.run()
    assert "no volume is left to segment" in capsys.readouterr().out


def test_it_says_whose_voxel_sizes_were_assumed(tmp_path, capsys):
    volume(tmp_path / "a.nii")
    for name in "bcde":
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).random((16, 14, 5), np.float32))
    evaluator(tmp_path).run()
    said = capsys.readouterr().out
    assert "note: b, c, d and 1 more: the file states no voxel size, 1 mm was assumed\n" in said


def load(path, network) -> None:
    engine = Engine(lambda engine, batch: None)
    ModelLoader(str(path), {"model": network}).attach(engine)
    engine.run([0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": {0: "a", 1: "b"}, "spacing": [2, 2], "orientation": "RAS"}, ""),
        (
            {"labels": {0: "a", 1: "c"}},
            r"labels \{0: 'a', 1: 'b'\}, but this config has \{0: 'a', 1: 'c'\}",
        ),
        (
            {"spacing": 1.0},
            r"model\.pt: trained with spacing 2, but this config has 1\.0; merge the config file",
        ),
        ({"orientation": "ASL"}, "trained with orientation RAS, but this config has ASL"),
        ({"domains": ["x"]}, ""),
    ],
)
def test_weights_of_a_training_with_other_settings_are_refused(tmp_path, settings, message):
    network = nn.Linear(3, 2)
    description = {"labels": {"0": "a", "1": "b"}, "spacing": 2, "orientation": "RAS"}
    torch.save({"model": network.state_dict(), "description": description}, tmp_path / "model.pt")
    engine = Engine(lambda engine, batch: None)
    ModelLoader(str(tmp_path / "model.pt"), {"model": network}, settings).attach(engine)
    if not message:
        engine.run([0])
        return
    with pytest.raises(InputError, match=message):
        engine.run([0])


def test_weights_are_loaded_when_the_engine_starts(tmp_path):
    source, network = nn.Linear(3, 2), nn.Linear(3, 2)
    torch.save({"model": source.state_dict()}, tmp_path / "model.pt")
    load(tmp_path / "model.pt", network)
    assert torch.equal(network.weight, source.weight)


def test_the_model_zoos_bare_weights_are_loaded_too(tmp_path):
    source, network = nn.Linear(3, 2), nn.Linear(3, 2)
    torch.save(source.state_dict(), tmp_path / "model.pt")
    load(tmp_path / "model.pt", network)
    assert torch.equal(network.weight, source.weight)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"model": nn.Linear(4, 2).state_dict()},
            r"do not fit.*'weight': expected \(2, 3\) float32, found \(2, 4\) float32",
        ),
        ({"model": {}}, r"do not fit.*'weight': expected \(2, 3\) float32, found none"),
        (
            {"model": nn.Linear(3, 2).state_dict() | {"extra": torch.ones(1)}},
            r"'extra': expected none, found \(1,\) float32",
        ),
        ({"network": {}}, r"expected a key 'model', found \['network'\]"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_loaded(tmp_path, content, message):
    network = nn.Linear(3, 2)
    before = network.weight.clone()
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match=message):
        load(tmp_path / "model.pt", network)
    assert torch.equal(network.weight, before)


def test_a_file_that_runs_code_is_refused(tmp_path):
    torch.save({"model": nn.Linear(3, 2)}, tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"model\.pt: expected a file of tensors"):
        load(tmp_path / "model.pt", nn.Linear(3, 2))


SLICES = {"roi_size": (-1, -1), "spatial_dim": 2, "sw_batch_size": 2}
