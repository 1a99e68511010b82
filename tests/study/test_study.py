"""The whole flow at the smallest sizes, on cubes of 8 voxels a side."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from shared_components.audit.figures import read_figures
from shared_components.errors import InputError
from shared_components.federation.federation_file import federation_from
from shared_components.federation.file_digests import FileDigests
from shared_components.federation.folder_lock import FolderLock
from shared_components.federation.privacy import spent as epsilon
from shared_components.federation.run_folder import OF_CLIENTS
from shared_components.records import found_record, write_record
from shared_components.study.client_stages import study_stages
from shared_components.study.federated_run import opened_study
from shared_components.study.roles import plan_study
from shared_components.study.runner import run_study
from shared_components.study.settings import PREDICTIONS
from shared_components.study.summary import (
    grid_faults,
    segmenting_command,
    study_status,
    study_summary,
)
from tests.federation.tiny import make_root
from tests.test_files import flipped

REPO = Path(__file__).parents[2]


def make_client(root: Path, domain: str, labelled: tuple[str, ...], seed: int) -> Path:
    """A data root of two training volumes and one of each other split; labels in the splits ``labelled``."""
    make_root(root, domain, 4, seed)
    file = root / "dataset.json"
    description = json.loads(file.read_text())
    items = description["training"]
    for split, members in {"training": items[:2], "validation": items[2:3], "test": items[3:]}.items():
        description[split] = [item if split in labelled else {"image": item["image"]} for item in members]
    file.write_text(json.dumps(description))
    return root


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    every = ("training", "validation", "test")
    roots = {
        "north": (make_client(folder / "data" / "north", "t1", every, 0), "t1"),
        "south": (make_client(folder / "data" / "south", "t2", ("test",), 1), "t2"),
        "island": (make_client(folder / "data" / "island", "pet", (), 2), "pet"),
    }
    small = {"segmenter_channels": [4, 8, 8], "batch_size": 4, "epoch_length": 2}
    return {
        "name": "tiny study",
        "bundle": str(REPO / "bundles" / "factory"),
        "configs": ["common.yaml", "train.yaml", "smoke.yaml"],
        "domains": ["t1", "t2", "pet"],
        "labels": {0: "background", 1: "brain"},
        "clients": {
            name: {"data_root": str(root), "domain": domain} for name, (root, domain) in roots.items()
        },
        "rounds": 1,
        "updates_per_round": 1,
        "workers": 0,
        "overrides": {"spacing": 2.0},
        "privacy": {"clip": 0.1, "noise": 2.0},
        "output_dir": str(folder / "out"),
        "study": {
            "choose": False,
            "jobs": 1,
            "overrides": small,
            "pretrain": {"max_epochs": 1},
            "synthesize": {"volumes": 2, "slices": 4},
            "train": {"phases": [1, 1, 1], "translator_channels": [4, 8, 8]},
            "self_training": {"phases": [0, 0, 1], "translator_channels": [4, 8, 8]},
        },
    }


def made(values: dict, **study):
    changed = {**values, "study": {**values["study"], **study}}
    return federation_from(changed, source=Path("study.yaml"))


@pytest.mark.parametrize(
    ("wanted", "jobs", "threads"), [(1, 2, 1), (2, 2, 2), (3, 2, 2), (4, 1, 4), (4, 9, 1)]
)
def test_stages_side_by_side_share_the_cores(values, monkeypatch, wanted, jobs, threads):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert plan_study(made({**values, "threads_per_worker": wanted}, jobs=jobs)).threads == threads


@pytest.mark.parametrize(
    ("jobs", "changed", "taken"),
    [
        (4, {"workers": 1}, 1),
        (4, {"clients_per_round": 2, "workers": 3}, 2),
        (4, {"workers": 2, "threads_per_worker": 2}, 4),
        (1, {"workers": 0, "threads_per_worker": 8}, 2),
    ],
)
def test_a_training_takes_as_many_jobs_as_it_keeps_cores_busy(values, monkeypatch, jobs, changed, taken):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    study = plan_study(made({**values, **changed}, jobs=jobs))
    assert study.jobs_taken(study.factory_federation) == taken


@pytest.fixture(scope="module")
def finished(values) -> Path:
    """The folder of a study that has run."""
    return run_study(made(values), quiet=True).parent


def test_leaves_report_factory_models_and_segmentations(finished):
    assert "data:image/" in (finished / "report.html").read_text()
    assert (finished / "factory" / "factory.pt").is_file()
    study = json.loads((finished / "study.json").read_text())
    assert set(study["models"]) == {"north", "south", "island"}
    assert all((finished / model).is_file() for model in study["models"].values())
    for client, case in (("south", "s3"), ("island", "s3")):
        written = nib.load(finished / "clients" / client / "adaptation_predictions" / f"{case}_seg.nii.gz")
        image = nib.load(Path(study["clients"][client]["data_root"]) / "images" / f"{case}.nii.gz")
        assert written.shape == image.shape
        assert np.array_equal(written.affine, image.affine)
    of_clients = {file.name for file in (finished / "factory").glob("clients/*/*")}
    known = (*OF_CLIENTS, "factory.pt")
    assert of_clients and all(any(fnmatch(name, of) for of in known) for name in of_clients), of_clients
    methods = [entry["method"] for entry in study["scores"] if entry["client"] == "south"]
    assert methods == [
        "source model without augmentation",
        "source model",
        "source model, self-trained",
        "adaptation",
    ]
    page = (finished / "report.html").read_text()
    assert "island: its test volumes have no labels, so there is nothing to score against" in page
    assert all(f"<b>{method}</b>: " in page for method in methods)  # each with a sentence
    assert "expected" not in page and str(finished) not in page and 'class="missing"' not in page
    unscored = [entry for entry in study["scores"] if entry["client"] == "island"]
    assert [("csv" in entry, entry["method"]) for entry in unscored] == [(False, "adaptation")]


def test_what_the_updates_of_the_factory_have_spent_stands_beside_each_client(finished):
    study = json.loads((finished / "study.json").read_text())
    assert study["privacy"] == {"clip": 0.1, "noise": 2.0, "delta": 1e-5, "losses": False}
    spent = {name: client["epsilon"] for name, client in study["clients"].items()}
    assert spent == pytest.approx(dict.fromkeys(spent, epsilon(2.0, 1, 1e-5)), rel=1e-5)
    assert study["clients"]["south"]["epsilons"].keys() == {"factory"}
    page = (finished / "report.html").read_text()
    assert f'<td class="number">{spent["south"]:.3g}</td></tr>' in page
    assert "Losses stayed at the clients" in page and "at delta 1e-05" in page


def test_every_client_audits_the_factory_on_its_own_images(finished, values):
    study = json.loads((finished / "study.json").read_text())
    assert study["audit"] == {
        name: f"clients/{name}/audit/audit.csv" for name in ("north", "south", "island")
    }
    for name, domain in (("north", "t1"), ("south", "t2"), ("island", "pet")):
        figures = read_figures(finished / study["audit"][name])[domain]
        assert figures["training_volumes"].value == figures["held_out_volumes"].value == 2
        assert 0 <= figures["memorised_image"].value <= 1 and figures["frechet"].value > 0
        assert figures["membership_features"].low <= 1 and figures["neighbour_difference"].real > 0
    page, told = (finished / "report.html").read_text(), study_summary(finished)
    section = page[page.index("What the factory gives away, and how well it draws") :]
    assert section[: section.index("</section>")].count("No sign of copies") == 3
    assert told.count("No sign of copies") == 3 and "  island, pet: No sign of copies" in told
    found = yaml.safe_load((finished / "clients" / "south" / "audit" / "overrides.yaml").read_text())
    assert (found["min_foreground"], found["slices_per_volume"]) == (0.02, None), "as the factory was trained"


def test_an_audit_can_be_left_out(values):
    stages = {stage.key for stage in study_stages(plan_study(made(values, audit=False)))}
    assert stages == {s.key for s in study_stages(plan_study(made(values)))} - {
        f"{name}/audit" for name in ("north", "south", "island")
    }


def test_last_lines_segment_a_new_volume_with_each_model(finished, values, tmp_path):
    lines = study_summary(finished).splitlines()
    start = lines.index("to segment new volumes, a file, a folder or a data root in place of VOLUMES:")
    told = lines[start + 1 :]
    assert told[::2] == [
        "  with the model for north, t1:",
        "  with the model for island, pet:",
        "  with the model for south, t2:",
    ]
    command = told[3]
    assert "island/adaptation_predictions/overrides.yaml" in command and "outputs/new-island" in command
    image = Path(values["clients"]["island"]["data_root"]) / "images" / "s0.nii.gz"
    words = shlex.split(command.replace("VOLUMES", str(image)).replace("outputs/new-island", str(tmp_path)))
    ended = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert nib.load(tmp_path / "s0_seg.nii.gz").shape == nib.load(image).shape
    assert "parsing config_file" not in ended.stderr and "deprecated" not in ended.stderr


def test_command_takes_the_settings_of_the_training_where_nothing_was_segmented(finished):
    stage = finished / "clients" / "south" / "adaptation"
    command = segmenting_command(stage, [finished / "nowhere"], "new", stage / "model.pt")
    assert str(stage / "overrides.yaml") in command and command.endswith("--output_dir new")
    assert "--ckpt_path" not in command


def test_commands_of_a_moved_study_name_its_models_where_they_are_now(tmp_path):
    stage = tmp_path / "new" / "clients" / "south" / "choice"
    stage.mkdir(parents=True)
    old = tmp_path / "old" / "clients" / "south" / "choice" / "model.pt"
    write_record(stage / "overrides.yaml", {"bundle_root": "bundles/adaptation", "ckpt_path": str(old)})
    words = shlex.split(segmenting_command(stage, [], "new", stage / "model.pt"))
    assert words[words.index("--ckpt_path") + 1] == str(stage / "model.pt") and str(old) not in words


def test_no_stage_reads_the_images_of_another_client(finished, values):
    for client, entry in values["clients"].items():
        others = [e["data_root"] for name, e in values["clients"].items() if name != client]
        for file in (finished / "clients" / client).glob("*/overrides.yaml"):
            assert yaml.safe_load(file.read_text())["dataset_dir"] == entry["data_root"]
            assert not any(other in file.read_text() for other in others)


def of_kinds(client: str, *, segmenting: bool) -> Callable[[str], bool]:
    """Whether a stage of a client's is one of those that segment, or one of those that train on its labels."""

    def fits(key: str) -> bool:
        return key.startswith(f"{client}/") and "audit" not in key and key.endswith(PREDICTIONS) == segmenting

    return fits


NOBODY = of_kinds("nobody", segmenting=True)


@pytest.mark.parametrize(
    ("client", "change", "due"),
    [
        ("north", lambda content: content.update(licence="CC0"), NOBODY),
        (
            "island",
            lambda content: content["test"][0].update(label="labels/s3.nii.gz"),
            of_kinds("island", segmenting=True),
        ),
        (
            "south",
            lambda content: content["test"][0].update(annotated=[1]),
            of_kinds("south", segmenting=True),
        ),
        ("south", lambda content: content["test"].clear(), lambda key: key == "south/audit"),
        (
            "north",
            lambda content: content["training"][0].update(annotated=[1]),
            lambda key: key == "all/joint_source" or of_kinds("north", segmenting=False)(key),
        ),
        (
            "north",
            lambda content: content.update(ignore=255),
            lambda key: key == "all/joint_source" or (key.startswith("north/") and key != "north/audit"),
        ),
    ],
    ids=["licence", "test label", "annotated test slices", "no test volume", "annotated slices", "ignore"],
)
def test_of_a_changed_dataset_json_those_stages_are_due_that_read_what_has_changed(
    values, tmp_path, client, change, due
):
    entry = values["clients"][client]
    root = Path(shutil.copytree(entry["data_root"], tmp_path / client))
    clients = {**values["clients"], client: {**entry, "data_root": str(root)}}
    digests = FileDigests()

    def fingerprints() -> dict[str, str]:
        stages = study_stages(plan_study(made({**values, "clients": clients}, joint=True)))
        return {stage.key: stage.fingerprint(digests) for stage in stages}

    before, content = fingerprints(), json.loads((root / "dataset.json").read_text())
    change(content)
    (root / "dataset.json").write_text(json.dumps(content, indent=1))
    after = fingerprints()
    both = [key for key in before if key in after]
    assert {key for key in both if before[key] != after[key]} == set(filter(due, both))


def test_stages_take_over_what_the_factory_was_trained_with(finished):
    found = yaml.safe_load((finished / "clients" / "south" / "adaptation" / "overrides.yaml").read_text())
    # smoke.yaml, overrides
    assert (found["image_size"], found["spacing"], found["positions"]) == (32, 2.0, 4)
    assert found["discriminator_channels"] == [8, 8, 8, 8]


def test_second_run_keeps_what_is_finished(finished, values):
    times = {file: file.stat().st_mtime_ns for file in finished.glob("clients/*/*/done.json")}
    assert len(times) == 18
    before = (finished / "factory" / "global.pt").stat().st_mtime_ns
    with pytest.raises(InputError, match="already holds a run"):
        run_study(made(values), quiet=True)
    run_study(made(values), resume=True, quiet=True)
    assert {file: file.stat().st_mtime_ns for file in times} == times
    assert (finished / "factory" / "global.pt").stat().st_mtime_ns == before


@pytest.mark.parametrize("locked", ["", "factory"])
@pytest.mark.parametrize("how", [{"resume": True}, {"force": True}, {}])
def test_a_second_study_is_refused_before_anything_is_touched(finished, values, locked, how):
    times = {file: file.stat().st_mtime_ns for file in finished.rglob("*") if file.is_file()}
    with FolderLock(finished / locked).held():
        with pytest.raises(InputError, match="another process runs in this folder; wait for it"):
            run_study(made(values), quiet=True, **how)
        status = study_status(finished)
    assert {file: file.stat().st_mtime_ns for file in times if file.is_file()} == times
    assert ("north/source_model: done" in status) == (not locked)
    assert "--resume" not in status


def test_a_study_that_was_stopped_goes_on_as_a_whole(finished):
    record, done = finished / "study.json", finished / "clients" / "south" / "adaptation" / "done.json"
    for file in (record, done):
        file.rename(file.with_suffix(".aside"))
    status = study_status(finished)
    with FolderLock(finished).held():
        running = study_status(finished)
    for file in (record, done):
        file.with_suffix(".aside").rename(file)
    assert re.search(r"south/adaptation: not finished; .* in \S*south/adaptation/log\.txt\n", status)
    assert re.search(r"south/adaptation: under way, see \S*south/adaptation/log\.txt", running)
    assert "north/source_model: done" in status and "--resume" not in running
    assert "factory: tiny study: round 1 of 1, done" in status
    assert status.endswith("stopped: give the command that began it again, with --resume")
    assert status.count("--resume") == 1


def test_status_tells_what_was_done_before_the_study_began_again(finished):
    record, began = finished / "study.json", FolderLock(finished).began()
    done = {
        name: finished / "clients" / name / "done.json" for name in ("north/source_model", "south/adaptation")
    }
    ended = {file: file.stat().st_mtime_ns for file in done.values()}
    record.rename(finished / "kept.json")
    for file, time in zip(done.values(), (began + 1, began - 1), strict=True):
        os.utime(file, (time, time))
    status = study_status(finished)
    for file, time in ended.items():
        os.utime(file, ns=(time, time))
    (finished / "kept.json").rename(record)
    assert began > 0 and "  north/source_model: done\n" in status
    assert "  south/adaptation: done before, kept unless what it depends on has changed\n" in status


def test_a_study_that_is_not_to_be_overwritten_keeps_its_stages(finished, values):
    done = sorted(finished.glob("clients/*/*/done.json"))
    with pytest.raises(InputError, match="already holds a run"):
        run_study(made(values), quiet=True)
    assert sorted(finished.glob("clients/*/*/done.json")) == done
    assert (finished / "study.json").is_file()


@pytest.mark.parametrize("how", [{"resume": True}, {"force": True}, {}])
def test_a_study_is_kept_out_of_the_folder_of_a_run(values, tmp_path, how):
    (tmp_path / "global.pt").write_text("kept")
    study = plan_study(made({**values, "output_dir": str(tmp_path)}))
    with (
        pytest.raises(InputError, match="expected the folder of a study, found a run"),
        opened_study(study, [], **{"resume": False, "force": False, **how}),
    ):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["global.pt"]


def test_what_is_damaged_or_gone_is_made_again_as_it_was(finished, values):
    names = ("study.json", "factory/seconds.json", "clients/island/adaptation_predictions/s3_seg.nii.gz")
    files = [finished / name for name in names]
    segmented = files[2].read_bytes()
    kept = {
        f: f.stat().st_mtime_ns for f in finished.glob("clients/*/*/done.json") if f.parent != files[2].parent
    }
    files[2].unlink()
    for file in files[:2]:
        file.write_bytes(next(flipped(file.read_bytes(), 1)))
    for tell in (study_summary, study_status):
        with pytest.raises(
            InputError, match=r"study\.json: is damaged .*; write it again with [^\n]+ --resume$"
        ):
            tell(finished)
    (finished / "clients" / ".writing-x").mkdir()
    run_study(made(values), resume=True, quiet=True)
    assert files[2].read_bytes() == segmented
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert found_record(files[0])["name"] == "tiny study" and found_record(files[1])["seconds"] > 0
    assert not (finished / "clients" / ".writing-x").exists()


def test_summary_says_where_things_are(finished, tmp_path):
    text = study_summary(finished)
    scored, unscored = (
        "south, adaptation: 1 volume, Dice",
        "island, adaptation: 1 volume, no labels to score against",
    )
    for part in ("report.html", "factory.pt", scored, unscored, "all/factory"):
        assert part in text
    assert study_status(finished) == text
    assert study_status(tmp_path) is None
    with pytest.raises(InputError, match=r"study\.json: expected a finished study"):
        study_summary(tmp_path)


def test_segmentation_on_another_grid_is_found(finished, tmp_path):
    folder = shutil.copytree(finished / "clients" / "south" / "adaptation_predictions", tmp_path / "p")
    assert grid_faults(folder) == []
    file = folder / "s3_seg.nii.gz"
    written = nib.load(file)
    nib.save(nib.Nifti1Image(np.asarray(written.dataobj), np.eye(4)), file)
    assert ["another affine: corners lie" in fault for fault in grid_faults(folder)] == [True]
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), written.affine), file)
    assert "s3.nii.gz: has 2×2×2 voxels, expected 8×8×8" in grid_faults(folder)[0]


def test_roles_follow_from_labels(values):
    study = plan_study(made(values))
    assert (study.source, study.sources, study.targets) == ("north", ("north",), ("island", "south"))
    without = {stage.key for stage in study_stages(plan_study(made(values, baselines=False, matrix=False)))}
    assert without == {
        *(f"north/{name}" for name in ("source_model", "source_model_predictions", "synthetic", "audit")),
        *(
            f"{name}/{stage}"
            for name in ("island", "south")
            for stage in ("adaptation", "adaptation_predictions", "audit")
        ),
    }


def test_every_model_is_tried_at_every_client_with_test_labels(finished, values):
    cells = {s.key for s in study_stages(plan_study(made(values, baselines=False)))}
    cells -= {s.key for s in study_stages(plan_study(made(values, baselines=False, matrix=False)))}
    ours = {f"north/adaptation_of_{name}_predictions" for name in ("island", "south")}
    assert cells == {*ours, "south/adaptation_of_island_predictions", "south/source_model_predictions"}
    matrix = json.loads((finished / "study.json").read_text())["matrix"]
    assert matrix["sites"] == ["north", "south"]
    assert [row["model"] for row in matrix["models"]] == [
        "source model of north",
        "adaptation of island",
        "adaptation of south",
    ]


def test_nothing_is_compared_where_nothing_can_be_scored(values):
    clients = {name: values["clients"][name] for name in ("north", "island")}
    stages = {stage.key for stage in study_stages(plan_study(made({**values, "clients": clients})))}
    assert "north/source_only" not in stages and "island/self_trained" not in stages


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"pretrian": {}}, r"study: key 'pretrian' is unknown \(did you mean 'pretrain'\?\)"),
        ({"train": {"phazes": [1]}}, r"train: 'phazes' is no id .* \(did you mean 'phases'\?\)"),
        ({"overrides": {"nowhere": 1}}, "overrides: 'nowhere' is no id"),
        ({"train": 3}, "'train' must hold 'key: value' lines, found 3"),
        ({"jobs": 0}, "'jobs' must be a whole number from 1 to 256, found 0"),
        ({"baselines": "no"}, "'baselines' must be true or false"),
        ({"source": "south"}, "source: expected one of the labelled clients north, found 'south'"),
        ({"adaptation": "nowhere"}, "expected a bundle with .*nowhere/configs/common.yaml"),
    ],
)
def test_unusable_settings_are_told_before_anything_trains(values, section, message):
    with pytest.raises(InputError, match=message):
        study_stages(plan_study(made(values, **section)))


def test_study_wants_a_labelled_client(values):
    clients = {name: values["clients"][name] for name in ("south", "island")}
    with pytest.raises(InputError, match="expected at least one client with labels"):
        plan_study(made({**values, "clients": clients}))
