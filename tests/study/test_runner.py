"""A stage that fails at a client that adapts: the others go on, the report names it, and it is made up for later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared_components.errors import InputError
from shared_components.study.client_stages import study_stages
from shared_components.study.roles import plan_study
from shared_components.study.runner import FailedStages, run_study
from shared_components.study.summary import study_summary
from shared_components.study_record import FailedStage
from tests.study.test_study import made, values

__all__ = ["values"]


def with_a_failure(values: dict, folder: Path) -> tuple[dict, Path]:
    """A study in a folder, in which the adaptation at ``south`` fails until a file is there."""
    file = folder / "updates.txt"
    last = f"int(open({str(file)!r}).read())"
    train = {
        **values["study"]["train"],
        "phases": f"$[1, 1, {last}] if 'south' in str(@dataset_dir) else [1, 1, 1]",
    }
    study = {**values["study"], "train": train, "baselines": False}
    return {**values, "output_dir": str(folder / "out"), "study": study}, file


def assert_left_out_and_made_up_for(values: dict, cure: Path, sites: tuple[Path, Path]) -> None:
    """Run it, mend it, and go on.

    Args:
        values: of the study.
        cure: the file that mends it.
        sites: the folders in which ``south`` and ``island`` have their stages.
    """
    out = Path(values["output_dir"])
    with pytest.raises(
        InputError, match="tiny study: the report is written without what failed at south; mend it"
    ) as error:
        run_study(made(values), quiet=True)
    assert "\n  south/adaptation: " in str(error.value) and "updates.txt" in str(error.value)
    study = json.loads((out / "study.json").read_text())
    assert [(entry["client"], entry["stage"]) for entry in study["failed"]] == [("south", "adaptation")]
    assert "south/adaptation_predictions" in study["waiting"]
    page = (out / "report.html").read_text()
    assert "Left out of this study" in page and "south/adaptation_predictions" in page
    assert "left out south/adaptation: " in study_summary(out)
    rows = study["matrix"]["models"]
    assert [row["scores"] for row in rows if row["model"].endswith(" of south")] == [{}]
    done = [path / "adaptation" / "done.json" for path in sites]
    assert not done[0].exists() and not (sites[0] / "adaptation_predictions").exists()
    kept = {file: file.stat().st_mtime_ns for path in sites for file in path.glob("*/done.json")}
    assert len(kept) > 4 and done[1] in kept
    cure.write_text("1")
    run_study(made(values), resume=True, quiet=True)
    study = json.loads((out / "study.json").read_text())
    assert "failed" not in study and "waiting" not in study and done[0].is_file()
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert "Left out of this study" not in (out / "report.html").read_text()
    assert ("south", "adaptation") in {(entry["client"], entry["stage"]) for entry in study["stages"]}


def test_the_others_go_on_and_resume_makes_up_for_it(values, tmp_path):
    values, cure = with_a_failure(values, tmp_path)
    sites = tuple(tmp_path / "out" / "clients" / name for name in ("south", "island"))
    assert_left_out_and_made_up_for(values, cure, sites)


def test_a_labelled_client_s_failure_ends_the_study(values):
    study = plan_study(made(values))
    stages = {stage.key: stage for stage in study_stages(study)}
    failed = FailedStages(study)
    for key in ("north/source_model", "north/synthetic"):
        with pytest.raises(InputError, match="the disk is full; mend it and go on with --resume"):
            failed(stages[key], InputError("the disk is full"))
    failed(stages["north/source_model"], None)
    assert failed.told(list(stages.values()), []) == {} and failed.check() is None
    failed(stages["south/adaptation"], InputError("it died"))
    told = failed.told([stages["south/adaptation"], stages["island/adaptation"]], ["island/adaptation"])
    assert told == {"failed": (FailedStage("south", "adaptation", "it died"),), "waiting": ()}
