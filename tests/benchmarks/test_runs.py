from __future__ import annotations

import pytest

from shared_components.benchmarks.runs import Runs, check_failures
from shared_components.errors import InputError
from shared_components.study.stage import DONE
from tests.study.test_stages import chain, stage


def test_finished_runs_are_kept_and_the_failed_ones_told_at_the_end(tmp_path):
    stages = [stage(tmp_path, "wrong", text="wrong"), *chain(tmp_path)]
    runs, ended = Runs(tmp_path), []
    with runs.alone():
        failures = runs.run(stages, ended=lambda stage: ended.append(stage.key))
    assert ended == ["north/first", "north/second"] == sorted(runs.done(stages))
    assert (tmp_path / "digests.json").is_file() and not (tmp_path / "wrong" / DONE).exists()
    with pytest.raises(InputError) as error:
        check_failures(failures)
    cause = f"expected another word, found wrong; change it (more in {tmp_path / 'wrong' / 'log.txt'})"
    told = "1 run failed; mend and run again, finished ones are kept:\n  north/wrong: text: "
    assert str(error.value) == told + cause
    check_failures([])
    with runs.alone():
        assert runs.run(stages[1:], ended=lambda stage: ended.append(stage.key)) == [] and len(ended) == 2


def test_folder_belongs_to_one_benchmark(tmp_path):
    with (
        Runs(tmp_path).alone(),
        pytest.raises(InputError, match="another process runs in this folder"),
        Runs(tmp_path).alone(),
    ):
        pass
