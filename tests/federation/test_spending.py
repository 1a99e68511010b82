"""What clients have spent before counts in a federation that goes on from a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shared_components.errors import InputError
from shared_components.federation.budget import Budget
from shared_components.federation.federation import BUDGET
from shared_components.federation.local import LocalEngine
from shared_components.federation.privacy import composed, spent
from shared_components.federation.rounds_log import RoundsCsv, read_rows
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.start import carry_spent, read_start
from shared_components.federation.status import run_status
from shared_components.files import save_tensors
from shared_components.records import read_record, write_record
from shared_components.report.training_report import write_federated_report
from tests.federation.tiny import federation, file_values

TINY, DELTA = "tiny_bundle", 1e-5
NOISE = {"clip": 0.1, "noise": 2.0}  # an update counts as 1
LIMIT = spent(2.0, 3, DELTA) + 1e-6  # of north, at most three of its updates


def run(values, resume=False, force=False, **changes) -> Path:
    changes = {"privacy": NOISE, "aggregator": {"_target_": "shared_components.federation.FedBN"}, **changes}
    return LocalEngine(federation({**values, "exchange": {}, **changes}), quiet=True).run(resume, force)


def two_clients(roots, folder: Path, limit: float = LIMIT) -> dict:
    values = {**file_values(roots, folder), "rounds": 2, "updates_per_round": 1, "min_clients": 1}
    values["clients"] = {name: values["clients"][name] for name in ("north", "south")}
    values["clients"]["north"]["privacy"] = {"epsilon_at_most": limit}
    return values


@pytest.fixture(scope="module")
def earlier(roots, tmp_path_factory) -> Path:
    """A finished run of two clients and two rounds."""
    return run(two_clients(roots, tmp_path_factory.mktemp("earlier") / "run"), name="earlier")


@pytest.fixture(scope="module")
def later(roots, earlier, tmp_path_factory) -> Path:
    """A finished run that goes on from it, stopped in between."""
    values = two_clients(roots, tmp_path_factory.mktemp("later") / "run")
    run(values, start=str(earlier), rounds=1)
    return run(values, start=str(earlier), resume=True)


def squares(folder: Path, client: str) -> float:
    return Budget(folder / "clients" / client / BUDGET).squares


def test_updates_of_the_start_count_in_epsilon_and_in_what_the_site_allows(later):
    rows = {(row["round"], row["client"]): row for row in read_rows(later / "rounds.csv")}
    assert {key: float(row["epsilon"]) for key, row in rows.items() if "epsilon" in row} == pytest.approx(
        {
            ("1", "north"): spent(2.0, 3, DELTA),
            ("1", "south"): spent(2.0, 3, DELTA),
            ("2", "south"): spent(2.0, 4, DELTA),
        },
        rel=1e-5,
    )
    assert f"epsilon would be {spent(2.0, 4, DELTA):.4g}" in rows["2", "north"]["left_out"]
    assert (squares(later, "north"), squares(later, "south")) == (3.0, 4.0)
    epsilons = {"north": spent(2.0, 3, DELTA), "south": spent(2.0, 4, DELTA)}
    assert run_status(later).epsilons == pytest.approx(epsilons, rel=1e-5)
    assert RunFolder(later).released() == {"north": 1, "south": 2}


def test_a_run_that_goes_on_from_several_counts_all_each_by_its_noise(roots, later, tmp_path):
    values = two_clients(roots, tmp_path / "run", limit=100.0)
    folder = run(values, start=str(later), rounds=1, privacy={"clip": 0.1, "noise": 4.0})
    assert read_start(folder, TINY).spent == {"north": 3.25, "south": 4.25}
    assert squares(folder, "north") == 3.25
    (row,) = [row for row in read_rows(folder / "rounds.csv") if row["client"] == "south"]
    assert float(row["epsilon"]) == pytest.approx(composed(4.25, DELTA), rel=1e-5)


def test_a_client_that_may_send_nothing_more_is_told_with_what_it_has_spent(roots, later, tmp_path):
    values = two_clients(roots, tmp_path / "run")
    folder = run(values, start=str(later), rounds=1)
    assert [row["client"] for row in read_rows(folder / "rounds.csv") if "epsilon" in row] == ["south"]
    assert run_status(folder).epsilons["north"] == pytest.approx(spent(2.0, 3, DELTA))
    page = write_federated_report(folder).read_text(encoding="utf-8")
    assert f'<td class="number">{spent(2.0, 3, DELTA):.3g}</td></tr>' in page
    assert f'<td class="number">{spent(2.0, 5, DELTA):.3g}</td></tr>' in page


def test_a_run_of_an_earlier_version_that_noted_nothing_of_its_start_has_its_start_asked(
    earlier, later, tmp_path
):
    old = shutil.copytree(later, tmp_path / "old")
    noted = read_record(old / "start.json", "")
    write_record(old / "start.json", {key: noted[key] for key in ("from", "digest")})
    assert read_start(old, TINY).spent == read_start(later, TINY).spent == {"north": 3.0, "south": 4.0}
    write_record(old / "start.json", {"from": noted["from"], "digest": "of another"})
    assert read_start(old, TINY).spent == {"north": 1.0, "south": 2.0}


def test_what_a_run_has_exported_counts_as_the_run_where_it_lies(earlier, tmp_path):
    exported = earlier / "clients" / "north" / f"{TINY}.pt"
    assert exported.is_file()
    assert read_start(exported, TINY).spent == {"north": 2.0, "south": 2.0}
    shutil.copy(exported, earlier)
    assert read_start(earlier / f"{TINY}.pt", TINY).spent == {"north": 2.0, "south": 2.0}
    assert read_start(shutil.copy(exported, tmp_path), TINY).spent == {}


def test_a_start_without_the_rounds_by_which_epsilon_is_counted_is_refused(earlier, tmp_path):
    copy = shutil.copytree(earlier, tmp_path / "copy")
    (copy / "rounds.csv").unlink()
    with pytest.raises(InputError, match=r"copy/rounds\.csv: expected the rounds, by which .*; put a copy"):
        read_start(copy, TINY)
    settings = read_record(copy / "federation.yaml", "")
    write_record(copy / "federation.yaml", {**settings, "privacy": None})
    assert read_start(copy, TINY).spent == {}


def test_a_study_has_spent_in_all_its_trainings(earlier, tmp_path):
    shutil.copytree(earlier, tmp_path / "factory")
    settings = read_record(earlier / "federation.yaml", "")
    for folder, name in (("source_model", "earlier, source model"), ("another", "another")):
        (tmp_path / folder).mkdir()
        write_record(tmp_path / folder / "federation.yaml", {**settings, "name": name})
        fixed = {"round": 1, "images": 2, "seconds": 1.0, "bytes_up": 1, "bytes_down": 1, "epsilon": 9.0}
        RoundsCsv(tmp_path / folder / "rounds.csv", 0).append([{**fixed, "client": "north", "released": 3}])
    assert read_start(tmp_path, TINY).spent == {"north": 5.0, "south": 2.0}
    assert read_start(tmp_path / "factory", TINY).spent == {"north": 5.0, "south": 2.0}
    assert read_start(earlier, TINY).spent == {"north": 2.0, "south": 2.0}


def test_a_job_tells_the_spending_of_its_own_clients(earlier, tmp_path):
    content = read_start(earlier, TINY).content(["south", "island"])
    assert read_start(save_tensors(tmp_path / "start.pt", content), TINY).spent == {"south": 2.0}


def test_a_site_never_forgets_what_a_start_has_spent_that_was_begun_anew(earlier, tmp_path):
    start, budget = read_start(earlier, TINY), tmp_path / BUDGET
    for _ in range(2):
        carry_spent(start, str(budget), "north")
        carry_spent(None, str(budget), "north")
    assert Budget(budget).squares == 2.0
    copy = shutil.copytree(earlier, tmp_path / "copy")
    Budget(copy / "clients" / "north" / BUDGET).enter(2.0, None)  # as of a run that --force threw away
    carry_spent(read_start(copy, TINY), str(budget), "north")
    Budget(budget).enter(2.0, None)
    assert Budget(budget).squares == 4.0
    carry_spent(start, str(budget), "island")
    assert Budget(budget).squares == 4.0


def test_force_keeps_what_the_start_has_spent(roots, earlier, tmp_path):
    values = two_clients(roots, tmp_path / "run", limit=100.0)
    for force in (False, True):
        folder = run(values, start=str(earlier), rounds=1, force=force)
        rows = read_rows(folder / "rounds.csv")
        assert [float(row["epsilon"]) for row in rows] == pytest.approx([spent(2.0, 3, DELTA)] * 2, rel=1e-5)
    assert squares(folder, "north") == 4.0


def test_a_run_that_goes_on_without_noise_passes_on_what_was_spent(roots, earlier, tmp_path):
    values = two_clients(roots, tmp_path / "run")
    del values["clients"]["north"]["privacy"]
    folder = run(values, start=str(earlier), rounds=1, privacy={"clip": 0.1})
    assert run_status(folder).epsilons == {}
    assert not any("epsilon" in row for row in read_rows(folder / "rounds.csv"))
    assert read_start(folder, TINY).spent == {"north": 2.0, "south": 2.0}
