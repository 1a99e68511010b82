from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from shared_components.benchmarks.processes import DONE, LOG, REPOSITORY, Job, Step, locked, run_jobs
from shared_components.errors import InputError


def step(folder: Path, code: str, fingerprint: str = "a", **files: str) -> Step:
    """A Python program of one line, without the site's packages, which would make it slow to start."""
    return Step((sys.executable, "-S", "-c", code), folder, fingerprint, tuple(files.items()))


def appending(log: Path, word: str) -> str:
    return f"open({str(log)!r}, 'a').write({word!r})"


def run(*jobs: Job, workers: int = 1) -> tuple[dict[str, str], list[tuple[str, bool]]]:
    ended = []
    failures = run_jobs(jobs, workers, lambda job, failure: ended.append((job.name, failure is None)))
    return failures, ended


def two_steps(folder: Path, log: Path, first: str = "a") -> Job:
    steps = (
        step(folder / "one", appending(log, "1"), first),
        step(folder / "two", appending(log, "2")),
    )
    return Job("job", steps)


def test_steps_follow_one_another_and_are_done_once(tmp_path):
    log = tmp_path / "log"
    assert run(two_steps(tmp_path, log)) == ({}, [("job", True)])
    assert log.read_text() == "12"
    assert run(two_steps(tmp_path, log)) == ({}, [])
    assert log.read_text() == "12"


def test_what_changed_or_was_cut_short_is_done_again(tmp_path):
    log, left = tmp_path / "log", tmp_path / "two" / "left.txt"
    run(two_steps(tmp_path, log))
    left.write_text("of an interrupted run")
    (tmp_path / "two" / DONE).unlink()
    run(two_steps(tmp_path, log))
    assert log.read_text() == "122" and not left.exists()
    run(two_steps(tmp_path, log, first="b"))
    assert log.read_text() == "12212"  # the second reads what the first has written
    (tmp_path / "two" / DONE).write_bytes(b"")
    run(two_steps(tmp_path, log, first="b"))
    assert log.read_text() == "122122"


def test_step_that_resumes_keeps_what_it_left_unless_it_is_another_one(tmp_path):
    log = tmp_path / "s" / "log"
    for fingerprint, expected in (("a", "1"), ("a", "11"), ("b", "1")):
        again = replace(step(tmp_path / "s", appending(log, "1"), fingerprint), resumes=True)
        run(Job("job", (again,)))
        assert log.read_text() == expected
        (tmp_path / "s" / DONE).unlink()


def test_failure_stops_its_own_job_alone_and_names_its_log(tmp_path):
    bad = step(tmp_path / "bad", "print('before'); raise ValueError('too wide')")
    never = step(tmp_path / "never", "pass")
    good = step(tmp_path / "good", "pass")
    failures, ended = run(Job("first", (bad, never)), Job("second", (good,)))
    log = tmp_path / "bad" / LOG
    assert failures == {"first": f"ValueError: too wide (log: {log})"}
    assert ended == [("first", False), ("second", True)] and not never.folder.exists()
    assert log.read_text().startswith("before\nTraceback")
    assert good.seconds() is not None and bad.seconds() is None


def test_silent_death_is_told_by_its_code(tmp_path):
    failures, _ = run(Job("job", (step(tmp_path / "s", "import sys; sys.exit(3)"),)))
    assert failures["job"].startswith("exit code 3 (log: ")


def test_process_has_its_files_one_thread_and_the_repository(tmp_path):
    place = tmp_path / "s"
    code = (
        "import os; print(os.environ['OMP_NUM_THREADS'], os.getcwd(), "
        f"open({str(place / 'settings')!r}).read())"
    )
    assert run(Job("job", (step(place, code, settings="x: 1"),)))[0] == {}
    assert (place / LOG).read_text() == f"1 {REPOSITORY} x: 1\n"


def test_jobs_run_side_by_side(tmp_path):
    """Each waits for the other's greeting: one after the other they would never end."""
    pipes = [tmp_path / "a", tmp_path / "b"]
    for pipe in pipes:
        os.mkfifo(pipe)
    meet = "open({0!r}, 'w').close(); open({1!r}).read()"
    answer = "open({0!r}).read(); open({1!r}, 'w').close()"
    jobs = [
        Job(name, (step(tmp_path / name, code.format(*map(str, pipes))),))
        for name, code in (("meet", meet), ("answer", answer))
    ]
    failures, ended = run(*jobs, workers=2)
    assert failures == {} and len(ended) == 2


def test_interruption_ends_the_processes(tmp_path):
    """The second job would wait for ever; the report of the first is interrupted."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    started = f"open({str(pipe)!r}, 'w').close(); import time; time.sleep(1000)"
    waiting = Job("waiting", (step(tmp_path / "waiting", started),))
    first = Job("first", (step(tmp_path / "first", f"open({str(pipe)!r}).read()"),))

    def interrupt(job: Job, failure: str | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs([first, waiting], 2, interrupt)
    assert waiting.steps[0].seconds() is None


def test_folder_belongs_to_one_benchmark_and_its_children(tmp_path):
    with locked(tmp_path):
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE, close_fds=False
        )
        with pytest.raises(InputError, match="found a benchmark at work in it"), locked(tmp_path):
            pass
    with pytest.raises(InputError, match="found a benchmark at work in it"), locked(tmp_path):
        pass
    child.communicate(b"\n")
    with locked(tmp_path):
        assert (tmp_path / ".lock").is_file()
