"""Residual encoder into W+ and content maps."""

from __future__ import annotations

import pytest
import torch

from shared_components.errors import InputError
from shared_components.networks.residual_encoder import ResidualEncoder

WIDTHS = (4, 6, 8, 10)


MEANS = torch.arange(3)[:, None].expand(-1, 7).float()


def encoder(**kwargs) -> ResidualEncoder:
    """An encoder that is past its first step: its linear layers start at zero."""
    network = ResidualEncoder(rows=5, latent_means=MEANS, widths=WIDTHS, **kwargs)
    torch.nn.init.normal_(network.to_rows.weight)
    return network


@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize("blocks", [(1, 1, 1, 1), (2, 1, 2, 1)])
def test_shapes(size, blocks):
    out = encoder(blocks=blocks)(torch.randn(2, 1, size, size), torch.tensor([0, 2]))
    assert out.w_plus.shape == (2, 5, 7)
    sizes = ResidualEncoder.content_sizes(size)
    assert [tuple(c.shape) for c in out.content] == [(2, w, s, s) for w, s in zip(WIDTHS, sizes, strict=True)]


def test_content_sizes_of_the_published_resolution():
    assert ResidualEncoder.content_sizes(512) == (256, 128, 64, 32)


def test_untrained_w_plus_is_the_latent_mean_of_the_domain_decoded():
    network = ResidualEncoder(rows=5, latent_means=MEANS, widths=WIDTHS)
    out = network(torch.randn(2, 1, 32, 32), 0, torch.tensor([2, 1]))
    assert torch.equal(out.w_plus, torch.tensor([2.0, 1.0])[:, None, None].expand(2, 5, 7))


def test_rows_may_have_means_of_their_own():
    means = torch.arange(15.0).view(3, 5, 1).expand(-1, -1, 7)
    out = ResidualEncoder(rows=5, latent_means=means, widths=WIDTHS)(torch.randn(2, 1, 32, 32), 0, 2)
    assert torch.equal(out.w_plus, means[2].expand(2, 5, 7))


def test_embedding_is_normalised():
    network = encoder()
    image = torch.randn(2, 1, 32, 32)
    before = network.eval()(image, 1).w_plus
    with torch.no_grad():
        network.embedding.mul_(3)
    torch.testing.assert_close(network(image, 1).w_plus, before)


def test_one_domain_as_a_number_or_as_labels_is_the_same():
    network, image = encoder().eval(), torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(network(image, 1).w_plus, network(image, torch.tensor([1, 1])).w_plus)


def test_mixed_batch_equals_its_parts():
    network, image = encoder().train(), torch.randn(4, 1, 32, 32)
    domain = torch.tensor([0, 1, 1, 0])
    mixed = network(image, domain)
    for k in (0, 1):
        own = network(image[domain == k], k)
        torch.testing.assert_close(mixed.w_plus[domain == k], own.w_plus)
        torch.testing.assert_close(mixed.content[-1][domain == k], own.content[-1])


def test_copied_domain_encodes_alike_up_to_the_latent_mean():
    network = encoder().train()
    with torch.no_grad():
        network.embedding[0].uniform_(0.5, 2)
    network(torch.randn(4, 1, 32, 32) + 1, 0)
    network.copy_domain(0, 2)
    image = torch.randn(2, 1, 32, 32)
    first, second = network.eval()(image, 0), network(image, 2)
    torch.testing.assert_close(first.w_plus - 0, second.w_plus - 2)
    assert torch.equal(first.content[0], second.content[0])


def test_latent_means_travel_with_the_weights_but_do_not_train():
    network = encoder()
    assert "latent_means" in network.state_dict()
    assert "latent_means" not in dict(network.named_parameters())


def test_wrong_number_of_stages():
    for stages in ({"widths": (4, 8)}, {"blocks": (1, 1)}):
        with pytest.raises(InputError, match=r"encoder_widths and encoder_blocks: expected 4 numbers each"):
            ResidualEncoder(rows=5, latent_means=torch.zeros(2, 7), **stages)
