"""The whole way: data roots to the table, the files and the page."""

from __future__ import annotations

import json
import re

import matplotlib.image
import pytest

from shared_components.errors import InputError
from shared_components.federation.statistics.merged import merged, table
from shared_components.federation.statistics.page import (
    read_statistics,
    write_statistics,
    write_statistics_report,
)
from shared_components.federation.statistics.site import asked, local_statistics, site_statistics
from shared_components.records import read_table
from tests.federation.tiny import federation, make_root

TABLE = """\
client  domain  training            validation  test  voxels (mm)  slices
------  ------  ------------------  ----------  ----  -----------  --------
island  pet     < 3 (< 3 labelled)  0           0     withheld     withheld
north   t1      3 (3 labelled)      0           0     2 × 2 × 2    8
south   t2      4 (4 labelled)      0           0     2 × 2 × 2    8
all             ≥ 7 (≥ 7 labelled)  0           0     2 × 2 × 2    8"""


def shown(text: str) -> str:
    """The first columns of the table."""
    return "\n".join(line[: len(TABLE.splitlines()[1])].rstrip() for line in text.splitlines())


def test_table_files_and_page(values, tmp_path):
    tiny = federation(values)
    wanted = asked(tiny)
    sites = local_statistics(tiny, wanted)
    text = table(merged(sites), wanted.reading.looked_up)
    assert shown(text).startswith(TABLE)
    assert text.splitlines()[-1].startswith("< n: volumes of fewer than n patients")
    record, rows, picture = write_statistics(tmp_path / "out", "tiny", wanted, sites)
    content, lines = read_statistics(tmp_path / "out")
    assert lines == merged(sites) and content["name"] == "tiny"
    north = {row["statistic"]: row for row in read_table(rows, "") if row["client"] == "north"}
    assert north["training, labelled"]["volumes"] == "3"
    assert north["volume of brain, ml"] == {
        **north["volume of brain, ml"], "volumes": "3", "mean": "0.512", "sd": "0.0"  # 4³ voxels of 8 mm³
    }  # fmt: skip
    assert matplotlib.image.imread(picture).std() > 0
    page = write_statistics_report(tmp_path / "out").read_text()
    assert "≥ 7 (≥ 7 labelled)" in page and "data:image/webp" in page
    assert "island" in record.read_text() and str(values["clients"]["north"]["data_root"]) not in page


def test_worker_processes_tell_the_same_and_a_failing_client_stops_no_other(values, tmp_path):
    sick = make_root(tmp_path / "sick", "pet", 3, 9)
    (sick / "images" / "s1.nii.gz").write_bytes(b"no image")
    clients = {**values["clients"], "island": {"data_root": str(sick), "domain": "pet"}}
    alone = federation(values, clients=clients)
    together = federation(values, clients=clients, workers=2)
    found = local_statistics(together, asked(together))
    assert found == local_statistics(alone, asked(alone))
    assert re.search(r"s1\.nii\.gz: .*", found["island"]["failure"])
    assert found["north"]["domains"]["t1"]["cells"]["training"]["labelled"] == 3
    assert "client island: " in table(merged(found), (0.5, 50, 99.5))


def test_the_larger_minimum_holds(values, roots):
    wanted = asked(federation(values), minimum=4)
    for own, minimum in ((1, 4), (5, 5)):
        found = site_statistics((str(roots["south"]),), wanted, own_minimum=own)
        assert found["minimum"] == minimum
        assert (found["domains"]["t2"]["cells"]["training"]["labelled"] is None) == (minimum == 5)


def test_what_leaves_a_site_is_plain_and_names_no_file(values, roots):
    found = site_statistics((str(roots["south"]), str(roots["north"])), asked(federation(values)))
    assert list(found["domains"]) == ["t2", "t1"]
    text = json.dumps(found)
    assert json.loads(text) == found
    assert str(roots["south"]) not in text and "s0" not in text and "nii" not in text


def test_roots_of_one_domain_have_one_label_set(values, roots, tmp_path):
    other = make_root(tmp_path / "other", "t1", 1, 3)
    file = other / "dataset.json"
    file.write_text(file.read_text().replace("brain", "skull"))
    with pytest.raises(InputError, match="use the same classes in both"):
        site_statistics((str(roots["north"]), str(other)), asked(federation(values)))


@pytest.mark.parametrize("wrong", [{"minimum": 0}, {"minimum": True}, {"bins": 1000}, {"bins": "many"}])
def test_wrong_arguments_are_refused(values, wrong):
    with pytest.raises(InputError, match=f"--{next(iter(wrong))}: expected a whole number"):
        asked(federation(values), **wrong)
