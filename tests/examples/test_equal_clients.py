from __future__ import annotations

import torch

from tests.examples.equal_clients import EqualClients


def test_numbers_of_images_do_not_matter():
    weights = {"north": [1.0, 5.0], "south": [2.0, 7.0]}
    updates = {client: {"layer": torch.tensor(values)} for client, values in weights.items()}
    images = {"north": 1, "south": 1000}
    assert EqualClients()(updates, images, updates["north"])["layer"].tolist() == [1.5, 6.0]
