from __future__ import annotations

from pathlib import Path

import yaml

from shared_components.data.spinal_cord import SITES, make_spinal_cord
from shared_components.federation.federation_file import read_federation
from shared_components.study.plan import check_settings

FILE = Path(__file__).parents[2] / "scripts" / "six_hospitals.yaml"


def test_the_file_fits_the_shipped_hospitals(tmp_path, monkeypatch):
    values = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    make_spinal_cord("outputs/six-hospitals/data", labelled=())
    (tmp_path / "bundles").symlink_to(FILE.parents[1] / "bundles")
    federation = read_federation(FILE)
    assert tuple(values["domains"]) == SITES and list(federation.clients) == sorted(SITES)
    check_settings(federation)
    assert (federation.clients_per_round, federation.min_clients) == (1, 1)
