from __future__ import annotations

import pytest
import torch
from torch import nn

from shared_components.errors import InputError
from shared_components.networks.flips import (
    MirrorDisagreement,
    check_flips,
    flip_averaged,
    mirrored_scores,
)


class Lopsided(nn.Module):
    """Class 1 where the image is bright; in rows 0 and 1 whatever the image shows, with the logit ``top``."""

    def __init__(self, top: float) -> None:
        super().__init__()
        self.top = nn.Parameter(torch.tensor(top))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        score = 4 * image
        top = torch.zeros_like(score)
        top[:, :, :2] = self.top
        return torch.cat([torch.zeros_like(score), score + top], dim=1)


def slices() -> torch.Tensor:
    image = torch.full((2, 1, 8, 6), -1.0)
    image[0, :, 3:5] = 1.0
    return image


def test_a_network_that_knows_no_sides_says_the_same_of_mirror_images():
    conv = nn.Conv2d(1, 3, 1)
    image = torch.rand(2, 1, 5, 6)
    for axes in ([], [0], [1], [0, 1]):
        torch.testing.assert_close(mirrored_scores(conv, image, axes), conv(image))
        averaged = torch.softmax(flip_averaged(conv, image, axes), dim=1)
        torch.testing.assert_close(averaged, torch.softmax(conv(image), dim=1))


@pytest.mark.parametrize("axes", [[0], [1], [0, 1]])
def test_is_the_mean_of_the_probabilities_of_all_views(axes):
    torch.manual_seed(0)
    conv, image = nn.Conv2d(1, 3, 3, padding=1), torch.rand(2, 1, 5, 6)
    subsets = {1: [(), (axes[0],)], 2: [(), (0,), (1,), (0, 1)]}[len(axes)]
    views = [torch.softmax(conv(image.flip([a + 2 for a in s])), 1).flip([a + 2 for a in s]) for s in subsets]
    found = flip_averaged(conv, image, axes)
    torch.testing.assert_close(found.exp(), torch.stack(views).mean(0))


def test_without_flips_scores_stay_as_they_are():
    conv, image = nn.Conv2d(1, 3, 3, padding=1), torch.rand(2, 1, 5, 6)
    assert torch.equal(flip_averaged(conv, image, ()), conv(image))


@pytest.mark.parametrize("flips", [0, [2], [0, 0], "01"])
def test_axes_that_slices_do_not_have(flips):
    with pytest.raises(InputError, match="flips: expected in-plane axes"):
        check_flips(flips)
    assert check_flips([1, 0]) == (1, 0)


def test_disagreement_is_the_share_of_all_that_is_found():
    images = list(slices())
    disagreement = MirrorDisagreement(Lopsided(4.5), batch=1)
    assert disagreement(images).tolist() == pytest.approx([4 / 6, 1.0])
    assert MirrorDisagreement(Lopsided(0.0))(images).tolist() == [0.0, 0.0]
    assert MirrorDisagreement(Lopsided(4.5), axis=1)(images).tolist() == [0.0, 0.0]
