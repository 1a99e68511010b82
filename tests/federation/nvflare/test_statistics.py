from __future__ import annotations

import pytest

pytest.importorskip("nvflare")

from shared_components.federation.nvflare.statistics import simulated_statistics
from shared_components.federation.statistics.merged import merged, table
from shared_components.federation.statistics.site import asked, local_statistics
from tests.federation.tiny import federation, make_root


@pytest.mark.thorough  # sites, merging and the table are tested without
def test_both_engines_print_the_same_table_and_a_failing_client_stops_no_other(values, tmp_path):
    sick = make_root(tmp_path / "sick", "t1", 3, 9)
    (sick / "images" / "s1.nii.gz").write_bytes(b"no image")
    island, north = (values["clients"][name] for name in ("island", "north"))
    clients = {"island": island, "north": north, "weak": {"data_root": str(sick), "domain": "t1"}}
    tiny = federation(values, clients=clients)
    wanted = asked(tiny, bins=8)
    here, there = local_statistics(tiny, wanted), simulated_statistics(tiny, wanted)
    assert "s1.nii.gz" in here["weak"].pop("failure") and "error.txt at its site" in there["weak"].pop(
        "failure"
    )
    assert list(there) == list(here)
    here["weak"]["failure"] = there["weak"]["failure"] = "failed"
    assert there == here
    texts = [table(merged(found), wanted.reading.looked_up) for found in (here, there)]
    assert texts[0] == texts[1] and "< 3 (< 3 labelled)" in texts[0]
    assert not (tmp_path / "run" / "nvflare").exists()
