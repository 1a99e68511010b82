"""What becomes of a run when a client fails in a round: the local engine, with real processes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from shared_components.errors import InputError
from shared_components.federation.coordinator import drawn_clients
from shared_components.federation.local import LocalEngine
from shared_components.federation.rounds_log import read_rows
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.status import run_status
from shared_components.files import load_tensors
from shared_components.report import write_federated_report
from tests.federation.test_local import assert_same, assert_same_run, global_weights
from tests.federation.tiny import federation


def run(values, kind, round=2, resume=False, quiet=True, overrides=None, **changes) -> Path:
    """A run in which one client misbehaves in a round, once."""
    settings = {"client": "south", "kind": kind, "round": round}
    misbehave = {f"misbehave::{key}": value for key, value in settings.items()}
    made = federation(values, overrides={**misbehave, **(overrides or {})}, **changes)
    return LocalEngine(made, quiet=quiet).run(resume=resume)


def left_out(folder: Path) -> dict[tuple[int, str], str]:
    rows = read_rows(folder / "rounds.csv")
    return {(int(row["round"]), row["client"]): row["left_out"] for row in rows if "left_out" in row}


KINDS = {
    "killed": r"the worker process died; it was killed or ran out of memory, .*",
    "stopped": r"no answer within 4 s \(round_timeout\); its process was ended and is started anew",
    "nan": r"update \d: 'model\.\S+' holds NaN or infinite values; .*",
    "huge": r"its update is \S+ times as large as the round's median update, more than largest_update \(100\); .*",
    "shape": r"'model\.\S+' is \(1, .*\) torch.float32, expected \(4, .*\) torch.float32 as in the global model; .*",
    "dtype": r"\S+ .*torch.float64.*",
    "name": r".*'model\.\S+weight'.*",
    "error": r"OSError: \[Errno 5\] Input/output error",
}


@pytest.mark.parametrize("kind", KINDS)
def test_failed_client_is_left_out_of_its_round_alone(values, kind, capsys):
    stopped = {"round_timeout": 4.0, "workers": 3} if kind == "stopped" else {}
    workers = {"workers": 2} if kind == "killed" else {}
    folder = run(values, kind, 2, quiet=False, **stopped, **workers)
    ((where, reason),) = left_out(folder).items()
    assert where == (2, "south") and re.fullmatch(KINDS[kind], reason)
    rows = {(int(row["round"]), row["client"]): row for row in read_rows(folder / "rounds.csv")}
    assert len(rows) == 9 and rows[2, "south"]["images"] == rows[2, "south"]["bytes_up"] == "0"
    assert load_tensors(folder / "global.pt")["states"] == {"island": 3, "north": 3, "south": 3}
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("round 2/3")]
    assert "| 2 clients |" in line and f"| left out: south ({reason})" in line


def test_what_the_others_do_does_not_depend_on_how_one_fails(values, tmp_path):
    """Nor on the worker that it shares with them: the client at work is left out, the others are not."""
    alone = run(values, "error")
    shared = run(values, "killed", 2, workers=1, output_dir=str(tmp_path / "shared"))
    assert_same(global_weights(alone), global_weights(shared))


def test_failed_client_goes_on_from_its_own_state(values, tmp_path):
    """It trains round 3 from its state after round 1, as one does that was not drawn in round 2."""
    folder = run(values, "error")
    resumed = run(values, "error", 2, rounds=2, output_dir=str(tmp_path / "two"))
    assert load_tensors(resumed / "global.pt")["states"] == {"island": 2, "north": 2, "south": 1}
    assert_same_run(folder, run(values, "error", 2, resume=True, output_dir=str(tmp_path / "two")))


@pytest.mark.parametrize(("least", "answered"), [("all", "3"), (3, "3")])
def test_too_few_clients_end_the_run_at_its_last_whole_round(values, least, answered, tmp_path):
    with pytest.raises(
        InputError, match=r"client south, round 2: OSError.*2 of 3 clients answered"
    ) as caught:
        run(values, "error", 2, min_clients=least)
    assert f"fewer than min_clients ({answered})" in str(caught.value) and "--resume" in str(caught.value)
    assert load_tensors(Path(values["output_dir"]) / "global.pt")["round"] == 1
    resumed = run(values, "error", 2, min_clients=2, resume=True)
    assert_same_run(run(values, None, output_dir=str(tmp_path / "unbroken")), resumed)


def test_another_client_trains_in_the_place_of_one_that_fails(values, capsys):
    (round,) = [r for r in range(1, 4) if drawn_clients(list(values["clients"]), 1, 5, r) == ["south"]]
    folder = run(values, "error", 1, clients_per_round=1, quiet=False)  # its own first round
    assert left_out(folder) == {(round, "south"): "OSError: [Errno 5] Input/output error"}
    took_part = [
        (int(r["round"]), r["client"]) for r in read_rows(folder / "rounds.csv") if r["images"] != "0"
    ]
    assert [number for number, _ in took_part] == [1, 2, 3] and "south" not in dict(took_part).values()
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith(f"round {round}/3")]
    assert "| 1 client |" in line and "| left out: south (OSError" in line


def in_the_way(values, name: str) -> Path:
    """A folder of the name of the file that a client is to export."""
    place = Path(values["output_dir"]) / "clients" / name / "tiny_bundle.pt"
    (place / "mine").mkdir(parents=True)
    return place


def test_a_client_that_cannot_export_its_own_model_is_named_and_the_others_do(values, tmp_path, capsys):
    aggregator = {"aggregator": {"_target_": "shared_components.federation.FedBN"}, "rounds": 1}
    place = in_the_way(values, "south")
    folder = LocalEngine(federation(values, **aggregator), quiet=True).run()
    told = (
        capsys.readouterr().err.splitlines()
    )  # packages may tell of themselves when they are first imported
    (line,) = [line for line in told if line.startswith("warning: ")]
    assert re.match(
        r"warning: client south, the export: .*export_path.*; use --resume when it is mended", line
    )
    assert [name for name in values["clients"] if (folder / f"clients/{name}/tiny_bundle.pt").is_file()] == [
        "north", "island"
    ]  # fmt: skip
    assert list(RunFolder(folder).left_out_of_export()) == ["south"]
    assert "south: could not write its own model\n  go on with: federate" in str(run_status(folder))
    page = write_federated_report(folder).read_text(encoding="utf-8")
    assert "Without a model of their own" in page and "<tr><td>south</td><td>RuntimeError: " in page
    shutil.rmtree(place)
    resumed = LocalEngine(federation(values, **aggregator), quiet=True).run(resume=True)
    assert RunFolder(resumed).left_out_of_export() == {}
    whole = federation(values, **aggregator, output_dir=str(tmp_path / "whole"))
    unbroken = LocalEngine(whole, quiet=True).run()
    for name in values["clients"]:
        file = f"clients/{name}/tiny_bundle.pt"
        assert_same(load_tensors(unbroken / file)["model"], load_tensors(resumed / file)["model"])


def test_where_one_client_trains_a_huge_update_is_told_by_those_of_earlier_rounds(values):
    names = list(values["clients"])
    (seed,) = [s for s in range(20) if drawn_clients(names, 1, s, 2) == ["south"]][:1]
    folder = run(values, "huge", 1, clients_per_round=1, seed=seed)  # its own first round
    ((where, reason),) = left_out(folder).items()
    assert where == (2, "south") and re.search(r"times as large as the run's median update", reason)
    norms = [float(r["update_norm"]) for r in read_rows(folder / "rounds.csv") if "update_norm" in r]
    assert len(norms) == 3 and max(norms) < 100 * min(norms)


def test_a_client_that_was_never_drawn_has_no_norms_of_its_own_to_export(values, capsys):
    aggregator = {"_target_": "shared_components.federation.FedBN"}
    folder = LocalEngine(
        federation(values, rounds=2, clients_per_round=1, aggregator=aggregator), quiet=True
    ).run()
    drawn = {row["client"] for row in read_rows(folder / "rounds.csv")}
    (missing,) = set(values["clients"]) - drawn
    assert f"warning: client {missing}, the export: it was drawn in no round" in capsys.readouterr().err
    assert {file.parent.name for file in folder.glob("clients/*/tiny_bundle.pt")} == drawn


def test_no_export_at_all_ends_the_run(values):
    for name in values["clients"]:
        in_the_way(values, name)
    aggregator = {"_target_": "shared_components.federation.FedBN"}
    with pytest.raises(InputError, match=r"client island, the export: .*--resume"):
        LocalEngine(federation(values, rounds=1, aggregator=aggregator), quiet=True).run()


def test_threshold_is_the_files(values):
    assert left_out(run(values, "huge", 1, largest_update=None)) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_clients": 4}, r"'min_clients' is 4, but 3 clients train in a round"),
        ({"min_clients": 0}, r"'min_clients' must be a whole number from 1 up, found 0"),
        ({"min_clients": "few"}, r"'min_clients' must be a whole number from 1 up, found 'few'"),
        ({"round_timeout": 0}, r"'round_timeout' must be a number above 0, or null, found 0"),
        ({"largest_update": 1}, r"'largest_update' must be a number above 1, or null, found 1"),
        ({"largest_update": float("nan")}, r"'largest_update' must be a number above 1, or null, found nan"),
    ],
)
def test_wrong_settings_are_named(values, changes, message):
    with pytest.raises(InputError, match=message):
        federation(values, **changes)


def test_most_of_the_drawn_clients_must_answer_by_default(values):
    assert federation(values).min_clients == 2
    assert federation(values, clients_per_round=1).min_clients == 1
    assert federation(values, min_clients="all").min_clients == 3
