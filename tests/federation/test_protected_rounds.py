"""Rounds of the local engine with each setting of ``exchange`` and ``privacy``."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation import coordinator, worker
from shared_components.federation.budget import Budget, Ledger
from shared_components.federation.federation import BUDGET, client_plan
from shared_components.federation.local import LocalEngine
from shared_components.federation.privacy import Privacy, spent
from shared_components.federation.rounds_log import read_rows
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.site import Site
from shared_components.files import load_tensors, save_tensors
from shared_components.records import read_record
from tests.federation.tiny import federation

FEDBN = {"_target_": "shared_components.federation.FedBN"}
NOISE = {"clip": 0.1, "noise": 2.0}


@pytest.fixture
def two(values):
    """A federation file of two clients and two rounds, which send differences in float32."""
    clients = {name: values["clients"][name] for name in ("north", "south")}
    return {**values, "clients": clients, "rounds": 2, "exchange": {"dtype": "float32", "down": "float32"}}


def run(values, resume=False, quiet=True, force=False, **changes) -> Path:
    return LocalEngine(federation({**values, **changes}), quiet=quiet).run(resume=resume, force=force)


def weights(folder: Path) -> dict:
    return load_tensors(folder / "global.pt")["model"]


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def gap(first, second) -> float:
    """The largest difference of two models' floating tensors."""
    return max(float((first[n] - second[n]).abs().max()) for n in first if first[n].is_floating_point())


@pytest.mark.parametrize(
    ("changes", "closeness", "bytes_up", "bytes_down"),
    [
        ({}, 1e-6, 4, 4),
        ({"exchange": {"down": "float32"}}, 2e-3, 2, 4),
        ({"exchange": {}}, 0.06, 2, 2),  # 3 steps of Adam of 0.01, either way
        ({"privacy": {"clip": 1e6}}, 1e-6, 4, 4),
    ],
)
def test_each_setting_trains_as_weights_do_but_for_rounding_and_resumes(
    two, tmp_path, changes, closeness, bytes_up, bytes_down
):
    as_they_are = {"exchange": {"what": "weights"}, "output_dir": str(tmp_path / "plain")}
    plain = weights(run(two, rounds=1, **as_they_are))
    broken = str(tmp_path / "broken")
    assert gap(plain, weights(run(two, rounds=1, output_dir=broken, **changes))) < closeness
    folder = run(two, **changes)
    assert same(weights(run(two, resume=True, output_dir=broken, **changes)), weights(folder))
    numbers = sum(t.numel() for t in plain.values() if t.is_floating_point())
    counters = sum(t.nbytes for t in plain.values() if not t.is_floating_point())
    for row in read_rows(folder / "rounds.csv"):
        assert int(row["bytes_up"]) == numbers * bytes_up + counters
        assert int(row["bytes_down"]) == numbers * bytes_down + counters
        assert "epsilon" not in row and float(row["loss"]) > 0


def test_worker_processes_send_the_same(two, tmp_path):
    changes = {"exchange": {}, "privacy": {"clip": 0.05}}
    one = run(two, output_dir=str(tmp_path / "one"), **changes)
    assert same(weights(one), weights(run(two, workers=2, output_dir=str(tmp_path / "two"), **changes)))


def test_clipped_updates_move_the_global_model_no_further_than_the_clip(two, tmp_path):
    clipped = {"privacy": {"clip": 1e-3}, "aggregator": FEDBN}
    first = run(two, rounds=1, output_dir=str(tmp_path / "one"), **clipped)
    after = run(two, rounds=2, output_dir=str(tmp_path / "two"), **clipped)
    moved = [weights(after)[name].double() - tensor.double() for name, tensor in weights(first).items()]
    assert 0 < sum(float(tensor.square().sum()) for tensor in moved) ** 0.5 <= 1.01e-3
    ledger = Ledger(RunFolder(after).client("north"))
    assert ledger.updates == 2 and read_record(ledger.path, "")["norm"] > 1e-3


def test_noise_is_counted_told_and_never_the_same(two, tmp_path, capsys):
    noisy = {"privacy": NOISE, "aggregator": FEDBN}
    start = run(two, rounds=1, quiet=False, **noisy)
    line = capsys.readouterr().out
    assert f"epsilon up to {spent(2.0, 1, 1e-5):.3g} at delta 1e-05" in line and "no losses" in line
    ends = []
    for name in ("a", "b"):
        folder = shutil.copytree(start, tmp_path / name)
        ends.append(weights(run(two, resume=True, output_dir=str(folder), **noisy)))
        rows = read_rows(folder / "rounds.csv")
        assert [float(row["epsilon"]) for row in rows] == pytest.approx(
            [spent(2.0, int(row["round"]), 1e-5) for row in rows], rel=1e-5
        )
        assert [row["round"] for row in rows] == ["1", "1", "2", "2"]
        assert not any("loss" in row for row in rows)
        assert Ledger(RunFolder(folder).client("south")).updates == 2
    assert gap(*ends) > 1e-3, "a resumed run repeats the noise"


def test_losses_leave_if_the_file_says_so(two):
    rows = read_rows(run(two, rounds=1, privacy={**NOISE, "losses": True}, aggregator=FEDBN) / "rounds.csv")
    assert all(float(row["loss"]) > 0 and float(row["epsilon"]) > 0 for row in rows)


@pytest.fixture
def site(two):
    """A site of client north in its state before the first round, its plan, and the global weights."""

    def made(**changes):
        plan = client_plan(federation({**two, **changes}), "north")
        site = Site(plan)
        site.build(0)
        return site, plan, site.shared_weights()

    return made


def test_a_round_done_again_is_counted_again_with_other_noise(site):
    place, plan, begun = site(privacy=NOISE, aggregator=FEDBN)
    first, again = (place.train(1, 0, begun) for _ in range(2))
    assert (first.released, again.released) == (1, 2) and Ledger(plan.folder).updates == 2
    assert first.metrics == again.metrics == {} and not same(first.weights, again.weights)
    assert first.values.keys() == {"images", "seconds", "released"}


def test_noise_has_its_deviation_on_the_wire(site):
    place, _, begun = site(privacy={"clip": 0.1, "noise": 5.0}, aggregator=FEDBN)
    sent = place.train(1, 0, begun).weights
    numbers = torch.cat([tensor.reshape(-1) for tensor in sent.values()])
    assert len(numbers) > 900
    # a difference of norm 0.1 spread over them hardly shows
    assert abs(float(numbers.std()) / 0.5 - 1) < 4 / (2 * len(numbers)) ** 0.5


def test_nothing_private_is_in_the_bytes_of_an_update(two, tmp_path):
    for number, changes in enumerate(
        ({"exchange": {"what": "weights"}}, {"exchange": {}}, {"privacy": NOISE, "aggregator": FEDBN})
    ):
        plan = client_plan(federation(two, output_dir=str(tmp_path / str(number)), **changes), "north")
        worker.build(plan, 0)
        whole, update = tmp_path / f"{number}.whole.pt", tmp_path / f"{number}.update.pt"
        begun = worker.site(plan).shared_weights()
        save_tensors(whole, {"model": begun})
        worker.train(plan, 1, 0, whole, update)
        client = worker.site(plan)._client
        content, state = update.read_bytes(), client.trainer.network.state_dict()
        private = {name: tensor for name, tensor in state.items() if name not in begun}
        assert len(private) >= 2 and all(name.encode() in content for name in begun)
        assert [name for name in private if name.encode() in content] == []
        floats = [
            v
            for tensor in private.values()
            if tensor.is_floating_point()
            for v in tensor.reshape(-1).tolist()
        ]
        told = [value for value in floats if value not in (0.0, 1.0)]
        assert len(told) > 20 and not any(struct.pack("<f", value) in content for value in told)
        worker.forget(plan.folder)


def test_a_client_stops_taking_part_before_its_epsilon_goes_beyond_its_own_limit(two, tmp_path):
    limit = spent(2.0, 2, 1e-5) + 1e-6
    two["clients"]["north"]["privacy"] = {"max_norm": 0.1, "epsilon_at_most": limit}
    changes = {"privacy": NOISE, "aggregator": FEDBN, "min_clients": 1, "rounds": 4}
    folder = run(two, **changes)
    rows = {(row["round"], row["client"]): row for row in read_rows(folder / "rounds.csv")}
    assert [r for r, c in rows if "left_out" not in rows[r, c]] == ["1", "1", "2", "2", "3", "4"]
    for number in "34":
        row = rows[number, "north"]
        assert row["left_out"].endswith(f"above its epsilon_at_most ({limit:g}); it sends no more")
        assert row["bytes_up"] == "0" and rows[number, "south"]["images"] == "4"
    assert Ledger(RunFolder(folder).client("north")).updates == 2
    # it may be raised, and the run goes on
    two["clients"]["north"]["privacy"] = {"epsilon_at_most": 2 * limit}
    run(two, resume=True, **{**changes, "rounds": 5})
    assert Ledger(RunFolder(folder).client("north")).updates == 3


@pytest.fixture
def broken_off(two, monkeypatch):
    """A run with noise that was killed in its first round, after its updates had left; and what is to go on with it."""
    changes = {"privacy": NOISE, "aggregator": FEDBN, "rounds": 1}

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(coordinator, "screen", killed)
        with pytest.raises(KeyboardInterrupt):
            run(two, **changes)
    clients = [RunFolder(two["output_dir"]).client(name) for name in ("north", "south")]
    assert [Ledger(folder).updates for folder in clients] == [1, 1]
    return changes, clients


@pytest.mark.parametrize("go_on", [{"resume": True}, {}])
def test_updates_of_a_run_that_begins_anew_without_a_whole_round_still_count(two, broken_off, go_on):
    changes, clients = broken_off
    rows = read_rows(run(two, **changes, **go_on) / "rounds.csv")
    assert [row["released"] for row in rows] == ["2", "2"]
    assert [float(row["epsilon"]) for row in rows] == pytest.approx([spent(2.0, 2, 1e-5)] * 2, rel=1e-5)
    assert [Budget(folder / BUDGET).squares for folder in clients] == [2.0, 2.0]


def test_force_counts_a_run_from_zero_and_never_what_a_site_has_spent(two, broken_off):
    changes, clients = broken_off
    (clients[0] / "state.7.pt").touch()
    run(two, force=True, **changes)
    assert [Ledger(folder).updates for folder in clients] == [1, 1]
    assert [Budget(folder / BUDGET).squares for folder in clients] == [2.0, 2.0]
    assert not (clients[0] / "state.7.pt").exists()


def test_a_missing_accountant_is_told_before_anybody_trains(two, monkeypatch):
    def missing(*_):
        raise InputError("privacy: noise needs the privacy accountant")

    monkeypatch.setattr(Privacy, "spent", missing)
    with pytest.raises(InputError, match="privacy: noise needs the privacy accountant"):
        run(two, privacy=NOISE, aggregator=FEDBN)
    assert not (Path(two["output_dir"]) / "rounds.csv").exists()
