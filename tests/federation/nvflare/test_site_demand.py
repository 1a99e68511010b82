"""What a site demands in its own file, over NVFlare's simulator."""

from __future__ import annotations

import pytest

pytest.importorskip("nvflare")

from shared_components.federation.client_entry import Client, Demand
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.simulator import NvflareSimulator
from shared_components.federation.privacy import spent
from shared_components.federation.rounds_log import read_rows
from shared_components.records import read_table
from tests.federation.tiny import federation

FEDBN = {"_target_": "shared_components.federation.FedBN"}


def demanding(tiny: Federation, name: str, demand: Demand) -> Federation:
    """The same where a site demands something of which the federation file knows nothing."""
    client = tiny.clients[name]
    tiny.clients[name] = Client(client.data_roots, client.domains, demand)
    return tiny


def test_a_site_stops_taking_part_before_its_epsilon_goes_beyond_its_limit(values):
    changes = {"engine": "nvflare", "aggregator": FEDBN, "min_clients": 1}
    noisy = federation(values, privacy={"clip": 0.1, "noise": 2.0}, **changes)
    limit = spent(2.0, 2, 1e-5) + 1e-6
    folder = NvflareSimulator(demanding(noisy, "north", Demand(epsilon_at_most=limit)), quiet=True).run()
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
