from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("nvflare")

from shared_components.errors import InputError
from shared_components.federation.nvflare.simulator import NvflareSimulator
from tests.federation.tiny import federation


@pytest.mark.thorough  # what sites tell, and how it is compared, is tested without
def test_nothing_starts_where_clients_differ_or_have_faults(values, roots, tmp_path):
    """Each client checks its own data; no name of a file comes to the coordinator."""
    other, sick = (shutil.copytree(roots["south"], tmp_path / name) for name in ("other", "sick"))
    content = json.loads((other / "dataset.json").read_text())
    (other / "dataset.json").write_text(json.dumps(content | {"labels": {"0": "background", "1": "skull"}}))
    (sick / "images" / "s1.nii.gz").write_bytes(b"no image")
    clients = {
        **values["clients"],
        "south": {"data_root": str(other), "domain": "t2"},
        "island": {"data_root": str(sick), "domain": "t2"},
    }
    tiny = federation(values, clients=clients, labels=None, engine="nvflare")
    with pytest.raises(InputError) as caught:
        NvflareSimulator(tiny, quiet=True).run()
    head, fault, difference = str(caught.value).splitlines()
    assert head == "tiny: 2 problems in the clients' data"
    assert fault == (
        "client island: 1 problem: 1 in images; they stand, with their cures, in check.txt of its own folder"
    )
    assert difference == (
        "client south: labels {0: background, 1: skull}, where island, north have {0: background, 1: brain}"
    )
    text = (tmp_path / "run" / "clients" / "island" / "check.txt").read_text()
    assert "s1.nii.gz" in text
    assert not (tmp_path / "run" / "rounds.csv").exists()
