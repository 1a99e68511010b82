from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation.aggregators.aggregation import to_blocks
from shared_components.federation.coordinator import drawn_clients
from shared_components.federation.folder_lock import FolderLock
from shared_components.federation.local import LocalEngine, read_update
from shared_components.federation.rounds_log import RoundsCsv, read_rows
from shared_components.federation.run_folder import RunFolder
from shared_components.files import load_tensors, save_tensors
from shared_components.records import read_record, write_record
from shared_components.tensors import not_finite
from tests.federation.tiny import federation, file_values, make_roots
from tests.test_files import flipped


def warned(capsys) -> list[str]:
    """The lines of warnings; packages may tell of themselves beside them when they are first imported."""
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]


def run(values, resume=False, force=False, **changes) -> Path:
    return LocalEngine(federation(values, **changes), quiet=True).run(resume=resume, force=force)


def global_weights(folder: Path) -> dict:
    return load_tensors(folder / "global.pt")["model"]


def assert_same(first, second):
    assert first.keys() == second.keys() and first
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def assert_same_run(first: Path, second: Path):
    """Global weights, every client's state and the table of two runs are equal (but for seconds)."""
    assert_same(global_weights(first), global_weights(second))
    states = sorted(path.relative_to(first) for path in first.glob("clients/*/state.*.pt"))
    assert (
        states == sorted(path.relative_to(second) for path in second.glob("clients/*/state.*.pt")) and states
    )
    for path in states:
        one, two = load_tensors(first / path), load_tensors(second / path)
        assert_same(one["private"], two["private"])
        assert torch.equal(one["random"]["torch"], two["random"]["torch"])
    tables = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in read_rows(folder / "rounds.csv")]
        for folder in (first, second)
    ]
    assert tables[0] == tables[1] and tables[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of three rounds that each test may compare with, made once."""
    made = {}

    def of(values):
        if not made:
            made["run"] = run(values, output_dir=str(tmp_path_factory.mktemp("whole") / "run"))
        return made["run"]

    return of


def test_run_leaves_model_table_settings_and_deliverable(values, whole):
    folder = whole(values)
    names = {path.name for path in folder.iterdir()}
    assert {
        "global.pt",
        "rounds.csv",
        "federation.yaml",
        "bundle.yaml",
        "versions.json",
        "tensorboard",
    } <= names
    assert load_tensors(folder / "global.pt")["round"] == 3
    rows = read_rows(folder / "rounds.csv")
    assert [(row["round"], row["client"]) for row in rows] == [
        (str(r), c) for r in (1, 2, 3) for c in ("island", "north", "south")
    ]
    assert [row["images"] for row in rows[:3]] == ["2", "3", "4"]
    sizes = sum(tensor.nbytes for tensor in global_weights(folder).values())
    assert all(int(row["bytes_up"]) == int(row["bytes_down"]) == sizes for row in rows)
    assert all(float(row["loss"]) > 0 for row in rows)
    exported = load_tensors(folder / "tiny_bundle.pt")["model"]
    assert_same({name: exported[name] for name in global_weights(folder)}, global_weights(folder))


def test_only_shared_tensors_leave_a_client(values, whole):
    assert all(name.startswith(("model.0.", "model.1.")) for name in global_weights(whole(values)))


def test_worker_processes_give_the_same_as_one_process(values, whole, tmp_path):
    assert_same_run(whole(values), run(values, workers=2, output_dir=str(tmp_path / "two")))


def test_order_of_clients_in_the_file_does_not_matter(values, whole, tmp_path):
    turned = dict(reversed(values["clients"].items()))
    assert list(turned) != list(values["clients"])
    assert_same_run(whole(values), run(values, clients=turned, output_dir=str(tmp_path / "turned")))


def test_resumed_run_equals_unbroken(values, whole, tmp_path):
    folder = run(values, rounds=1)
    assert load_tensors(folder / "global.pt")["round"] == 1
    assert_same_run(whole(values), run(values, resume=True))


@pytest.mark.parametrize("name", ["FedAvgM", "FedAdam", "ServerAverage"])
def test_state_of_the_aggregator_resumes(values, tmp_path, name):
    aggregator = {"_target_": f"shared_components.federation.{name}"}
    unbroken = run(values, aggregator=aggregator)
    broken = {**values, "aggregator": aggregator, "output_dir": str(tmp_path / "broken")}
    run(broken, rounds=2)
    assert_same_run(unbroken, run(broken, resume=True))


def test_what_an_unfinished_round_left_is_ignored(values, whole, tmp_path):
    folder = run(values, rounds=2)
    paths = RunFolder(folder)
    shutil.copy(paths.client("north") / "state.2.pt", paths.client("north") / "state.3.pt")
    save_tensors(paths.update_file("north"), {**to_blocks({}), "round": 3})
    cells = {"seconds": 0.1, "bytes_up": 1, "bytes_down": 1, "loss": 9.0}
    RoundsCsv(paths.rounds_file, 2).append([{"round": 3, "client": "island", "images": 2, **cells}])
    assert_same_run(whole(values), run(values, resume=True))


def test_resume_of_nothing_starts_and_of_a_finished_run_exports_again(values, whole):
    folder = run(values, resume=True)
    assert_same_run(whole(values), folder)
    (folder / "tiny_bundle.pt").unlink()
    assert_same_run(whole(values), run(values, resume=True))
    assert (folder / "tiny_bundle.pt").is_file()


def test_existing_run_is_not_overwritten_unasked(values, whole):
    folder = run(values, rounds=1, seed=9)
    (folder / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="already holds a run; go on with --resume, start over with --force"):
        run(values)
    assert_same_run(whole(values), run(values, force=True))
    assert (folder / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 6}, "seed was 5 and is now 6"),
        ({"updates_per_round": 4}, "updates_per_round was 3 and is now 4"),
        ({"domains": ["t1", "pet", "t2"]}, "domains was"),
        ({"overrides": {"learning_rate": 0.5}}, "overrides.learning_rate was None and is now 0.5"),
        ({"clients_per_round": 2}, "clients_per_round was 3 and is now 2"),
        ({"rounds": 1}, r"2 rounds are done, more than 'rounds' \(1\)"),
    ],
)
def test_resume_with_other_settings_is_refused(values, shared_two_rounds, changes, message):
    with pytest.raises(InputError, match=message):
        run({**values, "rounds": 2, "output_dir": shared_two_rounds(values)}, resume=True, **changes)


@pytest.fixture(scope="module")
def shared_two_rounds(tmp_path_factory):
    made = {}

    def of(values):
        if not made:
            made["run"] = str(run(values, rounds=2, output_dir=str(tmp_path_factory.mktemp("two") / "run")))
        return made["run"]

    return of


def test_resume_tells_a_changed_bundle(values, tmp_path):
    bundle = shutil.copytree(values["bundle"], tmp_path / "tiny_bundle")
    run(values, bundle=str(bundle), rounds=1)
    config = bundle / "configs" / "common.yaml"
    config.write_text(config.read_text().replace("learning_rate: 0.01", "learning_rate: 0.02"))
    with pytest.raises(InputError, match=r"bundle\.yaml: .* learning_rate was 0\.01 and is now 0\.02"):
        run(values, bundle=str(bundle), resume=True)


def test_clients_per_round(values, tmp_path):
    folder = run(values, clients_per_round=1, rounds=5)
    rows = read_rows(folder / "rounds.csv")
    drawn = [row["client"] for row in rows]
    assert drawn == [drawn_clients(["island", "north", "south"], 1, 5, r)[0] for r in range(1, 6)]
    assert len(set(drawn)) > 1
    states = sorted((file.parent.name, file.name) for file in folder.glob("clients/*/state.*.pt"))
    last = [(name, [r for r, d in enumerate(drawn, 1) if d == name][-3:]) for name in set(drawn)]
    assert states == sorted((name, f"state.{r}.pt") for name, rounds in last for r in rounds)
    broken = str(tmp_path / "broken")
    for rounds in (2, 3, 5):
        run(values, clients_per_round=1, rounds=rounds, output_dir=broken, resume=True)
    assert_same(global_weights(folder), global_weights(Path(broken)))


def test_drawing_is_fixed_by_seed_and_round():
    names = ["d", "a", "c", "b"]
    rounds = [drawn_clients(names, 2, 0, r) for r in range(50)]
    assert rounds == [drawn_clients(sorted(names), 2, 0, r) for r in range(50)]
    assert all(drawn == sorted(set(drawn)) and len(drawn) == 2 for drawn in rounds)
    assert rounds != [drawn_clients(names, 2, 1, r) for r in range(50)]


@pytest.mark.parametrize(("clients", "number"), [(6, 1), (6, 4), (5, 3), (3, 3)])
def test_all_clients_are_drawn_equally_often(clients, number):
    names = [f"c{i}" for i in range(clients)]
    for rounds in range(1, 61):
        drawn = Counter(name for r in range(1, rounds + 1) for name in drawn_clients(names, number, 7, r))
        assert drawn.total() == rounds * number
        assert max(drawn.values()) - min(drawn[name] for name in names) <= 1


@pytest.fixture
def own_values(values, tmp_path):
    """Values with data of their own, to be changed, and those that go with ``whole``."""
    return file_values(make_roots(tmp_path / "data"), tmp_path / "run")


def test_failing_client_is_named_and_goes_on_once_it_is_mended(own_values, values, whole):
    image = Path(own_values["clients"]["south"]["data_root"]) / "images" / "s0.nii.gz"
    kept = image.read_bytes()
    image.write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"client south, being built: .*error\.txt.*--resume") as caught:
        run(own_values)
    assert "\n" not in str(caught.value)
    report = Path(own_values["output_dir"]) / "clients" / "south" / "error.txt"
    assert "Traceback" in report.read_text()
    image.write_bytes(kept)
    run(own_values, rounds=1)
    assert not report.exists()
    report.write_text("of an earlier round")
    assert_same(global_weights(whole(values)), global_weights(run(own_values, resume=True)))
    assert not report.exists()


def changed_image(root: Path) -> None:
    image = root / "images" / "s0.nii.gz"
    image.write_bytes((root / "images" / "s1.nii.gz").read_bytes())


def moved_to_test(root: Path) -> None:
    description = json.loads((root / "dataset.json").read_text())
    description["test"] = [description["training"].pop()]
    (root / "dataset.json").write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (changed_image, r"images/s0\.nii\.gz of training is another file"),
        (moved_to_test, r"images/s3\.nii\.gz is gone from training"),
    ],
)
def test_changed_data_are_named_at_resume(own_values, change, named):
    folder = run(own_values, rounds=1)
    root = Path(own_values["clients"]["south"]["data_root"])
    for file in (root / "images").iterdir():
        os.utime(file)
    (root / "dataset.json").write_text((root / "dataset.json").read_text() + "\n")
    run(own_values, rounds=1, resume=True)
    change(root)
    before = (folder / "global.pt").read_bytes()
    with pytest.raises(InputError, match=f"client south: {named}; put them back, or start over with --force"):
        run(own_values, resume=True)
    assert (folder / "global.pt").read_bytes() == before
    assert load_tensors(run(own_values, rounds=1, force=True) / "global.pt")["round"] == 1


def test_other_software_is_told_at_resume(values, capsys):
    folder = run(values, rounds=1)
    record = read_record(folder / "versions.json", "")
    write_record(folder / "versions.json", record | {"torch": "1.0", "platform": "another"})
    run(values, rounds=1, resume=True)
    told = capsys.readouterr().err
    assert f"goes on with other software than it began with (torch 1.0 -> {record['torch']})" in told
    assert read_record(folder / "versions.json", "") == record
    run(values, rounds=1, resume=True)
    assert "software" not in capsys.readouterr().err


def test_settings_may_change_before_the_first_round_is_whole(values, whole):
    overrides = {"optimizer": {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 1e30}}
    with pytest.raises(InputError):
        run(values, overrides=overrides)
    folder = Path(values["output_dir"])
    assert load_tensors(folder / "global.pt")["round"] == 0
    (folder / "mine.txt").write_text("kept")
    assert_same_run(whole(values), run(values))
    assert (folder / "mine.txt").read_text() == "kept"


SETTINGS = ["federation.yaml", "bundle.yaml", "rounds.csv", "data.json"]
STATE = ["global.pt", "clients/north/state.2.pt"]


@pytest.mark.parametrize("name", SETTINGS)
def test_damaged_files_are_one_line_with_the_cure_and_force_works(
    values, shared_two_rounds, whole, tmp_path, name
):
    folder = Path(shutil.copytree(shared_two_rounds(values), tmp_path / "run"))
    values = {**values, "output_dir": str(folder)}
    content = (folder / name).read_bytes()
    for damaged in (*flipped(content, 4), content[: len(content) // 2], b""):
        (folder / name).write_bytes(damaged)
        with pytest.raises(InputError, match=rf"{name}: .*(--force|remove it)") as caught:
            run(values, resume=True)
        assert "\n" not in str(caught.value)
    assert_same_run(whole(values), run(values, force=True))


@pytest.mark.parametrize("name", STATE)
def test_damaged_last_round_gives_way_to_the_one_before(
    values, shared_two_rounds, whole, tmp_path, name, capsys
):
    """With the same result as an unbroken run; the message names the file and the round."""
    content = (Path(shared_two_rounds(values)) / name).read_bytes()
    for number, damaged in enumerate((next(flipped(content, 1)), content[: len(content) // 2], b"", None)):
        folder = Path(shutil.copytree(shared_two_rounds(values), tmp_path / str(number)))
        (folder / name).unlink()
        if damaged is not None:
            (folder / name).write_bytes(damaged)
        assert_same_run(whole(values), run({**values, "output_dir": str(folder)}, resume=True))
        (line,) = warned(capsys)
        assert line.startswith("warning: ") and name in line and line.endswith("goes on from round 1")


@pytest.mark.parametrize("name", STATE)
def test_two_damaged_rounds_are_one_line_with_the_cure(values, shared_two_rounds, tmp_path, name):
    folder = Path(shutil.copytree(shared_two_rounds(values), tmp_path / "run"))
    earlier = {"global.pt": "global.previous.pt", STATE[1]: "clients/north/state.1.pt"}[name]
    for file in (folder / name, folder / earlier):
        file.write_bytes(b"damaged")
    with pytest.raises(InputError, match=rf"{name}: .*damaged file.*; .*--force") as caught:
        run({**values, "output_dir": str(folder)}, resume=True)
    assert "\n" not in str(caught.value)


def test_a_client_without_any_state_and_a_damaged_one_go_on_from_the_round_before(
    values, shared_two_rounds, tmp_path, capsys
):
    folder = Path(shutil.copytree(shared_two_rounds(values), tmp_path / "run"))
    shutil.rmtree(folder / "clients" / "north")
    (folder / "clients/south/state.2.pt").write_bytes(b"damaged")
    run({**values, "output_dir": str(folder)}, resume=True)
    first, second = warned(capsys)
    assert first.startswith("warning: client south: ") and first.endswith("goes on from round 1")
    assert second.startswith("warning: client north: ") and "goes on as a new client" in second
    assert load_tensors(folder / "global.pt")["round"] == values["rounds"]


def test_client_without_any_state_goes_on_as_a_new_one(values, shared_two_rounds, tmp_path, capsys):
    folder = Path(shutil.copytree(shared_two_rounds(values), tmp_path / "run"))
    shutil.rmtree(folder / "clients" / "north")
    run({**values, "output_dir": str(folder)}, resume=True)
    assert (
        "warning: client north: it has no state of any round, but took part before; it goes on as a new client"
        in (capsys.readouterr().err)
    )
    assert load_tensors(folder / "global.pt")["round"] == 3


@pytest.mark.parametrize("name", ["federation.yaml", "bundle.yaml"])
def test_missing_files_are_one_line_with_the_cure(values, shared_two_rounds, tmp_path, name):
    folder = Path(shutil.copytree(shared_two_rounds(values), tmp_path / "run"))
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: expected .*, found no file; put a copy of it back, or"):
        run({**values, "output_dir": str(folder)}, resume=True)


def test_what_a_kill_left_is_swept_at_the_next_start(values, whole):
    folder = run(values, rounds=1)
    left = [folder / ".writing-abc" / "global.pt", folder / "clients" / "north" / ".writing-x" / "update.pt"]
    for file in left:
        file.parent.mkdir()
        file.write_bytes(b"half")
    assert_same_run(whole(values), run(values, resume=True))
    assert list(folder.rglob(".writing-*")) == []


def test_status_does_not_keep_a_run_from_starting(values):
    """Threads that ask all the time, whose looks overlap: the folder is never free of shared locks for long."""
    folder = Path(values["output_dir"])
    folder.mkdir()
    (folder / "lock").touch()
    ended = threading.Event()

    def ask():
        while not ended.is_set():
            FolderLock(folder).is_held()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(300):
            with FolderLock(folder).held():
                assert FolderLock(folder).is_held()
                with pytest.raises(InputError, match="another process runs"), FolderLock(folder).held():
                    pass
    finally:
        ended.set()
    assert not FolderLock(folder).is_held()


def test_a_folder_that_is_removed_in_mid_run_ends_it_in_one_line(values):
    folder = RunFolder(values["output_dir"])
    with folder.lock.held():
        committed = folder.open(federation(values))
        shutil.rmtree(folder.root)
        with pytest.raises(InputError, match="was removed or replaced while this run wrote to it") as caught:
            LocalEngine(federation(values), quiet=True, folder=folder).go_on(committed)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["file", "file/run"])
def test_a_file_in_place_of_the_folder_is_one_line(values, tmp_path, place):
    """Of the engine itself: a file may come where the folder was after the federation file was read."""
    found = replace(federation(values), output_dir=str(tmp_path / place))
    (tmp_path / "file").write_text("kept")
    with pytest.raises(InputError, match=r"expected a folder at \S+/file, found a file; name another folder"):
        LocalEngine(found, quiet=True).run()
    assert (tmp_path / "file").read_text() == "kept"


def test_diverged_client_is_refused(values):
    overrides = {"optimizer": {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 1e30}}
    with pytest.raises(
        InputError, match=r"client \w+, round 1: update \d: 'model.* holds NaN or infinite values"
    ):
        run(values, overrides=overrides)
    assert load_tensors(Path(values["output_dir"]) / "global.pt")["round"] == 0


def test_a_client_that_diverges_later_leaves_the_last_whole_round(values):
    rate = {"_target_": "torch.optim.lr_scheduler.LambdaLR", "optimizer": "@optimizer"}
    rate["lr_lambda"] = "$lambda epoch: 1e30 if epoch else 1.0"  # from round 2 on
    handlers = [
        {
            "_target_": "shared_components.handlers.FiniteTraining",
            "stage": "tiny",
            "lower": ["learning_rate"],
        },
        {"_target_": "LrScheduleHandler", "lr_scheduler": rate, "print_lr": False},
    ]
    overrides = {"train::handlers": handlers}
    folder = Path(values["output_dir"])
    kept = []
    for resume in (False, True):
        with pytest.raises(InputError) as caught:
            run(values, overrides=overrides, resume=resume)
        assert re.match(
            r"client \w+, round 2: tiny, update [456]: the (loss|weight) '\S+' is NaN or infinite, .*"
            r": lower learning_rate and start over .*; the run is whole up to its last round",
            str(caught.value),
        )
        assert load_tensors(folder / "global.pt")["round"] == 1
        states = sorted(folder.glob("clients/*/state.1.pt"))
        assert len(states) == 3 and not_finite([load_tensors(path) for path in states]) is None
        kept.append([path.read_bytes() for path in (folder / "global.pt", *states)])
    assert kept[0] == kept[1]


def test_dead_worker_is_named(values, tmp_path):
    overrides = {"initialize": ["$monai.utils.set_determinism(seed=@seed)", "$__import__('os')._exit(3)"]}
    with pytest.raises(InputError, match=r"client island, being built.*: the worker process died"):
        run(values, workers=1, overrides=overrides)


def test_one_process_a_folder(values):
    with RunFolder(values["output_dir"]).lock.held(), pytest.raises(InputError, match="another process runs"):
        run(values)


def test_update_of_another_round_or_damaged_is_refused(tmp_path):
    file = save_tensors(tmp_path / "update.pt", {**to_blocks({"a": torch.zeros(1)}), "round": 2})
    assert read_update(file, 2).keys() == {"a"}
    with pytest.raises(InputError, match=r"update\.pt: expected the update of round 3, found 2"):
        read_update(file, 3)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"update\.pt: .*found a damaged file"):
        read_update(file, 2)


def test_a_global_model_of_something_else_is_one_line(tmp_path):
    save_tensors(tmp_path / "global.pt", {"weight": torch.zeros(2)})
    with pytest.raises(
        InputError, match=r"global\.pt: expected the last whole round, found other tensors; .*--force"
    ):
        RunFolder(tmp_path).committed()
