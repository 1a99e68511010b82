from __future__ import annotations

import pytest
import torch

from shared_components.networks.translator import AdaptationNetwork, Translator


@pytest.mark.parametrize("size", [(16, 16), (32, 24)])
def test_translations_have_the_images_shape_and_range(size):
    image = torch.rand(3, 1, *size) * 2 - 1
    translated = Translator(channels=(4, 8, 8))(image)
    assert translated.shape == image.shape and translated.abs().max() < 1


def test_without_a_change_it_is_the_images_tanh():
    translator = Translator(channels=(4, 8))
    for parameter in translator.unet.parameters():
        torch.nn.init.zeros_(parameter)
    image = torch.rand(2, 1, 16, 16) * 2 - 1
    torch.testing.assert_close(translator(image), torch.tanh(image))


def test_noise_makes_translations_differ_and_none_makes_them_alike():
    image = torch.rand(1, 1, 16, 16)
    noisy, still = Translator(channels=(4, 8)), Translator(channels=(4, 8), noise=0.0)
    assert not torch.equal(noisy(image), noisy(image))
    state = torch.get_rng_state()
    assert torch.equal(still(image), still(image)) and torch.equal(state, torch.get_rng_state())


@pytest.fixture
def network() -> AdaptationNetwork:
    return AdaptationNetwork(torch.nn.Conv2d(1, 2, 1), Translator(channels=(4, 8)), torch.nn.Linear(1, 1))


def test_the_teacher_is_a_frozen_copy_that_stays_until_renewed(network):
    image = torch.rand(1, 1, 4, 4)
    before = network.teacher(image)
    assert torch.equal(before, network(image))
    assert not any(parameter.requires_grad for parameter in network.teacher.parameters())
    with torch.no_grad():
        network.segmenter.weight += 1
    assert torch.equal(network.teacher(image), before) and not torch.equal(network(image), before)
    network.renew_teacher()
    assert torch.equal(network.teacher(image), network(image))
    assert network.teacher.weight.data_ptr() != network.segmenter.weight.data_ptr()


def test_the_teacher_labels_as_in_inference_while_the_segmenter_trains():
    segmenter = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Dropout(0.5))
    network = AdaptationNetwork(segmenter, Translator(channels=(4, 8)), torch.nn.Linear(1, 1)).train()
    image = torch.rand(2, 1, 8, 8)
    assert network.segmenter.training and torch.equal(network.teacher(image), network.teacher(image))
    assert not network.teacher[0].num_batches_tracked and not network.eval().segmenter.training


def test_with_an_average_that_teaches_and_is_the_result():
    network = AdaptationNetwork(
        torch.nn.Conv2d(1, 2, 1), torch.nn.Identity(), torch.nn.Identity(), average=0.5
    )
    start = network.segmenter.weight.detach().clone()
    for _ in range(2):
        network.update_average()
        with torch.no_grad():
            network.segmenter.weight += 1
    network.renew_teacher()
    torch.testing.assert_close(network.teacher.weight, start + 0.9)
    assert network.result is network.average.module and network.result.weight.requires_grad is False


def test_without_an_average_the_result_is_the_segmenter(network):
    network.update_average()
    assert network.result is network.segmenter and int(network.average.n_averaged) == 0


def test_gradient_reaches_the_segmenter_alone(network):
    network(torch.rand(1, 1, 4, 4)).sum().backward()
    reached = {
        name.split(".")[0] for name, parameter in network.named_parameters() if parameter.grad is not None
    }
    assert reached == {"segmenter"}
