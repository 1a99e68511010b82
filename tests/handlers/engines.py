"""A trainer that fits one number, for the tests of what listens to trainers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.engines import SupervisedTrainer
from monai.inferers import SimpleInferer
from torch.utils.data import Dataset


class Numbers(Dataset):
    """Pairs of x and 2 x."""

    def __init__(self, count: int = 4) -> None:
        self.values = torch.arange(1.0, count + 1)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"image": self.values[index : index + 1], "label": 2 * self.values[index : index + 1]}


def trainer(handlers: Sequence = (), max_epochs: int = 2, loader: Any = None) -> SupervisedTrainer:
    """Two updates an epoch, shuffled by torch's global random state."""
    torch.manual_seed(3)
    network = torch.nn.Linear(1, 1)
    loader = loader or torch.utils.data.DataLoader(Numbers(), batch_size=2, shuffle=True)
    return SupervisedTrainer(
        device=torch.device("cpu"), max_epochs=max_epochs, train_data_loader=loader, network=network,
        optimizer=torch.optim.Adam(network.parameters(), lr=0.1), loss_function=torch.nn.MSELoss(),
        inferer=SimpleInferer(), decollate=False, train_handlers=list(handlers),
    )  # fmt: skip
