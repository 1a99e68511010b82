from __future__ import annotations

import pytest

from shared_components import federation
from shared_components.errors import InputError
from shared_components.federation.aggregators import make_aggregator
from shared_components.federation.trust import programs

AGGREGATORS = [name for name in federation.__all__ if name != "federated_average"]


def test_only_aggregators_are_taken():
    with pytest.raises(InputError, match=r"expected a subclass of .*FedAvg"):
        make_aggregator({"_target_": "torch.nn.Identity"})
    assert make_aggregator({"_target_": "shared_components.federation.FedProx", "mu": 0.5}).mu == 0.5


@pytest.mark.parametrize("name", AGGREGATORS)
def test_all_of_ours_are_made_by_name_and_need_no_trust(name):
    config = {"_target_": f"shared_components.federation.{name}"}
    assert type(make_aggregator(config)).__name__ == name
    assert programs({"aggregator": config}) == []
    assert len(programs({"overrides": config})) == len(programs({"aggregator": {"inner": config}})) == 1
    assert programs({"aggregator": {**config, "averaged": ["$__import__('os')"]}}) != []
