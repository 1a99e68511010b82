from __future__ import annotations

import pytest
import torch
from monai.inferers import SliceInferer
from torch import Tensor, nn
from torch.nn.functional import pad

from shared_components.errors import InputError
from shared_components.inferers import FramedSliceInferer
from shared_components.inferers.slice_inferer import NEVER

SLICES = {"roi_size": (-1, -1), "spatial_dim": 2, "sw_batch_size": 2}


def inferer_of(flips=(), size=8, air_margin=None, multiple=1) -> FramedSliceInferer:
    return FramedSliceInferer(size, air_margin, multiple, flips, **SLICES)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(1, 3, 3, padding=1)


def test_without_flips_it_is_monais(network):
    volume = torch.rand(1, 1, 8, 6, 5)
    assert torch.equal(inferer_of()(volume, network), SliceInferer(**SLICES)(volume, network))


@pytest.mark.parametrize("flips", [[0], [1], [0, 1]])
def test_a_mirrored_volume_has_the_mirrored_probabilities(network, flips):
    inferer, volume = inferer_of(flips=flips), torch.rand(1, 1, 8, 6, 5)
    found = inferer(volume, network)
    assert found.shape == (1, 3, 8, 6, 5)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(1, 8, 6, 5))
    for axis in (0, 1):
        same = torch.allclose(inferer(volume.flip(axis + 2), network).flip(axis + 2), found, atol=1e-5)
        assert same == (axis in flips)


def test_is_the_mean_over_both_sides(network):
    volume = torch.rand(1, 1, 8, 6, 2)
    found = inferer_of(flips=[0])(volume, network).exp()
    plain = SliceInferer(**SLICES)
    expected = (plain(volume, network).softmax(1) + plain(volume.flip(2), network).softmax(1).flip(2)) / 2
    torch.testing.assert_close(found, expected)


def test_axes_that_slices_do_not_have():
    with pytest.raises(InputError, match="flips: expected in-plane axes"):
        inferer_of(flips=[2])


def body(rows: int, columns: int) -> Tensor:
    """A volume of tissue in which nothing is air, of three slices."""
    return torch.rand(1, 1, rows, columns, 3, generator=torch.Generator().manual_seed(0)) - 0.5


def in_air(volume: Tensor, above: int, left: int, rows: int, columns: int, noise: float = 0.0) -> Tensor:
    """The volume with air around it, as a larger field of view shows it."""
    below, right = rows - above - volume.shape[2], columns - left - volume.shape[3]
    sides = (0, 0, left, right, above, below)
    air = noise * torch.rand(1, 1, rows, columns, 3, generator=torch.Generator().manual_seed(1)) - 1
    return torch.where(pad(torch.ones_like(volume), sides) > 0, pad(volume, sides), air)


class Statistics(nn.Module):
    """A network whose scores at each pixel depend on the whole slice, as with instance norm."""

    def forward(self, slices: Tensor) -> Tensor:
        return torch.cat([nn.functional.instance_norm(slices), slices], dim=1)


@pytest.mark.parametrize("noise", [0.0, 0.12])
@pytest.mark.parametrize(("above", "left"), [(10, 12), (0, 0), (28, 24), (3, 24)])
def test_what_is_found_does_not_depend_on_the_air_around(above, left, noise):
    inferer, narrow = inferer_of(air_margin=0.0, multiple=4), in_air(body(10, 14), 1, 1, 12, 16)
    found = inferer(in_air(narrow, above, left, 40, 40, noise), Statistics())
    seen = found[:, :, above : above + 12, left : left + 16]
    torch.testing.assert_close(seen, inferer(narrow, Statistics()))
    outside = torch.ones(40, 40, dtype=torch.bool)
    outside[above : above + 12, left : left + 16] = False
    assert found[:, 0, outside].unique().tolist() == [0.0]
    assert found[:, 1, outside].unique().tolist() == [NEVER]
    whole = inferer_of()(in_air(narrow, above, left, 40, 40, noise), Statistics())
    assert not torch.allclose(whole[:, :, above : above + 12, left : left + 16], seen, atol=0.1)


@pytest.mark.parametrize(
    ("volume", "size", "margin", "multiple", "frame"),
    [
        (in_air(body(12, 16), 10, 12, 40, 40), 24, 0.0, 1, (24, 24)),  # what a training slice shows at least
        (in_air(body(12, 16), 10, 12, 40, 40), 8, 0.25, 1, (22, 26)),  # of 14 × 18, to the pixels beside
        (in_air(body(12, 16), 10, 12, 40, 40), 8, 0.0, 8, (16, 24)),
        (in_air(body(12, 16), 10, 12, 40, 40), 8, None, 8, (40, 40)),
        (in_air(body(12, 16), 10, 12, 40, 40), 40, 0.0, 8, (40, 40)),
        (in_air(body(12, 40), 10, 0, 40, 40), 8, 0.0, 1, (14, 40)),
        (torch.full((1, 1, 40, 40, 3), -1.0), 8, 0.0, 1, (40, 40)),
        (body(40, 40), 8, 0.1, 1, (40, 40)),
    ],
)
def test_how_much_the_network_is_shown(volume, size, margin, multiple, frame):
    shown = []

    def network(slices: Tensor) -> Tensor:
        shown.append(tuple(slices.shape[2:]))
        return slices

    found = inferer_of(size=size, air_margin=margin, multiple=multiple)(volume, network)
    assert set(shown) == {frame} and found.shape == volume.shape


def test_one_slice_of_many_with_something_in_the_air_widens_the_frame():
    volume = in_air(body(12, 16), 10, 12, 40, 40)
    volume[..., 30:36, 14:20, 1] = 0.3
    shown = []
    inferer_of(air_margin=0.0)(volume, lambda slices: shown.append(slices.shape[2:]) or slices)
    assert {tuple(shape) for shape in shown} == {(28, 18)}


@pytest.mark.parametrize("tissue", [-0.88, -0.79, -0.71, -0.6, 0.0])
def test_a_field_within_the_body_is_not_cut(tissue):
    volume = tissue + 0.02 * torch.randn(1, 1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    volume[..., 28:36, 28:36, :] = 1.0
    shown = []
    inferer_of(air_margin=0.0)(volume, lambda slices: shown.append(slices.shape[2:]) or slices)
    assert {tuple(shape) for shape in shown} == {(64, 64)}


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_dim_body_around_a_bright_organ_is_shown(noise):
    body = torch.full((1, 1, 30, 34, 3), -0.93)
    body[..., 10:14, 20:24, :] = 1.0
    shown = []
    inferer_of(air_margin=0.0)(in_air(body, 14, 12, 64, 64, noise), lambda s: shown.append(s.shape[2:]) or s)
    assert {tuple(shape) for shape in shown} == {(32, 36)}
