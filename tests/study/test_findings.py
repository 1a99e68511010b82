from __future__ import annotations

from pathlib import Path

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant

from shared_components.data.slices import SliceDataset
from shared_components.federation.budget import Ledger
from shared_components.federation.data_check import check_clients
from shared_components.federation.federation import client_plan
from shared_components.federation.privacy import spent
from shared_components.federation.rounds_log import RoundsCsv
from shared_components.federation.run_folder import RunFolder
from shared_components.records import write_record
from shared_components.study.findings import _real_slices, epsilons, few_items, study_coverage
from shared_components.study.origins import origins
from shared_components.study.roles import plan_study
from shared_components.study.source_model import source_federations
from tests.federation.test_site_check import factory
from tests.study.test_several_labelled import made
from tests.study.test_several_labelled import values as several_values

__all__ = ["several_values"]
NOISE, DELTA = 8.0, 1e-5


@pytest.fixture
def study(several_values, tmp_path):
    protected = {"privacy": {"clip": 0.1, "noise": NOISE, "delta": DELTA}, "output_dir": str(tmp_path)}
    return plan_study(made({**several_values, **protected}, joint=False))


def rounds(folder: Path, **updates: int) -> None:
    """A table of rounds after which so many updates have left each client."""
    fixed = {"round": 1, "images": 2, "seconds": 1.0, "bytes_up": 1, "bytes_down": 1, "epsilon": 9.0}
    rows = [{**fixed, "client": name, "released": number} for name, number in updates.items()]
    RoundsCsv(folder / "rounds.csv", 0).append(rows)


def test_updates_of_both_trainings_count_as_those_of_one(study):
    rounds(study.folder / "factory", north=5, south=4, west=3)
    rounds(study.folder / "source_model", north=2, west=2)
    found = epsilons(study)
    assert found["south"] == {
        "epsilon": spent(NOISE, 4, DELTA),
        "epsilons": {"factory": spent(NOISE, 4, DELTA)},
    }
    assert found["north"]["epsilon"] == spent(NOISE, 7, DELTA)
    assert found["west"]["epsilons"] == {
        "factory": spent(NOISE, 3, DELTA),
        "source_model": spent(NOISE, 2, DELTA),
    }
    assert all(part < found["north"]["epsilon"] for part in found["north"]["epsilons"].values())
    assert any("counts the updates of both" in line for line in origins(study))


def test_what_a_training_of_an_earlier_plan_has_spent_counts(study):
    """Other candidates at --resume need fewer variants of the source model; its updates have left all the same."""
    rounds(study.folder / "factory", north=3)
    rounds(study.folder / "source_only", north=4)
    assert "source_only" not in study.needed_variants
    assert epsilons(study)["north"]["epsilon"] == spent(NOISE, 7, DELTA)


def test_what_a_client_noted_itself_counts_where_no_round_tells_of_it(study):
    """As of a labelled client that the training was begun anew without."""
    rounds(study.folder / "factory", west=3)
    for _ in range(2):
        Ledger(RunFolder(study.folder / "source_model").client("west")).enter(1.0, NOISE)
        Ledger(RunFolder(study.folder / "source_only").client("west")).enter(1.0, 0.0)
    assert epsilons(study)["west"] == {
        "epsilon": spent(NOISE, 5, DELTA),
        "epsilons": {"factory": spent(NOISE, 3, DELTA), "source_model": spent(NOISE, 2, DELTA)},
    }


def test_what_was_spent_before_counts_where_a_study_goes_on_from_a_run(study):
    """A client that sends nothing in the study, and one that is no client of it, among them."""
    rounds(study.folder / "factory", north=3)
    update = (2 / NOISE) ** 2
    write_record(
        study.folder / "factory" / "start.json",
        {"from": "a run", "digest": "", "spent": {"north": 2 * update, "south": 4 * update, "gone": update}},
    )
    found = epsilons(study)
    assert found["north"]["epsilon"] == pytest.approx(spent(NOISE, 5, DELTA))
    assert found["north"]["epsilons"] == {
        "factory": spent(NOISE, 3, DELTA),
        "before": pytest.approx(spent(NOISE, 2, DELTA)),
    }
    assert found["south"]["epsilon"] == pytest.approx(spent(NOISE, 4, DELTA))
    assert found.keys() == {"north", "south"}


def test_all_trainings_of_a_study_share_one_budget_of_each_site(study):
    trainings = (study.factory_federation, *source_federations(study).values())
    budgets = {client_plan(training, "north").budget for training in trainings}
    assert len(trainings) > 1 and budgets == {str(study.folder / "budgets" / "north" / "spent.json")}


def test_the_sum_is_that_of_an_accountant_that_composes_the_two(study):
    """Replacing a client's data moves a clipped update by up to twice the clip: a Gaussian of half the multiplier."""
    rounds(study.folder / "factory", north=5)
    rounds(study.folder / "source_model", north=2)
    update = dp_accounting.GaussianDpEvent(NOISE / 2)
    accountant = PLDAccountant(dp_accounting.NeighboringRelation.REPLACE_SPECIAL)
    for number in (5, 2):
        accountant.compose(update, number)
    assert epsilons(study)["north"]["epsilon"] == pytest.approx(accountant.get_epsilon(DELTA), rel=1e-3)


def test_nothing_is_spent_without_noise(several_values, tmp_path):
    clipped = {**several_values, "privacy": {"clip": 0.1}, "output_dir": str(tmp_path)}
    assert epsilons(plan_study(made(clipped, joint=False))) == {}


def test_real_slices_are_read_as_the_training_reads_them(several_values, tmp_path):
    seen = {"percentiles": [5.0, 90.0], "min_foreground": 0.0}
    overrides = {**several_values.get("overrides", {}), **seen}
    study = plan_study(made({**several_values, "overrides": overrides, "output_dir": str(tmp_path)}))
    domains, size = study.federation.domains, 32
    description = {"generator": {"size": size}, "domains": domains, "spacing": 4.0, "orientation": "RAS"}
    trained = SliceDataset(few_items(study.roots["north"]), domains, size, 4.0, "RAS", **seen)
    known = {slice["image"].numpy().tobytes() for slice in trained}
    found = {image.numpy().tobytes() for image in _real_slices(study, "north", description)}
    assert len(found) > 2 and found <= known


def test_report_has_the_same_lines(values, capsys):
    small = factory(values, image_size=3, spacing=2.0)
    check_clients(small)
    told = [line for line in capsys.readouterr().out.splitlines() if ": note: " not in line]
    assert len(told) == 4 and study_coverage(plan_study(small)) == told
