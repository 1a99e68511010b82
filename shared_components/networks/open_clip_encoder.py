"""The image half of an OpenCLIP model as an encoder of slices, from a file of weights that the user has."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.networks.frozen_features import Frozen
from shared_components.networks.image_encoder import ImageEncoder
from shared_components.networks.weights import filled, read_weights

INSTALL = 'pip install -e ".[clip]"'
TOWER = "visual."  # what names of the image half begin with


class OpenClipEncoder(ImageEncoder):
    """Slices as grey pictures, resized and normalised as the model was trained, to its image embeddings.

    Nothing is downloaded: the weights are a file, of which tensors alone are read. They are no part of any state, since
    a state is written every round; the same file must be there when a training goes on.

    Args:
        name: of the architecture, as ``open_clip.list_models()`` has it, such as ``ViT-L-14``.
        path: its weights, ``.safetensors`` or a ``state_dict`` as ``torch.save`` writes it.
    Raises:
        InputError: the package is not installed, it has no such architecture, or the weights do not fit.
    Source: method of Galati et al. 2024 (published: ViT-L-14, width 768).
    """

    def __init__(self, name: str, path: str | os.PathLike) -> None:
        super().__init__()
        visual = _visual(name)
        filled(visual, _tower(Path(path)), path, plan=f"the image half of {name}")
        self.visual = Frozen(visual)
        self.width = int(visual.output_dim)
        size = visual.image_size
        self.size = tuple(size) if isinstance(size, list | tuple) else (size, size)
        for key, values in _normalisation(visual).items():
            self.register_buffer(key, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def features(self, images: Tensor) -> Tensor:
        grey = F.interpolate((images.clamp(-1, 1) + 1) / 2, self.size, mode="bicubic", antialias=True)
        pictures = (grey.expand(-1, 3, -1, -1) - self.mean) / self.std
        return self.visual(pictures)


def _visual(name: str) -> nn.Module:
    """The image half of an architecture, with random weights."""
    try:
        import open_clip
    except ImportError as error:
        raise InputError(
            f"image_encoder: OpenCLIP's package is not installed; {INSTALL}, or use another encoder"
        ) from error
    if name not in open_clip.list_models():  # a name with a prefix would be looked up on the network
        raise InputError(
            f"image_encoder: expected one of open_clip.list_models(), such as ViT-L-14, found {name!r}; correct 'name'"
        )
    return open_clip.create_model(name, pretrained=None, pretrained_hf=False).visual


def _tower(path: Path) -> dict[str, Tensor]:
    """Tensors of the image half, by their names in it."""
    weights = read_weights(path)
    found = {name.removeprefix(TOWER): tensor for name, tensor in weights.items() if name.startswith(TOWER)}
    if not found:
        raise InputError(
            f"{path}: expected the weights of an OpenCLIP model, with names that begin with '{TOWER}', found "
            f"{', '.join(sorted(weights)[:4]) or 'none'}; name the file of its state_dict"
        )
    return found


def _normalisation(visual: nn.Module) -> dict[str, tuple[float, ...]]:
    """Mean and spread of the three colours in training."""
    import open_clip

    known = getattr(visual, "preprocess_cfg", None) or {}
    mean = known.get("mean") or getattr(visual, "image_mean", None) or open_clip.OPENAI_DATASET_MEAN
    std = known.get("std") or getattr(visual, "image_std", None) or open_clip.OPENAI_DATASET_STD
    return {"mean": tuple(map(float, mean)), "std": tuple(map(float, std))}
