"""A checkpoint loader that says in one line what does not fit."""

from __future__ import annotations

from ignite.engine import Engine
from monai.handlers import CheckpointLoader

from shared_components.errors import InputError
from shared_components.files import load_tensors
from shared_components.networks.weights import filled, is_state_dict


class ModelLoader(CheckpointLoader):
    """MONAI's ``CheckpointLoader``, strict and ``weights_only``, whose errors a user can act on.

    Args:
        load_path: file written by ``torch.save`` with the keys of ``load_dict``, or for a single module its bare state
            dict, as the model zoo has it.
        load_dict: name to module.
    Raises:
        InputError: (when the engine starts) the file is missing, unreadable, lacks a name, or its tensors do
            not fit the module.
    """

    def __init__(self, load_path: str, load_dict: dict) -> None:
        super().__init__(load_path=load_path, load_dict=load_dict, map_location="cpu", strict=True)

    def __call__(self, engine: Engine) -> None:
        checkpoint = load_tensors(self.load_path)
        if len(self.load_dict) == 1 and is_state_dict(checkpoint):
            checkpoint = dict.fromkeys(self.load_dict, checkpoint)
        absent = [name for name in self.load_dict if name not in checkpoint]
        if absent:
            raise InputError(
                f"{self.load_path}: expected a key '{absent[0]}', found {sorted(map(str, checkpoint))[:8]}; "
                "give a checkpoint that this bundle's training wrote"
            )
        for name, module in self.load_dict.items():
            filled(module, checkpoint[name], self.load_path)
        self.logger.info(f"loaded {', '.join(self.load_dict)} from {self.load_path}")
