from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from shared_components.data.coverage import Frame
from shared_components.errors import InputError
from shared_components.federation.data_check import check_clients
from shared_components.federation.privacy import Privacy
from shared_components.federation.site_check import SiteReport, bundle_version, frame_of, site_check
from tests.federation.statistics.volumes import save
from tests.federation.tiny import TINY_BUNDLE, federation, make_root


@pytest.fixture
def sick(values, roots, tmp_path):
    """A federation whose client south has a damaged image, a label map of strange values, and a key that is none."""
    root = shutil.copytree(roots["south"], tmp_path / "patients")
    (root / "images" / "s1.nii.gz").write_bytes(b"no image")
    save(root / "labels" / "s2.nii.gz", np.full((8, 8, 8), 7, np.uint8), (2, 2, 2))
    content = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps(content | {"labls": 1}))
    clients = {**values["clients"], "south": {"data_root": str(root), "domain": "t2"}}
    return federation(values, clients=clients)


def test_a_sound_site_tells_counts_and_what_its_numbers_depend_on(values):
    check = site_check(federation(values), "south")
    report = check.report
    assert check.faults == () and report.faults == {}
    assert report.volumes == {"training": [4, 4], "validation": [0, 0], "test": [0, 0]}
    assert (report.domains, report.labels) == (["t2"], {"0": "background", "1": "brain"})
    assert report.versions["torch"] == version("torch") and "platform" not in report.versions
    assert report.bundle == bundle_version(str(TINY_BUNDLE))


def test_what_the_bundles_networks_see_is_reported(values):

    assert site_check(factory(values, image_size=24), "north").report.seen == {
        "image_size": 24,
        "spacing": 4.5,
        "orientation": "RAS",
        "percentiles": [0.5, 99.5],
    }


def test_faults_stay_at_the_site_which_reports_their_number_and_kind(sick):
    check = site_check(sick, "south")
    assert check.report.faults == {"dataset.json": 1, "images": 1, "label maps": 1}
    assert len(check.faults) == 3 and any("s1.nii.gz" in fault for fault in check.faults)
    text = json.dumps(check.report.as_dict())
    assert "patients" not in text and "nii" not in text and "/" not in text
    assert SiteReport.from_dict(json.loads(text), "south").as_dict() == check.report.as_dict()


@pytest.mark.parametrize(
    ("depth", "named", "noise", "told"),
    [
        (1, [], 1.0, 'set overrides: flat_domains: ["t2"]'),
        (1, ["t2"], 1.0, ""),
        (1, [], 0.0, ""),
        (3, [], 1.0, ""),
        (3, ["t2"], 1.0, "flat_domains names 't2', and its training images have up to 3 slices"),
    ],
)
def test_with_noise_the_factory_is_told_of_single_slices(values, tmp_path, depth, named, noise, told):
    root = make_root(tmp_path / "south", "t2", 2, seed=0)
    for file in (root / "images").iterdir():
        save(file, np.random.default_rng(len(file.name)).random((8, 8, depth), np.float32), (2, 2, 2))
        save(root / "labels" / file.name, np.ones((8, 8, depth), np.uint8), (2, 2, 2))
    content = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**content, "training": content["training"][:1]}))
    values["clients"]["south"] = {"data_root": str(root), "domain": "t2"}
    made = factory(values, flat_domains=named)
    check = site_check(replace(made, privacy=Privacy(1.0, noise)), "south")
    assert len(check.faults) == bool(told) and all(told in fault for fault in check.faults)
    assert check.report.faults == ({"dataset.json": 1} if told else {})


def test_a_report_that_is_none_is_refused():
    with pytest.raises(InputError, match="client south: expected a report with bundle, domains"):
        SiteReport.from_dict({"faults": {}}, "south")


@pytest.mark.parametrize(
    "wrong",
    [
        {"volumes": []},
        {"volumes": {"training": [1]}},
        {"domains": 5},
        {"labels": [1]},
        {"versions": {"torch": 7}},
        {"faults": {"a": "x"}},
        {"seen": None},
        {"bundle": [1]},
    ],
)
def test_a_report_with_a_field_of_another_kind_names_its_client(wrong):
    content = SiteReport().as_dict()
    assert SiteReport.from_dict(content, "south").as_dict() == content
    with pytest.raises(InputError, match=f"client south: its report: {next(iter(wrong))}: expected a"):
        SiteReport.from_dict({**content, **wrong}, "south")


def test_bundle_versions(tmp_path):
    assert bundle_version(str(tmp_path)) == "none"
    (tmp_path / "configs").mkdir()
    file = tmp_path / "configs" / "metadata.json"
    file.write_text('{"version": "1.2.3"}')
    assert bundle_version(str(tmp_path)) == "1.2.3"
    file.write_text("[")
    with pytest.raises(InputError, match=r"metadata\.json: .*copy the bundle again"):
        bundle_version(str(tmp_path))


FACTORY = {
    "bundle": str(Path(__file__).parents[2] / "bundles" / "factory"),
    "configs": ["common.yaml", "train.yaml"],
}


def factory(values, **overrides):
    return federation(values, **FACTORY, overrides=overrides)


def test_frame_is_the_bundles_with_the_overrides(values):
    assert frame_of(factory(values)) == Frame(48, 4.5, "RAS")
    assert frame_of(factory(values, image_size=24, orientation="ASR")) == Frame(24, 4.5, "ASR")
    assert frame_of(federation(values)) is None  # a bundle without such ids


def test_check_tells_what_lies_outside_at_each_client(values, capsys):
    check_clients(factory(values, image_size=3, spacing=2.0))  # cubes of 8 mm, near the middle of 16 mm
    told = capsys.readouterr().out.splitlines()
    notes = [line for line in told if "label map" in line]
    assert notes and all("of what is labelled outside image_size 3 px" in note for note in notes)
    island, north, south, better = (line for line in told if line not in notes)
    for name, line in (("north", north), ("south", south), ("island", island)):
        assert line.startswith(f"{name}: ") and "% of what is brighter than air lies outside" in line
        assert "image_size 3 px × spacing 2 mm = 6 mm (" in line and " in images/s" in line
    assert better.startswith("to take in nearly all of every image: overrides: spacing: ")


def test_check_says_so_where_all_is_taken_in(values, capsys):
    check_clients(factory(values, image_size=12, spacing=1.4))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["island", "north", "south"]
    assert all("take in nearly all" in line for line in lines)
