from __future__ import annotations

import pytest

from shared_components.errors import InputError
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.run_settings import completed, setting_changes
from shared_components.records import read_record, write_record
from tests.federation.test_local import assert_same_run, run
from tests.federation.tiny import federation


def begun_earlier(folder, *missing: str, version: str = "0.0.9") -> None:
    """Make a run look as if a version had begun it that lacked some settings."""
    place = RunFolder(folder)
    settings = read_record(place.federation_file, "")
    for path in missing:
        *sections, key = path.split(".")
        inner = settings
        for section in sections:
            inner = inner[section]
        del inner[key]
    write_record(place.federation_file, settings)
    write_record(place.versions_file, read_record(place.versions_file, "") | {"fedfoundry": version})


def test_a_run_of_an_earlier_version_goes_on_where_new_settings_are_left_as_they_are(values, tmp_path):
    values["exchange"] = {}
    folder = run(values, rounds=1)
    begun_earlier(folder, "exchange", "privacy", "versions", "seed", version="0.1.0")
    with pytest.raises(InputError, match=r"seed was 0 and is now 5; put them back"):
        run(values, resume=True)
    settings = read_record(folder / "federation.yaml", "")
    write_record(folder / "federation.yaml", {**settings, "seed": 5})
    assert_same_run(run(values, resume=True), run(values, output_dir=str(tmp_path / "unbroken")))


def test_a_new_setting_that_is_used_is_refused_with_the_version(values):
    folder = run(values, rounds=1, exchange={})
    begun_earlier(folder, "exchange.down")
    with pytest.raises(InputError) as caught:
        run(values, resume=True, exchange={"down": "float32"})
    assert (
        "exchange.down was 'float16' and is now 'float32'; it was begun with fedfoundry 0.0.9, and this is 0.1.0: "
        "go on with that version, or put them back, or start over"
    ) in str(caught.value)
    assert RunFolder(folder).committed().round == 1


def test_what_a_federation_file_leaves_open_is_no_new_setting(values):
    made = federation(values, exchange={}, overrides={"learning_rate": 0.5})
    before = {key: value for key, value in made.as_dict().items() if key != "exchange"} | {"overrides": {}}
    filled = completed(before, made)
    assert filled["exchange"] == {"what": "differences", "dtype": "float16", "down": "float16"}
    assert setting_changes(filled, made.as_dict(), ("configs", "domains", "clients")) == [
        "overrides.learning_rate was None and is now 0.5"
    ]


def test_settings_of_no_federation_are_left_as_they_are(values):
    assert completed({"name": "odd"}, federation(values)) == {"name": "odd"}
