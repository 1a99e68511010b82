from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shared_components.errors import InputError
from shared_components.federation.file_digests import FileDigests
from shared_components.interrupts import Interrupted
from shared_components.study.stage import DONE, LOG, Stage
from shared_components.study.stage_places import StageWorkers, run_stage
from shared_components.study.stages import StageRun, done_stages, run_stages

BUNDLE = Path(__file__).parent / "stage_bundle"


def stage(folder: Path, name: str, needs: tuple[str, ...] = (), reads: tuple[str, ...] = (), **overrides):
    place = folder / name
    configs = ("common.yaml", "write.yaml")
    return Stage("north", name, str(BUNDLE), configs, overrides, place, needs, reads)


def chain(folder: Path, first: str = "one ", second: str = "two") -> list[Stage]:
    """Two stages, the one that needs the other named first."""
    written = str(folder / "first" / "out.txt")
    return [
        stage(folder, "second", ("north/first",), text=second, before=written),
        stage(folder, "first", text=first),
    ]


def test_fingerprint_changes_with_all_that_a_stage_depends_on(tmp_path):
    read = tmp_path / "data.json"
    read.write_text("a")
    bundle = shutil.copytree(BUNDLE, tmp_path / "bundle")
    configs = ("common.yaml", "write.yaml")

    def fingerprint(before=(), **overrides):
        made = Stage("north", "s", str(bundle), configs, overrides, tmp_path / "s", reads=(str(read),))
        return made.fingerprint(FileDigests(), before)

    found = [fingerprint(), fingerprint(text="b"), fingerprint(before=["x"])]
    assert fingerprint() == found[0]
    read.write_text("b")
    found.append(fingerprint())
    with (bundle / "configs" / "write.yaml").open("a") as file:
        file.write("# changed\n")
    found.append(fingerprint())
    assert len(set(found)) == len(found)


def test_stages_wait_for_what_they_need_and_are_done_once(tmp_path, capsys):
    seconds = run_stages(chain(tmp_path), jobs=2)
    assert set(seconds) == {"north/first", "north/second"}
    assert (tmp_path / "second" / "out.txt").read_text() == "one two"
    assert "said by the stage" in (tmp_path / "first" / LOG).read_text()
    out = capsys.readouterr().out
    assert "said by the stage" not in out
    assert out.index("north/first: ") < out.index("north/second: ")

    (tmp_path / "first" / "out.txt").unlink()
    (tmp_path / "second" / LOG).write_text("kept")
    assert run_stages(chain(tmp_path), jobs=2)["north/second"] == seconds["north/second"]
    assert (tmp_path / "first" / "out.txt").read_text() == "one "
    assert (tmp_path / "second" / LOG).read_text() == "kept"
    out = capsys.readouterr().out
    assert "north/first: out.txt is not what the stage has written; it runs again" in out

    run_stages(chain(tmp_path, first="three "), jobs=1, quiet=True)
    assert (tmp_path / "second" / "out.txt").read_text() == "three two"


def test_log_of_a_stage_begins_with_what_the_stage_says(tmp_path):
    """MONAI's paragraph on trust, and its remarks on files that a bundle need not have, are no news here."""
    run_stages([stage(tmp_path, "first", text="a")], jobs=1)
    log = (tmp_path / "first" / LOG).read_text()
    assert log.startswith("python -m monai.bundle run --config_file ") and "said by the stage" in log
    assert not any(word in log for word in ("parsing config_file", "GHSA", "WARNING", "deprecated name"))


def test_failed_stage_names_its_log_and_leaves_the_others_done(tmp_path):
    with pytest.raises(InputError) as error:
        run_stages(chain(tmp_path, second="wrong"), jobs=1, quiet=True)
    assert str(error.value) == (
        "north/second: text: expected another word, found wrong; change it "
        f"(more in {tmp_path / 'second' / LOG}); mend it and go on with --resume"
    )
    assert "Traceback" in (tmp_path / "second" / LOG).read_text()
    assert (tmp_path / "first" / DONE).is_file() and not (tmp_path / "second" / DONE).exists()


def test_cause_of_an_unforeseen_error_is_told_first(tmp_path):
    with pytest.raises(
        InputError, match=r"^north/second: \S+nowhere\.txt: no such file or folder; .* \(more in"
    ):
        run_stages([stage(tmp_path, "second", before=str(tmp_path / "nowhere.txt"))], jobs=1, quiet=True)


def test_killed_worker_is_told(tmp_path):
    with pytest.raises(InputError, match=r"^north/s: the worker process died; .*s/log\.txt"):
        run_stages([stage(tmp_path, "s", text="killed")], jobs=1, quiet=True)


def test_failures_that_are_noted_stop_only_what_needs_them(tmp_path):
    """One is killed while another, which waits for that, is at work beside it."""
    pipe, ended = str(tmp_path / "pipe"), {}
    os.mkfifo(pipe)
    stages = [
        stage(tmp_path, "dies", text="killed", before=pipe),
        stage(tmp_path, "after", ("north/dies",)),
        stage(tmp_path, "beside", text="good", before=pipe),
        stage(tmp_path, "fails", text="wrong"),
    ]
    seconds = run_stages(
        stages,
        jobs=2,
        quiet=True,
        fresh=True,
        ended=lambda stage, failure: ended.update({stage.name: failure}),
    )
    assert list(seconds) == ["north/beside"] and seconds == done_stages(stages)
    assert ended.keys() == {"dies", "beside", "fails"} and ended["beside"] is None
    assert str(ended["dies"]).startswith("north/dies: the worker process died; it was killed")
    log = tmp_path / "fails" / LOG
    cause = "text: expected another word, found wrong; change it"
    assert str(ended["fails"]) == f"north/fails: {cause} (more in {log})"
    pids = {
        (tmp_path / name / LOG).read_text().split("in process ")[1].split()[0] for name in ("beside", "fails")
    }
    assert len(pids) == 2 and not (tmp_path / "after").exists()


def test_stage_that_nobody_provides_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"north/second: expected stages .* none that ends: north/first"):
        run_stages(chain(tmp_path)[:1], jobs=1)


def flip(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:1] + bytes([content[1] ^ 32]) + content[2:])


@pytest.fixture
def ended(tmp_path) -> Stage:
    """A stage that has written two files and ended."""
    made = stage(tmp_path, "s")
    for name in ("model.pt", "south/scores.csv", LOG, "checkpoint.pt", "tensorboard/events"):
        (made.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (made.folder / name).write_text(name)
    made.note("f", 1.5)
    return made


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.pt").unlink(),
        lambda folder: flip(folder / "model.pt"),
        lambda folder: (folder / "south" / "scores.csv").write_text("longer than it was"),
        lambda folder: shutil.rmtree(folder / "south"),
        lambda folder: flip(folder / DONE),
        lambda folder: (folder / DONE).write_bytes(b""),
        lambda folder: (folder / DONE).unlink(),
        shutil.rmtree,
    ],
)
def test_a_stage_that_has_lost_an_output_is_not_done(ended, damage):
    damage(ended.folder)
    assert ended.done("f") is None


def test_a_stage_is_done_while_its_outputs_are_there(ended):
    done = ended.done("f")
    assert done.seconds == 1.5 and ended.lost() == []
    assert ended.done("g") is None
    for name in (LOG, "checkpoint.pt", "tensorboard/events"):
        (ended.folder / name).unlink()
    (ended.folder / "mine.txt").write_text("beside")
    assert ended.done("f") == done
    (ended.folder / "model.pt").write_text("another")
    assert ended.lost() == ["model.pt"]
    assert ended.note("f", 1.5).outputs != done.outputs


def test_a_stage_of_a_moved_study_is_done(tmp_path):
    def made(root: Path) -> Stage:
        values = {"text": "one", "paths": {"a": [str(root / "first" / "model.pt")]}, "before": str(tmp_path)}
        return replace(stage(root, "second", **values), root=root)

    now = FileDigests()
    one = made(tmp_path / "one")
    one.folder.mkdir(parents=True)
    done = one.note(one.fingerprint(now, ["b"]), 1.5)
    (tmp_path / "one").rename(tmp_path / "other")
    other = made(tmp_path / "other")
    assert other.found(now, ["b"]) == done and other.found(now) is None
    assert replace(other, overrides={**other.overrides, "before": "x"}).found(now, ["b"]) is None


def test_a_stage_is_done_wherever_its_study_lies(tmp_path):
    here = tmp_path / "here"
    made = replace(stage(here, "second", ckpt_path=str(here / "model.pt")), root=here)
    made.folder.mkdir(parents=True)
    assert made.found(FileDigests()) is None
    noted = made.note(made.fingerprint(FileDigests()), 1.5)
    moved = here.rename(tmp_path / "there")
    there = replace(stage(moved, "second", ckpt_path=str(moved / "model.pt")), root=moved)
    assert there.found(FileDigests()) == noted
    assert replace(there, root=None).found(FileDigests()) is None


def test_of_a_file_of_which_a_stage_reads_a_part_that_part_counts(tmp_path):
    file = tmp_path / "dataset.json"
    file.write_text("1")
    made = replace(stage(tmp_path, "s", reads=(str(file),)), read_of={str(file): {"test": []}})
    first = made.fingerprint(FileDigests())
    made.folder.mkdir()
    noted = made.note(first, 1.5)
    file.write_text("2")
    assert made.found(FileDigests()) == noted
    assert replace(made, read_of={str(file): {"test": ["a"]}}).found(FileDigests()) is None


def test_files_that_a_stage_reads_count_by_their_contents(tmp_path):
    image, kept = tmp_path / "image.nii", tmp_path / "digests.json"
    image.write_text("a")

    def fingerprint() -> str:
        digests = FileDigests(kept)
        found = made.fingerprint(digests)
        digests.keep()
        return found

    made = stage(tmp_path, "s", reads=(str(image),))
    first = fingerprint()
    os.utime(image, (0, 0))
    assert fingerprint() == first
    image.write_text("b")
    os.utime(image, (0, 0))  # of the same size and time: the inode's own time of change tells
    second = fingerprint()
    assert second != first
    flip(kept)
    assert fingerprint() == second
    image.unlink()
    assert fingerprint() not in (first, second)


def test_voxels_beside_a_header_that_a_stage_reads_count(tmp_path):
    (tmp_path / "image.mhd").write_text("ElementDataFile = image.raw\n")
    made = stage(tmp_path, "s", reads=(str(tmp_path / "image.mhd"),))
    found = []
    for voxels in ("a", "b", "b"):
        (tmp_path / "image.raw").write_text(voxels)
        found.append(made.fingerprint(FileDigests()))
    assert found[0] != found[1] == found[2]


def test_a_file_in_place_of_a_stage_folder_makes_way_and_of_its_parents_is_one_line(tmp_path):
    (tmp_path / "s").write_text("")
    run_stage(stage(tmp_path, "s"), "f")
    assert (tmp_path / "s" / "out.txt").is_file()
    with pytest.raises(
        InputError, match=r"expected a folder at \S+log\.txt, found a file; name another folder"
    ):
        run_stage(stage(tmp_path / "s" / LOG, "t"), "f")


def test_a_stage_whose_folder_is_removed_under_it_fails_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"/s: was removed or replaced while the stage wrote to it$"):
        run_stage(stage(tmp_path, "s", text="removed"), "f")


def test_a_signal_ends_stages_and_their_workers(tmp_path):
    """A stage tells its worker's process, then waits for long; the signal comes once it does."""
    told = tmp_path / "pid"
    sender = threading.Thread(target=lambda: (wait_for(told), os.kill(os.getpid(), signal.SIGTERM)))
    sender.start()
    with pytest.raises(Interrupted):
        run_stages([stage(tmp_path, "s", text="waits", before=str(told))], jobs=1, quiet=True)
    sender.join()
    pid = int(told.read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not (tmp_path / "s" / DONE).exists()


def wait_for(file: Path) -> None:
    while not (file.is_file() and file.read_text()):
        threading.Event().wait(0.01)


def test_stages_that_read_nothing_unwritten_run_beside_what_writes_it(tmp_path):
    training = tmp_path / "training"
    training.mkdir()
    weights = str(training / "weights.txt")
    stages = [
        stage(tmp_path, "reads", before=weights, reads=(weights,)),
        stage(tmp_path, "needs", ("north/reads",), text="last"),
        *chain(tmp_path),
    ]
    with StageWorkers(jobs=2, threads=1) as workers:
        run = StageRun(workers, stages, quiet=True)
        with workers.taken(1), run.beside([training]):
            wait_for(tmp_path / "second" / DONE)
            assert not (tmp_path / "reads").exists()
            Path(weights).write_text("weights and ")
        assert not (tmp_path / "needs").exists()
        seconds = run.go_on()
    assert list(seconds) == [one.key for one in stages]
    assert (tmp_path / "reads" / "out.txt").read_text() == "weights and hello"


def test_nothing_begins_beside_what_takes_all_jobs(tmp_path):
    with StageWorkers(jobs=2, threads=1) as workers:
        run = StageRun(workers, chain(tmp_path), quiet=True)
        with workers.taken(3), run.beside([]):
            pass
        assert not (tmp_path / "first").exists()
        assert len(run.go_on()) == 2


def train_beside(stages: list[Stage], training: Callable[[], None], quiet: bool = True) -> None:
    """Run stages, one at a time, beside a training."""
    with StageWorkers(jobs=1, threads=1) as workers, StageRun(workers, stages, quiet).beside([]):
        training()


def test_a_failure_beside_a_training_is_told_at_once_and_raised_at_its_end(tmp_path, capsys):
    ended = []

    def training() -> None:
        told = ""
        while "mend it and go on with --resume" not in told:
            threading.Event().wait(0.01)
            told += capsys.readouterr().out
        ended.append(told)

    with pytest.raises(InputError, match=r"^north/second: text: expected another word.*--resume$"):
        train_beside(chain(tmp_path, second="wrong"), training, quiet=False)
    assert "north/second: text: expected another word" in ended[0]
    assert (tmp_path / "first" / DONE).is_file()


def test_a_training_that_fails_ends_the_stages_beside_it(tmp_path):
    told = tmp_path / "pid"

    def training() -> None:
        wait_for(told)
        raise InputError("the training's own")

    with pytest.raises(InputError, match=r"^the training's own$"):
        train_beside([stage(tmp_path, "s", text="waits", before=str(told))], training)
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)
    assert not (tmp_path / "s" / DONE).exists()
