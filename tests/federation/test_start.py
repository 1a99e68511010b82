"""Federations that go on from a trained bundle: its exported file, or the folder of a finished run."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation.local import LocalEngine
from shared_components.federation.start import (
    Start,
    first_weights,
    own_state,
    read_start,
    refuse_other_meaning,
)
from shared_components.files import load_tensors, save_tensors
from shared_components.records import read_record, write_record
from tests.federation.test_local import assert_same, global_weights
from tests.federation.tiny import federation

TINY = "tiny_bundle"


def run(values, resume=False, **changes) -> Path:
    return LocalEngine(federation(values, **changes), quiet=True).run(resume=resume)


@pytest.fixture(scope="module")
def earlier(roots, tmp_path_factory) -> Path:
    """A finished run of one round, of two clients."""
    from tests.federation.tiny import file_values

    values = file_values(roots, tmp_path_factory.mktemp("earlier") / "run")
    values["clients"] = {name: values["clients"][name] for name in ("north", "south")}
    return run({**values, "name": "earlier", "rounds": 1, "seed": 9})


def round_0(folder: Path) -> dict:
    """The weights that a run of one round began with."""
    return load_tensors(folder / "global.previous.pt")["model"]


def private(file: Path) -> dict:
    return load_tensors(file)["private"]


def test_a_federation_begins_with_the_weights_of_a_finished_run_and_its_clients_with_their_own(
    values, earlier, capsys
):
    folder = run(values, start=str(earlier), rounds=1, overrides={"learning_rate": 1e-12})
    assert_same(round_0(folder), global_weights(earlier))
    kept = {name: private(folder / "clients" / name / "state.1.pt") for name in ("north", "island")}
    before = private(earlier / "clients/north/state.1.pt")
    weights = [name for name in before if name.endswith("weight")]
    assert weights and all(torch.allclose(kept["north"][n], before[n], atol=1e-8) for n in weights)
    assert not any(torch.allclose(kept["island"][n], before[n], atol=1e-3) for n in weights)
    assert read_record(folder / "start.json", "")["from"] == "the last round of earlier"


def test_a_federation_begins_with_an_exported_file_whose_private_modules_are_new(values, earlier):
    folder = run(values, start=str(earlier / f"{TINY}.pt"), rounds=1)
    assert_same(round_0(folder), global_weights(earlier))
    assert all(name.startswith(("model.0.", "model.1.")) for name in round_0(folder))


def test_resumed_equals_unbroken_and_another_start_is_refused(values, earlier, tmp_path):
    whole = run(values, start=str(earlier), rounds=2, output_dir=str(tmp_path / "whole"))
    begun = {**values, "start": str(earlier)}
    run(begun, rounds=1)
    moved = tmp_path / "moved.pt"
    save_tensors(moved, {"model": global_weights(earlier)})
    with pytest.raises(
        InputError, match=r"began from the last round of earlier; 'start' is now .*moved.pt; put"
    ):
        run(values, rounds=2, resume=True, start=str(moved))
    with pytest.raises(InputError, match="'start' is now nothing; put it back"):
        run(values, rounds=2, resume=True)
    assert_same(global_weights(run(begun, rounds=2, resume=True)), global_weights(whole))


def test_a_run_without_a_start_does_not_go_on_with_one(values, earlier):
    run(values, rounds=1)
    with pytest.raises(InputError, match="began from nothing; 'start' is now the last round of earlier"):
        run(values, rounds=2, resume=True, start=str(earlier))


def test_a_start_as_a_job_carries_it_is_the_same(values, earlier, tmp_path):
    start = read_start(earlier, TINY)
    file = save_tensors(tmp_path / "start.pt", start.content(["north", "south"]))
    travelled = read_start(file, TINY)
    assert_same(travelled.weights, start.weights)
    assert (travelled.digest, travelled.run, travelled.states) == (
        start.digest,
        "earlier",
        {"north": 1, "south": 1},
    )
    assert str(earlier) not in str({**start.content([])["start"], "weights": None})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spent", {"north": -1e9}),
        ("spent", {"north": float("inf")}),
        ("spent", {"north": "1"}),
        ("states", {"north": "../.."}),
        ("states", {"north": True}),
        ("states", [1]),
        ("name", 3),
        ("weights", {"model.0": "w"}),
    ],
)
def test_a_file_of_a_start_that_no_run_has_written_is_named_with_what_is_wrong(tmp_path, key, value):
    start = Start("", {"model.0.weight": torch.zeros(1)}, {}, "digest", spent={"north": 2.0})
    file = save_tensors(tmp_path / "start.pt", {"start": {**start.content(["north"])["start"], key: value}})
    with pytest.raises(InputError, match=rf"start\.pt: '{key}': expected .*, found .*; put a copy"):
        read_start(file, TINY)


def test_a_job_tells_its_sites_nothing_of_clients_of_the_earlier_run_alone(earlier):
    start = read_start(earlier, TINY)
    assert start.content(["south", "island"])["start"]["states"] == {"south": 1}


def test_a_start_is_called_by_its_name_wherever_it_lies(earlier, tmp_path):
    exported = read_start(earlier / f"{TINY}.pt", TINY)
    travelled = read_start(save_tensors(tmp_path / "start.pt", exported.content([])), TINY)
    assert travelled.words == exported.words == f"{TINY}.pt"
    assert travelled.record() == exported.record()
    with pytest.raises(InputError, match=f"^{TINY}.pt: 'spacing': expected 2, "):
        refuse_other_meaning(replace(travelled, description={"spacing": 2}), [], {"spacing": 3})


def test_the_run_of_a_study_is_found_by_the_bundles_name(earlier, tmp_path):
    (tmp_path / TINY).symlink_to(earlier)
    start = read_start(tmp_path, TINY)
    assert start.run == "earlier" and start.within == TINY
    (tmp_path / TINY).rename(tmp_path / "factory")  # where a study trains whichever bundle
    assert read_start(tmp_path, TINY).within == "factory"


def test_rows_that_no_domain_is_told_are_those_of_the_start_whose_config_may_not_know_them(earlier):
    start = read_start(earlier, TINY)
    refuse_other_meaning(start, ["t1", "t2", "pet"], {"common_rows": 0})
    with pytest.raises(InputError, match=r"'common_rows': expected 0, .* found 4"):
        refuse_other_meaning(start, ["t1", "t2", "pet"], {"common_rows": 4})


def test_a_run_whose_network_was_taught_by_label_maps_says_so(earlier, tmp_path):
    assert "label_domains" not in read_start(earlier, TINY).description
    taught = shutil.copytree(earlier, tmp_path / "taught")
    config = read_record(taught / "bundle.yaml", "")
    write_record(taught / "bundle.yaml", {**config, "label_domains": ["t1"]})
    assert read_start(taught, TINY).description["label_domains"] == ["t1"]


def test_nothing_of_a_start_runs_and_what_its_run_computed_is_compared_as_written(values, earlier, tmp_path):
    received, made = shutil.copytree(earlier, tmp_path / "received"), tmp_path / "made"
    config, size = read_record(received / "bundle.yaml", ""), f"$open({str(made)!r}, 'w').write('48')"
    other = {"_target_": "builtins.open", "file": str(made), "mode": "w"}
    write_record(
        received / "bundle.yaml",
        {**config, "image_size": size, "sizes": [6, 3], "spacing": "@sizes::1", "percentiles": other,
         "positions": "@percentiles", "label_domains": [size]},
    )  # fmt: skip
    start = read_start(received, TINY)
    found = [
        start.description[id] for id in ("image_size", "spacing", "percentiles", "positions", "label_domains")
    ]
    assert found == [size, 3, other, "@percentiles", [size]] and not made.exists()
    honest = replace(start, description={"image_size": "$2 * 24"})
    for own, message in (("$2 * 24", None), ("$2 * 25", r"'image_size': expected \$2 \* 24, .* found 50")):
        with pytest.raises(InputError, match=message) if message else contextlib.nullcontext():
            first_weights(
                replace(federation(values), overrides={"image_size": own}), honest, global_weights(earlier)
            )


def test_a_clients_own_state_is_found_in_whichever_folder_has_it(earlier, tmp_path):
    start = read_start(earlier, TINY)
    file = Path("clients", "north", "state.1.pt")
    assert own_state(start, [tmp_path, earlier], "north") == str(earlier / file)
    assert own_state(start, [tmp_path, tmp_path / "factory"], "north") == str(tmp_path / file)
    assert own_state(start, [tmp_path, earlier], "island") == ""


def test_a_clients_own_state_that_is_lost_is_told(values, earlier, tmp_path, capfd):
    copy = shutil.copytree(earlier, tmp_path / "copy")
    (copy / "clients/north/state.1.pt").unlink()
    run(values, start=str(copy), rounds=1)
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "its own state of the run" in line]
    assert line.startswith(f"warning: client north: {copy}/clients/north/state.1.pt: expected its own state")
    run(values, start=str(copy), rounds=2, resume=True)
    assert "its own state" not in capfd.readouterr().err


def test_labels_in_another_order_are_refused_where_label_maps_are_drawn(values, earlier):
    start, built = read_start(earlier, TINY), global_weights(earlier)
    assert start.description["labels"] == {0: "background", 1: "brain"}
    other = federation(values, start=str(earlier), labels={0: "brain", 1: "background"})
    first_weights(other, start, built)
    drawing = replace(other, overrides={"label_domains": ["t1"]})
    with pytest.raises(InputError, match=r"'labels': expected .*0: 'background'.* found .*0: 'brain'"):
        first_weights(drawing, start, built)
    first_weights(replace(drawing, labels={0: "background", 1: "brain"}), start, built)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "nowhere.pt"}, r"'start' .*nowhere.pt is no file and no folder; check the path"),
        ({"domains": ["t2", "t1", "pet"]}, r"'domains': expected those of the start first .*t1, t2, pet, found t2"),
        ({"overrides": {"network_def::channels": [4, 6]}},
         r"client north.*state.1.pt: the client's state does not fit its network \('model.2.*expected .*found"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_its_cure(values, earlier, changes, message):
    with pytest.raises(InputError, match=message):
        run(values, **{"start": str(earlier), **changes})


def test_an_exported_file_of_other_sizes_is_named_with_its_tensor(values, earlier):
    with pytest.raises(
        InputError, match=r"do not fit this federation \('model.*expected .*found .*'overrides'"
    ):
        run(values, start=str(earlier / f"{TINY}.pt"), overrides={"network_def::channels": [4, 6]})


def test_unfinished_runs_other_folders_and_other_files_are_no_start(values, earlier, tmp_path):
    unfinished = run(values, rounds=1)
    settings = read_record(unfinished / "federation.yaml", "")
    write_record(unfinished / "federation.yaml", {**settings, "rounds": 2})
    with pytest.raises(
        InputError, match=r"expected a finished run to start from, found round 1 of 2; let it end"
    ):
        read_start(unfinished, TINY)
    with pytest.raises(InputError, match=r"found no global.pt in it; name another"):
        read_start(tmp_path, TINY)
    save_tensors(tmp_path / "other.pt", {"weights": 1.0})
    with pytest.raises(InputError, match=r"expected a start, .*found weights; name one of these"):
        read_start(tmp_path / "other.pt", TINY)


def test_a_start_in_the_output_folder_is_refused(values, earlier):
    with pytest.raises(InputError, match=r"'start' .* lies in 'output_dir'"):
        federation(values, start=str(earlier), output_dir=str(earlier))
