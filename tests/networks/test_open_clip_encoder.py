"""OpenCLIP's encoder against the package itself, where it is installed; its refusals in any case."""

from __future__ import annotations

import importlib.util

import pytest
import torch
import torch.nn.functional as F

from shared_components.errors import InputError
from shared_components.files import save_tensors
from shared_components.networks.open_clip_encoder import OpenClipEncoder

NAME = "ViT-S-32-alt"  # the smallest that the package has
INSTALLED = importlib.util.find_spec("open_clip") is not None


@pytest.mark.skipif(INSTALLED, reason="the package is installed")
def test_without_the_package_the_message_says_what_to_install(tmp_path):
    with pytest.raises(InputError, match=r'pip install -e "\.\[clip\]", or use another encoder'):
        OpenClipEncoder("ViT-L-14", tmp_path / "weights.pt")


@pytest.mark.skipif(not INSTALLED, reason="needs open_clip_torch")
def test_embeddings_are_those_of_the_package(tmp_path):
    import open_clip

    model = open_clip.create_model(NAME, pretrained=None, pretrained_hf=False).eval()
    weights = save_tensors(tmp_path / "weights.pt", model.state_dict())
    encoder = OpenClipEncoder(NAME, weights)
    images = (torch.rand(2, 1, 48, 48) * 2 - 1).requires_grad_()
    grey = F.interpolate((images + 1) / 2, encoder.size, mode="bicubic", antialias=True).expand(-1, 3, -1, -1)
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    expected = model.encode_image((grey - mean) / std, normalize=True)
    assert torch.allclose(encoder(images), expected, atol=1e-5) and not encoder.state_dict()
    encoder(images)[:, 0].sum().backward()
    assert images.grad.abs().sum() > 0
    with pytest.raises(InputError, match=r"expected one of open_clip.list_models\(\), .*found 'hf-hub:a/b'"):
        OpenClipEncoder("hf-hub:a/b", weights)
    other = save_tensors(tmp_path / "other.pt", {"weight": torch.zeros(1)})
    with pytest.raises(InputError, match=r"with names that begin with 'visual.', found weight"):
        OpenClipEncoder(NAME, other)
