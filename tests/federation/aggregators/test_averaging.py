from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.federation import (
    FedAvg,
    FedBN,
    FedMedian,
    FedProx,
    MultiKrum,
    NormBounded,
    TrimmedMean,
)


def test_clients_are_held_to_the_global_layout():
    update = {"w": torch.tensor([2.0, 4.0]), "n": torch.tensor(3)}
    made = FedAvg()({"a": update}, {"a": 1}, update)
    assert torch.equal(made["w"], update["w"]) and torch.equal(made["n"], update["n"])
    for aggregator in (FedAvg(), FedMedian(), TrimmedMean(), NormBounded(), MultiKrum()):
        with pytest.raises(InputError, match="which the global model lacks"):
            aggregator({"a": update}, {"a": 1}, {"w": torch.zeros(2)})


@pytest.mark.parametrize("kind", [FedAvg, FedProx, FedBN, FedMedian, TrimmedMean, NormBounded, MultiKrum])
def test_without_a_state_none_is_taken(kind):
    aggregator = kind()
    assert aggregator.state_dict() == {}
    aggregator.load_state_dict({})
    with pytest.raises(InputError, match=rf"the run's state \(velocity\) is not {kind.__name__}'s"):
        aggregator.load_state_dict({"velocity": {}})
