"""The network of the segmentation bundle, whole."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import BasicUNet, UNet
from torch.func import functional_call

from shared_components.errors import InputError
from shared_components.networks.adain_decoder import AdainDecoder
from shared_components.networks.disentangled import AnatomySegmenter, DisentangledNetwork
from shared_components.networks.style_encoder import StyleEncoder


def build(classes: int = 3, domains: int = 2, anatomy: int = 4, **options) -> DisentangledNetwork:
    encoder = UNet(2, 1, anatomy, channels=(4, 6, 8), strides=(2, 2), norm="instance")
    style = StyleEncoder(channels=(4, 4), style=3, domain=2, hidden=8, grid=2)
    decoder = AdainDecoder(anatomy, 5, channels=4, hidden=8)
    return DisentangledNetwork(encoder, style, decoder, classes, domains, **options)


@pytest.mark.parametrize("size", [(16, 16), (24, 40)])
@pytest.mark.parametrize(("classes", "domains", "anatomy"), [(3, 2, 4), (2, 1, 2), (5, 4, 7)])
def test_fields_of_the_output(size, classes, domains, anatomy):
    out = build(classes, domains, anatomy)(torch.rand(2, 1, *size) * 2 - 1)
    assert out.anatomy.shape == (2, anatomy, *size)
    assert torch.equal(out.scores, out.anatomy[:, :classes])
    assert out.domain_logits.shape == (2, domains)
    assert out.reconstruction.shape == (2, 1, *size)
    assert out.reencoded.style.mean.shape == out.codes.style.mean.shape == (2, 3)


def test_parts_are_wired_as_described():
    network = build().eval()
    image = torch.rand(2, 1, 16, 16)
    out = network(image)
    codes = torch.cat([out.codes.style.mean, out.codes.domain.mean], dim=1)
    expected = network.decoder(out.anatomy.softmax(dim=1), codes)
    torch.testing.assert_close(out.reconstruction, expected)
    torch.testing.assert_close(out.domain_logits, network.domain_classifier(out.codes.domain.mean))
    torch.testing.assert_close(out.reencoded.domain.mean, network.style_encoder(expected).domain.mean)


def test_soft_maxed_anatomy_hides_what_all_channels_share():
    anatomy, style, domain = torch.randn(1, 4, 8, 8), torch.randn(1, 3), torch.randn(1, 2)
    shared = anatomy + torch.randn(1, 1, 8, 8)
    hides, shows = build(), build(anatomy_activation="none")
    torch.testing.assert_close(
        hides.decode(shared, style, domain), hides.decode(anatomy, style, domain), rtol=1e-3, atol=1e-4
    )
    assert not torch.allclose(
        shows.decode(shared, style, domain), shows.decode(anatomy, style, domain), atol=1e-2
    )


def test_swaps_take_anatomy_of_one_and_style_of_the_other():
    network = build().eval()
    first, second = torch.rand(2, 1, 1, 16, 16)
    state = torch.get_rng_state()
    anatomy = network.encode_anatomy(first)
    codes = [network.style_encoder(image) for image in (second, first)]
    swapped, own = (network.decode(anatomy, code.style.mean, code.domain.mean) for code in codes)
    assert torch.equal(state, torch.get_rng_state())  # pictures change no training
    assert swapped.shape == first.shape and not torch.equal(swapped, own)
    torch.testing.assert_close(own, network(first).reconstruction)


def test_paper_widths_have_the_published_number_of_parameters():
    network = DisentangledNetwork(
        BasicUNet(spatial_dims=2, in_channels=1, out_channels=8, features=(32, 64, 128, 256, 512, 32)),
        StyleEncoder(channels=(32, 64, 128, 256), hidden=1440),
        AdainDecoder(8, 16, channels=16, hidden=192),
        classes=4,
        domains=3,
    )
    trained = [p for p in network.parameters() if p.requires_grad]  # without the running average
    assert sum(p.numel() for p in trained) == pytest.approx(14.2e6, abs=0.05e6)


def test_too_few_anatomy_channels():
    with pytest.raises(
        InputError, match="anatomy_channels: expected at least 5, one for each class, found 4"
    ):
        build(classes=5, anatomy=4)
    with pytest.raises(InputError, match="expected at least 3, one for each class, found 2"):
        AnatomySegmenter(torch.nn.Conv2d(1, 2, 1), classes=3)(torch.rand(1, 1, 4, 4))


def test_encoder_and_decoder_that_differ_in_channels():
    network = build()
    network.anatomy_encoder = torch.nn.Conv2d(1, 6, 1)
    with pytest.raises(InputError, match=r"anatomy_encoder: expected 4 output channels.* found 6"):
        network(torch.rand(1, 1, 8, 8))


@pytest.mark.parametrize("average", [-0.1, 1.0, 2])
def test_a_decay_that_is_none(average):
    with pytest.raises(InputError, match=r"average: expected a decay from 0 .* to below 1"):
        build(average=average)


def test_without_averaging_the_average_is_the_encoder_itself():
    network = build(average=0.0)
    for _ in range(2):
        with torch.no_grad():
            for parameter in network.anatomy_encoder.parameters():
                parameter.add_(1.0)
        network.update_average()
    pairs = zip(
        network.averaged_encoder.module.parameters(), network.anatomy_encoder.parameters(), strict=True
    )
    assert all(torch.equal(one, other) for one, other in pairs)


def test_unknown_activation():
    with pytest.raises(InputError, match=r"expected one of \['softmax', 'none'\], found 'relu'"):
        build(anatomy_activation="relu")


@pytest.mark.parametrize(
    "encoder",
    [
        UNet(2, 1, 5, channels=(4, 6), strides=(2,), norm="instance"),
        BasicUNet(2, 1, 5, features=(4, 4, 4, 4, 4, 4)),
    ],
)
def test_segmenter_gives_the_class_scores_and_can_be_scripted(encoder):
    image = torch.rand(2, 1, 32, 48)
    segmenter = AnatomySegmenter(encoder, classes=3).eval()
    scripted = torch.jit.script(segmenter)
    assert torch.equal(segmenter(image), encoder(image)[:, :3])
    torch.testing.assert_close(scripted(image), segmenter(image))


def test_segmenters_weights_are_the_networks():
    network = build()
    segmenter = AnatomySegmenter(build().anatomy_encoder, classes=3)
    weights = {k: v for k, v in network.state_dict().items() if k.startswith("anatomy_encoder.")}
    segmenter.load_state_dict(weights, strict=True)
    image = torch.rand(1, 1, 16, 16)
    assert torch.equal(segmenter(image), network(image).scores)


def test_functional_call_uses_the_parameters_given_and_no_others():
    network, other = build().eval(), build().eval()
    given = {n: p.detach().clone().requires_grad_() for n, p in other.named_parameters() if p.requires_grad}
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    image = torch.rand(2, 1, 16, 16)
    out = functional_call(network, given, (image,))
    torch.testing.assert_close(out.reconstruction, other(image).reconstruction)
    loss = (
        out.domain_logits.square().sum() + out.reencoded.style.log_variance.sum() + out.scores.square().sum()
    )
    grads = torch.autograd.grad(loss, list(given.values()))
    assert all(g.abs().sum() > 0 for name, g in zip(given, grads, strict=True) if name.endswith("weight"))


def test_the_average_follows_the_anatomy_encoder_slowly():
    network = build(average=0.9)
    average = network.averaged_encoder.module
    name, start = next((n, p.detach().clone()) for n, p in network.anatomy_encoder.named_parameters())
    network.update_average()  # the first starts it
    with torch.no_grad():
        dict(network.anatomy_encoder.named_parameters())[name].add_(1.0)
    network.update_average()
    # the decay begins at 1 / 10
    torch.testing.assert_close(dict(average.named_parameters())[name], start + 0.9)
    assert not any(p.requires_grad for p in average.parameters())
