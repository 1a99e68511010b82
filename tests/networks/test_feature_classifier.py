"""Classifier on the generator's features."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shared_components.networks.feature_classifier import FeatureClassifier

CHANNELS = (5, 4, 3)


def features(base: int = 3, batch: int = 2) -> list[torch.Tensor]:
    return [torch.randn(batch, c, base * 2**i, base * 2**i) for i, c in enumerate(CHANNELS)]


def classifier(**kwargs) -> FeatureClassifier:
    return FeatureClassifier(CHANNELS, classes=3, width=6, hidden=4, **kwargs)


@pytest.mark.parametrize("base", [3, 8])
@pytest.mark.parametrize("progressive", [True, False])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_shapes(base, progressive, mode):
    logits = classifier(progressive=progressive, mode=mode)(features(base))
    assert logits.shape == (2, 3, 4 * base, 4 * base)


def _both_sums(mode: str, levels: list[torch.Tensor]) -> list[torch.Tensor]:
    first, second = classifier(mode=mode), classifier(mode=mode, progressive=False)
    second.load_state_dict(first.state_dict())
    return [network.eval()(levels) for network in (first, second)]


def test_progressive_equals_full_resolution_exactly_with_nearest():
    progressive, full = _both_sums("nearest", features())
    torch.testing.assert_close(progressive, full)


def test_progressive_equals_full_resolution_on_constant_features_with_bilinear():
    levels = [torch.randn(2, c, 1, 1).expand(-1, -1, 3 * 2**i, 3 * 2**i) for i, c in enumerate(CHANNELS)]
    progressive, full = _both_sums("bilinear", levels)
    torch.testing.assert_close(progressive, full)


def test_progressive_differs_little_with_bilinear():
    sizes = [(3 * 2**i,) * 2 for i in range(3)]
    coarse = [torch.randn(2, c, 3, 3) for c in CHANNELS]
    smooth = [F.interpolate(c, size=s, mode="bilinear") for c, s in zip(coarse, sizes, strict=True)]
    progressive, full = _both_sums("bilinear", smooth)
    assert (progressive - full).abs().mean() < 0.1 * full.std()


def test_returns_logits_not_probabilities():
    logits = classifier()(features())
    assert not torch.allclose(logits.sum(dim=1), torch.ones(()))
    assert logits.min() < 0


def test_every_resolution_gets_gradient():
    network, levels = classifier(), [f.requires_grad_() for f in features()]
    network(levels).square().sum().backward()
    assert all(f.grad.abs().sum() > 0 for f in levels)
    assert all(p.grad is not None for p in network.parameters())


def test_wrong_number_of_resolutions():
    with pytest.raises(ValueError, match="expected 3 resolutions, found 2"):
        classifier()(features()[:2])
