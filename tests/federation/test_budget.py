from __future__ import annotations

import multiprocessing

import pytest

from shared_components.errors import InputError
from shared_components.federation.budget import Budget, Ledger
from shared_components.federation.client_entry import Demand
from shared_components.federation.privacy import spent
from shared_components.records import read_record, write_record


def enter_often(path, number):
    for _ in range(number):
        Budget(path).enter(2.0, None)


def test_updates_of_any_federation_add_up(tmp_path):
    budget = Budget(tmp_path / "kit" / "spent.json")
    assert budget.epsilon(1e-5) == budget.squares == 0
    for _ in range(3):
        budget.enter(2.0, None)
    assert budget.epsilon(1e-5) == pytest.approx(spent(2.0, 3, 1e-5), rel=1e-9)
    # one of multiplier 1 weighs as much as four of multiplier 2
    Budget(budget.path).enter(1.0, None)
    assert budget.epsilon(1e-6) == pytest.approx(spent(2.0, 7, 1e-6), rel=1e-9)


def test_the_update_that_would_go_beyond_the_limit_is_not_entered(tmp_path):
    budget = Budget(tmp_path / "spent.json")
    demand = Demand(epsilon_at_most=spent(2.0, 2, 1e-5) + 1e-6)
    for _ in range(2):
        budget.refuse(2.0, demand)
        budget.enter(2.0, demand)
    before = budget.squares
    for refused in (budget.refuse, budget.enter):
        with pytest.raises(InputError, match=f"epsilon would be {spent(2.0, 3, 1e-5):.4g} at delta 1e-05"):
            refused(2.0, demand)
    assert budget.squares == before == 2.0
    budget.enter(100.0, Demand(max_norm=1.0))


def test_what_a_start_has_spent_is_entered_once(tmp_path):
    budget = Budget(tmp_path / "spent.json")
    budget.enter(2.0, None)
    for squares in (3.0, 3.0, 2.0, 4.0):
        budget.carry("a", squares)
    budget.carry("b", 0.5)
    budget.enter(2.0, None)
    budget.carry("a", 4.0)
    assert budget.squares == 6.5
    with pytest.raises(InputError, match="epsilon would be"):
        budget.refuse(2.0, Demand(epsilon_at_most=spent(2.0, 7, 1e-5)))


def test_two_jobs_at_once_lose_no_update(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    jobs = [spawn.Process(target=enter_often, args=(tmp_path / "spent.json", 40)) for _ in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert Budget(tmp_path / "spent.json").squares == 80


def test_a_damaged_file_is_refused(tmp_path):
    budget = Budget(tmp_path / "spent.json")
    budget.enter(2.0, None)
    budget.path.write_text(budget.path.read_text().replace("1.0", "0.0"))
    with pytest.raises(InputError, match=r"spent\.json: is damaged or was edited"):
        budget.enter(2.0, None)


def test_updates_are_counted_across_lives_of_the_process(tmp_path):
    assert Ledger(tmp_path / "north").updates == 0
    assert [Ledger(tmp_path / "north").enter(norm) for norm in (3.0, 2.5)] == [1, 2]
    assert Ledger(tmp_path / "north").updates == 2
    assert read_record(tmp_path / "north" / "privacy.json", "") == {"updates": 2, "norm": 2.5, "noise": 0.0}


def test_updates_of_other_noise_are_not_counted_as_if_they_had_todays(tmp_path):
    ledger = Ledger(tmp_path)
    assert [ledger.enter(1.0, 0.5) for _ in range(2)] == [1, 2]
    with pytest.raises(InputError, match=r"privacy\.json: 2 updates of noise 0\.5 have left"):
        ledger.enter(1.0, 5.0)
    assert ledger.enter(1.0, 0.5) == 3


def test_a_damaged_count_is_refused(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.enter(1.0)
    text = ledger.path.read_text()
    ledger.path.write_text(text.replace('"updates": 1', '"updates": 0'))
    with pytest.raises(
        InputError, match=r"privacy\.json: is damaged or was edited: .*; put a copy of it back"
    ):
        ledger.enter(1.0)
    write_record(ledger.path, {"updates": "many"})
    with pytest.raises(InputError, match="expected the number of updates that have left, found 'many'"):
        ledger.enter(1.0)
