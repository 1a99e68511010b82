from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation import ServerAverage
from shared_components.federation.local import LocalEngine
from shared_components.files import load_tensors
from tests.federation.tiny import federation

NAME = "shared_components.federation.ServerAverage"


def after(values, aggregator=None):
    """The average after rounds in which two clients end at these values."""
    aggregator = aggregator or ServerAverage(decay=0.75)
    for first, second in values:
        updates = {"a": {"w": torch.tensor([first])}, "b": {"w": torch.tensor([second])}}
        made = aggregator(updates, {"a": 1, "b": 3}, {"w": torch.zeros(1)})
        assert made["w"].item() == (first + 3 * second) / 4, "what is trained on is the mean"
    return aggregator.deliverable({"w": made["w"], "count": torch.tensor(7)})


def test_the_first_rounds_count_alike_then_it_decays():
    assert after([(4.0, 8.0)])["w"].item() == 7.0
    assert after([(4.0, 8.0), (1.0, 1.0)])["w"].item() == 4.0
    rounds = [(8.0, 8.0), (0.0, 0.0), (4.0, 4.0), (0.0, 0.0), (8.0, 8.0)]
    assert after(rounds)["w"].item() == pytest.approx(0.75 * 3 + 0.25 * 8)  # 3: the mean of the first four
    assert after(rounds)["count"].item() == 7


def test_its_state_goes_on_to_the_same_average():
    rounds = [(1.0, 2.0), (3.0, 5.0), (-4.0, 2.5)]
    first, second = ServerAverage(0.5), ServerAverage(0.5)
    after(rounds[:2], first)
    second.load_state_dict(first.state_dict())
    assert torch.equal(after(rounds[2:], second)["w"], after(rounds[2:], first)["w"])


def test_other_states_and_arguments_are_refused():
    with pytest.raises(InputError, match="is not ServerAverage's"):
        ServerAverage().load_state_dict({"velocity": {}})
    with pytest.raises(InputError, match="decay"):
        ServerAverage(decay=1.0)
    aggregator = ServerAverage()
    aggregator.load_state_dict({"rounds": 1, "average": {"v": torch.zeros(1)}})
    with pytest.raises(InputError, match="average is not of the tensors that are exchanged"):
        after([(1.0, 1.0)], aggregator)


def test_the_engine_exports_the_average_and_trains_on_the_mean(values, tmp_path):
    def run(name, **changes):
        made = federation(values, rounds=2, output_dir=str(tmp_path / name), **changes)
        return LocalEngine(made, quiet=True).run()

    plain = run("plain")
    found = run("averaged", aggregator={"_target_": NAME, "decay": 0.25})
    weights = [load_tensors(folder / "global.pt")["model"] for folder in (plain, found)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    exported = load_tensors(found / "tiny_bundle.pt")["model"]
    state = load_tensors(found / "global.pt")["aggregator"]
    assert state["rounds"] == 2
    name = next(iter(state["average"]))
    assert torch.equal(exported[name], state["average"][name])
    assert not torch.equal(exported[name], weights[1][name])
    assert not (found / "deliverable.pt").exists()
