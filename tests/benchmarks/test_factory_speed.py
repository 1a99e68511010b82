from __future__ import annotations

import pytest
import torch
from torch import nn

from shared_components.benchmarks.factory_speed import (
    TextbookDownsample,
    TextbookModulatedConv2d,
    TextbookUpsample,
    batch_of,
    factory_speed,
    make_trainer,
    textbook,
    update,
)
from shared_components.networks.style_layers import (
    FirDownsample,
    FirUpsample,
    ModulatedConv2d,
    fir_downsample,
    fir_upsample,
)

SMALL = {"channels": (16, 12, 8), "width": 16}


def test_the_filters_are_the_textbooks():
    x = torch.randn(2, 3, 6, 6)
    assert torch.allclose(TextbookUpsample()(x), fir_upsample(x), atol=1e-6)
    assert torch.allclose(TextbookDownsample()(x), fir_downsample(x), atol=1e-6)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("kernel", "demodulate", "upsample"),
    [(3, True, True), (3, True, False), (3, False, True), (1, False, False)],
)
def test_a_modulated_convolution_is_the_textbooks(kernel, demodulate, upsample, fused):
    layer = ModulatedConv2d(5, 7, kernel, 4, demodulate, upsample, fused)
    x, w = torch.randn(3, 5, 6, 6), torch.randn(3, 4)
    assert torch.allclose(TextbookModulatedConv2d(layer)(x, w), layer(x, w), atol=1e-5)


def test_every_layer_of_a_textbook_network_is_exchanged():
    ours = make_trainer("ours", 16, **SMALL).network
    kinds = {type(module) for module in textbook(ours).modules()}
    assert {TextbookModulatedConv2d, TextbookUpsample, TextbookDownsample} <= kinds
    assert not kinds & {ModulatedConv2d, FirUpsample, FirDownsample}
    assert {FirUpsample, FirDownsample} <= {type(module) for module in ours.modules()}


@pytest.mark.parametrize("iteration", [1, 2, 5])
def test_updates_of_both_forms_agree(iteration):
    """Gradients, with the lazy terms that the iteration has, and the losses."""
    trainers = [make_trainer(form, 16, **SMALL) for form in ("ours", "textbook")]
    for trainer in trainers:
        update(trainer, batch_of(16, 4), iteration)
    losses = [trainer.state.output["loss"] for trainer in trainers]
    assert losses[0].keys() == losses[1].keys() and ("r1" in losses[0]) == (iteration == 1)
    assert all(torch.allclose(losses[0][name], losses[1][name], rtol=1e-4, atol=1e-4) for name in losses[0])
    for parts in zip(*([t.network.generator, t.network.discriminator] for t in trainers), strict=True):
        assert _gap(*parts) < 1e-4


def _gap(one: nn.Module, other: nn.Module) -> float:
    """The largest difference of a gradient, relative to that tensor's largest entry."""
    gradients = [{name: p.grad for name, p in network.named_parameters()} for network in (one, other)]
    assert gradients[0].keys() == gradients[1].keys()
    found = [(a, gradients[1][name]) for name, a in gradients[0].items() if a is not None]
    return max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-3)) for a, b in found)


@pytest.mark.thorough
def test_the_table_tells_time_and_memory(capsys):
    row = (
        factory_speed([8], 2, repeats=1, threads=1, channels=(16, 12), width=16)
        .splitlines()[2]
        .split("|")[1:-1]
    )
    numbers = [float(cell) for cell in row]
    assert numbers[0] == 8 and min(numbers[2:7]) > 0 and all(0.1 < peak < 10 for peak in numbers[7:])
    assert numbers[5] == pytest.approx(numbers[4] / numbers[2], rel=0.2)
