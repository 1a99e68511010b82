from __future__ import annotations

import numpy as np
import pytest
import torch

from shared_components.errors import InputError
from shared_components.networks.generator import Generator
from shared_components.networks.semantic_directions import semantic_directions, style_weights
from shared_components.networks.style_layers import ModulatedConv2d


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(24, 2, 4, channels=(8, 8, 6, 4), z_dim=8, w_dim=12, mapping_layers=2, mapping_lr=0.01)


def test_each_row_names_the_layers_that_it_reaches(generator):
    reached = {}
    for layer in generator.modules():
        if isinstance(layer, ModulatedConv2d):
            layer.register_forward_hook(lambda layer, args, _: reached.update({layer: args[1][0, 0]}))
    rows = torch.arange(float(generator.rows))
    generator.synthesis(rows[None, :, None].expand(1, -1, 12), "none")
    for row in range(generator.rows):
        wanted = [layer.affine.weight * layer.affine.scale for layer, w in reached.items() if w == row]
        found = style_weights(generator, row)
        assert len(found) == len(wanted) and all(any(torch.equal(f, w) for w in wanted) for f in found)
    assert sum(len(style_weights(generator, row)) for row in range(generator.rows)) == len(reached) == 11


@pytest.mark.parametrize("rows", [None, [2, 4], [7, 7]])
def test_they_are_the_right_singular_vectors_of_the_style_weights(generator, rows):
    first, last = rows or (0, generator.rows - 1)
    weights = [w for row in range(first, last + 1) for w in style_weights(generator, row)]
    stacked = torch.cat(weights).detach().numpy().astype(np.float64)
    _, singular, expected = np.linalg.svd(stacked)
    found = semantic_directions(generator, rows)
    rank = len(singular)
    np.testing.assert_allclose(found.shares[:rank], singular**2 / (singular**2).sum(), atol=1e-6)
    np.testing.assert_allclose(np.abs((found.vectors[:rank].numpy() * expected[:rank]).sum(1)), 1, atol=1e-5)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(12), atol=1e-5)
    assert float(found.shares[rank:].sum()) < 1e-6


def test_a_direction_that_alone_changes_the_styles_comes_first_and_points_upwards(generator):
    with torch.no_grad():
        for layer in generator.modules():
            if isinstance(layer, ModulatedConv2d):
                layer.affine.weight.zero_()
        generator.layers[2].convolution.affine.weight[:, 5] = -3.0
    found = semantic_directions(generator)
    assert torch.equal(found.vectors[0], torch.eye(12)[5]) and float(found.shares[0]) == 1


@pytest.mark.parametrize("rows", [[0, 8], [-1, 2], [3, 2]])
def test_rows_that_are_not_there_are_refused(generator, rows):
    with pytest.raises(InputError, match=r"direction_rows: expected \[first, last\] within .* rows 0 to 7"):
        semantic_directions(generator, rows)
