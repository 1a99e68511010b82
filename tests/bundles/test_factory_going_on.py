"""Federations of the factory bundle that go on from a trained factory: a hospital that joins, refinement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation.client import FederatedClient
from shared_components.federation.federation_file import federation_from
from shared_components.federation.local import LocalEngine
from shared_components.federation.rounds_log import read_rows
from shared_components.files import load_tensors
from shared_components.networks.factory import factory_description, load_generator
from shared_components.study.plan import plan
from tests.bundles.tiny import BUNDLES, LABELS, SIZES, different, make_root

HELD = {"rehearsal_weight": 10.0, "semantic_weight": 50.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """The data root of the hospital that joins."""
    return make_root(tmp_path_factory.mktemp("newcomer") / "east", "ct", labelled=False, seed=4)


def federation(root: Path, output_dir: Path, start: Path | None, **changes):
    content = {
        "name": "newcomer", "bundle": str(BUNDLES / "factory"), "domains": ["t1", "t2", "pet", "ct"],
        "labels": LABELS, "configs": ["common.yaml", "train.yaml", "smoke.yaml"], "overrides": SIZES | HELD,
        "clients": {"east": {"data_root": str(root), "domain": "ct"}}, "seed": 5,
        "rounds": 2, "updates_per_round": 2, "workers": 0, "output_dir": str(output_dir),
        "exchange": {"what": "weights"},
    }  # fmt: skip
    content |= {} if start is None else {"start": str(start)}
    return federation_from(content | changes, source=Path("newcomer.yaml"))


def run(*arguments, resume: bool = False, **changes) -> Path:
    return LocalEngine(federation(*arguments, **changes), quiet=True).run(resume=resume)


def test_a_hospital_that_joins_alone_resumes_as_if_unbroken_and_the_factory_knows_it(factory, root, tmp_path):
    start = factory / "factory.pt"
    whole = run(root, tmp_path / "whole", start)
    run(root, tmp_path / "resumed", start, rounds=1)
    resumed = run(root, tmp_path / "resumed", start, resume=True)
    files = ("global.pt", "factory.pt", "clients/east/state.2.pt")
    for name in files:
        first, second = load_tensors(whole / name), load_tensors(resumed / name)
        for key in ("model", "private"):
            assert different(first.get(key, {}), second.get(key, {})) == []
    state = load_tensors(whole / "clients/east/state.2.pt")["objects"]
    kept = state["rehearsal"]
    before = load_generator(start)
    assert torch.equal(kept["teacher.constant"], before.constant)
    assert float(state["semantic"]["means"][3].norm()) == pytest.approx(1, abs=1e-5)
    assert all(
        float(row["rehearsal"]) > 0 and float(row["semantic"]) > 0 for row in read_rows(whole / "rounds.csv")
    )
    assert not any(
        "teacher" in name or "means" in name for name in load_tensors(whole / "global.pt")["model"]
    )
    assert factory_description(whole / "factory.pt")["domains"] == ["t1", "t2", "pet", "ct"]
    assert load_generator(whole / "factory.pt").slices_seen.tolist() == [[0, 1], [0, 1], [0, 0], [0, 1]]


def test_before_the_first_round_it_draws_what_the_factory_drew(factory, root, tmp_path):
    run(root, tmp_path, factory / "factory.pt", rounds=1)
    first = load_tensors(tmp_path / "global.previous.pt")["model"]
    names = ("generator", "generator_ema")
    states = [{k.split(".", 1)[1]: v for k, v in first.items() if k.startswith(f"{name}.")} for name in names]
    assert different(*states) == []
    after, before = load_generator(tmp_path / "factory.pt"), load_generator(factory / "factory.pt")
    after.load_state_dict(states[0])
    condition = torch.randn(4, before.z_dim), torch.tensor([0, 1, 2, 0]), torch.rand(4)
    assert torch.allclose(after(*condition, "none"), before(*condition, "none"), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"domains": ["ct", "t1", "t2", "pet"]}, "'domains': expected those of the start first and in its order"),
        ({"overrides": SIZES | {"w_dim": 8}}, r"'w_dim': expected 16, .* found 8; set w_dim in 'overrides'"),
        ({"overrides": SIZES | {"spacing": 3.0}}, r"'spacing': expected 4.0, .*found 3.0; set it in 'overrides'"),
        ({"overrides": SIZES | {"percentiles": [5, 95]}}, r"'percentiles': expected \[0.5, 99.5\], .*found \[5, 95\]"),
        ({"overrides": SIZES | {"image_size": 64}}, r"'image_size': expected 32, .* found 64"),
        ({"overrides": SIZES | {"common_rows": 2}}, r"'common_rows': expected 0, .* found 2"),
    ],
)  # fmt: skip
def test_the_check_names_what_does_not_fit_the_factory(factory, root, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        plan(federation(root, tmp_path, factory / "factory.pt", **changes), study=False)


def hospitals(root: Path, tmp_path: Path) -> dict:
    """Two that join a factory together, one domain each."""
    west = make_root(tmp_path / "west", "mr", labelled=False, seed=5)
    clients = {
        "east": {"data_root": str(root), "domain": "ct"},
        "west": {"data_root": str(west), "domain": "mr"},
    }
    return {"domains": ["t1", "t2", "pet", "ct", "mr"], "clients": clients}


def teachers(folder: Path, rounds: Mapping[str, int]) -> dict[str, dict]:
    """What clients rehearse, in their states after a round."""
    states = {n: load_tensors(folder / f"clients/{n}/state.{r}.pt")["objects"] for n, r in rounds.items()}
    return {name: state["rehearsal"] for name, state in states.items()}


ALONE = {"federation::shared": ["generator"], "federation::export::generator": "$@network.generator"}


@pytest.mark.parametrize("shared", [{"federation::shared": ["generator", "generator_ema"]}, ALONE])
def test_a_client_that_failed_in_the_first_round_rehearses_what_the_federation_began_with(
    factory, root, tmp_path, monkeypatch, shared
):
    trained = FederatedClient.run_round

    def run_round(client, weights, number):
        if number == 1 and client._workflow.parser["dataset_dir"].endswith("west"):
            raise OSError("the disk of this hospital is gone for a moment")
        return trained(client, weights, number)

    monkeypatch.setattr(FederatedClient, "run_round", run_round)
    overrides = SIZES | HELD | shared
    both = hospitals(root, tmp_path) | {"min_clients": 1, "overrides": overrides}
    run(root, tmp_path / "run", factory / "factory.pt", **both)
    rows = read_rows(tmp_path / "run/rounds.csv")
    assert [(r["client"], r["round"]) for r in rows if "of this hospital" in r.get("left_out", "")] == [
        ("west", "1")
    ]
    kept = teachers(tmp_path / "run", {"east": 2, "west": 2})
    assert different(kept["east"], kept["west"]) == []
    before = load_generator(factory / "factory.pt")
    for name in ("constant", "layers.0.convolution.weight", "updates"):
        assert torch.equal(kept["west"][f"teacher.{name}"], before.state_dict()[name])
    moved = load_tensors(tmp_path / "run/global.previous.pt")["model"]["generator.constant"]
    assert not torch.equal(moved, before.constant)


def test_clients_that_are_drawn_later_rehearse_the_start_too(factory, root, tmp_path):
    some = hospitals(root, tmp_path) | {"clients_per_round": 1, "seed": 1}
    folder = run(root, tmp_path / "run", factory / "factory.pt", **some)
    states = load_tensors(folder / "global.pt")["states"]
    assert sorted(states.values()) == [1, 2]  # each was drawn once
    kept = teachers(folder, states)
    assert different(kept["east"], kept["west"]) == []
    assert torch.equal(kept["west"]["teacher.constant"], load_generator(factory / "factory.pt").constant)


def test_the_check_of_one_that_fits_tries_it(factory, root, tmp_path):
    told = plan(federation(root, tmp_path, factory / "factory.pt"), study=False)
    assert told.startswith("goes on from factory.pt\n") and "2 rounds of 2 updates" in told


def test_what_the_start_drew_is_held_where_averages_are_not_exchanged_then_or_before(factory, root, tmp_path):
    alone = {"overrides": SIZES | HELD | ALONE, "rounds": 1}
    first = run(root, tmp_path / "first", factory / "factory.pt", **alone)
    teacher = load_tensors(first / "clients/east/state.1.pt")["objects"]["rehearsal"]["teacher.constant"]
    assert torch.equal(teacher, load_generator(factory / "factory.pt").constant)
    second = run(root, tmp_path / "second", first, rounds=1)
    begun = load_tensors(second / "global.previous.pt")["model"]
    trained = load_tensors(first / "global.pt")["model"]
    assert torch.equal(begun["generator_ema.constant"], trained["generator.constant"])
    third = run(root, tmp_path / "third", second, **alone)  # its own state has no average
    assert all(float(read_rows(f / "rounds.csv")[0]["rehearsal"]) > 0 for f in (first, second, third))


def test_rates_that_have_fallen_rise_again_where_the_run_goes_on_with_more_rounds(factory, root, tmp_path):
    falling = {"overrides": SIZES | {"final_lr": 0.0}}
    shares = []
    for rounds, resume in ((1, False), (4, True)):
        run(root, tmp_path, factory / "factory.pt", rounds=rounds, resume=resume, **falling)
        state = load_tensors(tmp_path / f"clients/east/state.{rounds}.pt")["objects"]
        groups = [g for k in ("optimizer", "discriminator_optimizer") for g in state[k]["param_groups"]]
        shares.append({g["lr"] / g["initial_lr"] for g in groups})
    assert shares == [{1.0}, {0.25}]


def test_hospitals_share_their_mean_encodings_and_a_newcomer_brings_its_own(clients, root, tmp_path):
    told = {"overrides": SIZES | {"semantic_condition": 99}, "exchange": {}}
    names = {"north": "t1", "south": "t2"}
    both = {n: {"data_root": str(clients / n), "domain": d} for n, d in names.items()}
    first = run(root, tmp_path / "first", None, clients=both, domains=["t1", "t2"], **told)
    known = torch.nn.functional.normalize(load_generator(first / "factory.pt").condition.encodings)
    for number, name in enumerate(both):
        state = load_tensors(first / f"clients/{name}/state.2.pt")
        mean = state["objects"]["semantic"]["means"][number]
        assert float(mean.norm()) == pytest.approx(1, abs=1e-5)
        assert torch.allclose(known[number], mean, atol=1e-3)  # its direction, after rounding to float16
    domains = ["t1", "t2", "ct"]
    joined = run(root, tmp_path / "joined", first / "factory.pt", domains=domains, **told)
    after = torch.nn.functional.normalize(load_generator(joined / "factory.pt").condition.encodings)
    own = load_tensors(joined / "clients/east/state.2.pt")["objects"]["semantic"]["means"][2]
    assert torch.allclose(after[:2], known, atol=1e-3) and torch.allclose(after[2], own, atol=1e-3)
    whole = load_tensors(joined / "global.pt")["model"]
    run(root, tmp_path / "resumed", first / "factory.pt", domains=domains, rounds=1, **told)
    again = run(root, tmp_path / "resumed", first / "factory.pt", domains=domains, resume=True, **told)
    assert different(whole, load_tensors(again / "global.pt")["model"]) == []
