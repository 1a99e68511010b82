"""What a site demands in its own file, over NVFlare's simulator."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("nvflare")

from shared_components.errors import InputError
from shared_components.federation.client_entry import Client, Demand
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.simulator import NvflareSimulator
from shared_components.federation.privacy import spent
from shared_components.federation.rounds_log import read_rows
from shared_components.records import read_table
from tests.federation.tiny import federation

FEDBN = {"_target_": "shared_components.federation.FedBN"}


def demanding(tiny: Federation, demand: Demand) -> Federation:
    """The same where a site demands something of which the federation file knows nothing."""
    north = tiny.clients["north"]
    tiny.clients["north"] = Client(north.data_roots, north.domains, demand)
    return tiny


@pytest.fixture
def noisy(values):
    changes = {"engine": "nvflare", "aggregator": FEDBN, "min_clients": 1}
    return federation(values, privacy={"clip": 0.1, "noise": 2.0}, **changes)


@pytest.mark.thorough
def test_nothing_starts_where_a_site_demands_more(noisy, tmp_path):
    with pytest.raises(InputError) as caught:
        NvflareSimulator(demanding(noisy, Demand(noise_multiplier=3.0)), quiet=True).run()
    assert str(caught.value).splitlines()[1:] == [
        "client north: its site demands more privacy than the federation file gives: noise_multiplier 3, found noise 2"
    ]
    assert not (tmp_path / "run" / "rounds.csv").exists() and not list(tmp_path.rglob("state.*.pt"))


@pytest.mark.thorough
def test_a_site_stops_taking_part_before_its_epsilon_goes_beyond_its_limit(noisy):
    limit = spent(2.0, 2, 1e-5) + 1e-6
    folder = NvflareSimulator(demanding(noisy, Demand(epsilon_at_most=limit)), quiet=True).run()
    left_out = {
        (row["round"], row["client"]): row["left_out"]
        for row in read_rows(folder / "rounds.csv")
        if "left_out" in row
    }
    assert left_out.keys() == {("3", "north")}
    sent = {name: read_table(folder / "clients" / name / "sent.csv", "") for name in ("north", "south")}
    trained = {name: [row["about"] for row in rows if row["task"] == "train"] for name, rows in sent.items()}
    assert trained == {"north": ["1", "2"], "south": ["1", "2", "3"]}
    assert float(sent["north"][-1]["epsilon"] or sent["north"][-2]["epsilon"]) == pytest.approx(
        limit, rel=1e-4
    )
    assert left_out["3", "north"].endswith(f"above its epsilon_at_most ({limit:g}); it sends no more")


@pytest.mark.thorough
def test_what_a_site_has_spent_before_counts_in_what_it_allows(noisy, tmp_path):
    start = NvflareSimulator(replace(noisy, rounds=1), quiet=True).run()
    going_on = replace(noisy, start=str(start), output_dir=str(tmp_path / "later"), rounds=2)
    limit = spent(2.0, 2, 1e-5) + 1e-6
    folder = NvflareSimulator(demanding(going_on, Demand(epsilon_at_most=limit)), quiet=True).run()
    rows = {(row["round"], row["client"]): row for row in read_rows(folder / "rounds.csv")}
    assert [key for key, row in rows.items() if "left_out" in row] == [("2", "north")]
    epsilons = [float(rows[key]["epsilon"]) for key in (("1", "north"), ("1", "south"), ("2", "south"))]
    assert epsilons == pytest.approx([spent(2.0, number, 1e-5) for number in (2, 2, 3)], rel=1e-5)
