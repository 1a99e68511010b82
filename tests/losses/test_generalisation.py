"""Weighted terms of the meta-train and the meta-test loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from shared_components.errors import InputError
from shared_components.losses.disentanglement import hsic, kl_divergence, latent_regression, rank_penalty
from shared_components.losses.generalisation import GeneralisationLoss
from shared_components.networks.adain_decoder import AdainDecoder
from shared_components.networks.disentangled import DisentangledNetwork, DisentangledOutput
from shared_components.networks.style_encoder import StyleEncoder

PRIOR = {"regression", "kl", "hsic", "rank"}
BOTH = {"reconstruction", "domain"}
SEGMENTATION = {"dice", "focal"}
PUBLISHED = {"reconstruction": 1.0, "regression": 0.1, "prior": 0.1, "domain": 1.0, "rank_weight": 0.1}


@pytest.fixture
def network() -> DisentangledNetwork:
    anatomy = torch.nn.Sequential(
        torch.nn.Conv2d(1, 5, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv2d(5, 4, 1)
    )
    style = StyleEncoder(channels=(3,), style=2, domain=2, hidden=4, grid=2)
    return DisentangledNetwork(anatomy, style, AdainDecoder(4, 4, channels=3, hidden=4), classes=3, domains=2)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    label = torch.randint(0, 3, (4, 1, 8, 8))
    return {"image": torch.rand(4, 1, 8, 8) * 2 - 1, "label": label, "domain": torch.tensor([0, 0, 1, 1])}


def cross_entropy(logits: np.ndarray, truth: np.ndarray, gamma: float = 0.0) -> float:
    """Focal loss of (N, C) and (N,), averaged over N."""
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    p = p[np.arange(len(truth)), truth]
    return float((-((1 - p) ** gamma) * np.log(p)).mean())


def dice(logits: np.ndarray, truth: np.ndarray, classes: list[int]) -> float:
    """1 - soft Dice of (B, C, H, W) and (B, H, W), each class over the whole batch, averaged over ``classes``."""
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = []
    for c in classes:
        t = truth == c
        scores.append(1 - (2 * p[:, c][t].sum() + 1e-5) / (p[:, c].sum() + t.sum() + 1e-5))
    return float(np.mean(scores))


@pytest.mark.parametrize(("gamma", "background"), [(2.0, False), (0.0, True)])
def test_every_term_against_its_definition(network, batch, gamma, background):
    out: DisentangledOutput = network(batch["image"])
    loss = GeneralisationLoss(
        3, 1.5, 0.3, 0.2, 0.7, 0.4, segmentation=4.0, focal_gamma=gamma, include_background=background
    )
    found = {name: term.item() for name, term in loss.meta_train(out, batch, labelled=True).items()}
    scores, truth = out.scores.detach().numpy(), batch["label"][:, 0].numpy()
    style, domain = out.codes
    expected = {
        "reconstruction": 1.5 * np.abs(out.reconstruction.detach().numpy() - batch["image"].numpy()).mean(),
        "domain": 0.7 * cross_entropy(out.domain_logits.detach().numpy(), batch["domain"].numpy()),
        "dice": 4.0 * dice(scores, truth, [0, 1, 2] if background else [1, 2]),
        "focal": 4.0 * cross_entropy(np.moveaxis(scores, 1, -1).reshape(-1, 3), truth.reshape(-1), gamma),
        "regression": 0.3 * latent_regression(out.reencoded, out.codes).item(),
        "kl": 0.2
        * (kl_divergence(*style[:2]).item() + kl_divergence(domain.mean, domain.log_variance).item()),
        "hsic": 0.2 * hsic(style.sample, domain.sample, 5.0).item(),
        "rank": 0.4 * rank_penalty(out.anatomy, 3).item(),
    }
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("labelled", [True, False])
def test_which_terms_each_loss_has(network, batch, labelled):
    loss, out = GeneralisationLoss(3, **PUBLISHED), network(batch["image"])
    segmentation = SEGMENTATION if labelled else set()
    assert set(loss.meta_train(out, batch, labelled)) == BOTH | PRIOR | segmentation
    assert set(loss.meta_test(out, batch, labelled)) == BOTH | segmentation


@pytest.mark.parametrize(
    ("weight", "left_out"),
    [
        ("reconstruction", {"reconstruction"}),
        ("regression", {"regression"}),
        ("prior", {"kl", "hsic"}),
        ("domain", {"domain"}),
        ("rank_weight", {"rank"}),
        ("segmentation", SEGMENTATION),
    ],
)
def test_weight_zero_leaves_a_term_out(network, batch, weight, left_out):
    terms = GeneralisationLoss(3, **(PUBLISHED | {weight: 0.0})).meta_train(
        network(batch["image"]), batch, labelled=True
    )
    assert set(terms) == (BOTH | PRIOR | SEGMENTATION) - left_out


def test_a_rank_term_left_out_draws_no_pixels(network, batch):
    out, state = network(batch["image"]), torch.get_rng_state()
    GeneralisationLoss(3, **(PUBLISHED | {"rank_weight": 0.0}), pixels=5).meta_train(
        out, batch, labelled=False
    )
    assert torch.equal(state, torch.get_rng_state())


def test_unlabelled_batches_need_no_label_and_labelled_ones_do(network, batch):
    del batch["label"]
    loss, out = GeneralisationLoss(3, **PUBLISHED), network(batch["image"])
    assert set(loss.meta_test(out, batch, labelled=False)) == BOTH
    with pytest.raises(InputError, match=r"labelled batch: expected a label, found \['domain', 'image'\]"):
        loss.meta_test(out, batch, labelled=True)


@pytest.mark.parametrize("gamma", [0.5, 1.5, -1.0])
def test_focal_exponents_without_a_second_derivative(gamma):
    with pytest.raises(InputError, match=r"focal_gamma: expected 0, 1 or at least 2, found"):
        GeneralisationLoss(3, focal_gamma=gamma)


def test_a_label_that_the_network_has_no_class_for(network, batch):
    batch["label"][0, 0, 0, 0] = 3
    with pytest.raises(InputError, match=r"label: expected 0\.\.2, found 0\.\.3"):
        GeneralisationLoss(3, **PUBLISHED).meta_test(network(batch["image"]), batch, labelled=True)


def trained(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


def meta_loss(network, loss, batch, parameters: dict[str, Tensor], rate: float) -> Tensor:
    """L_meta-train(θ) + L_meta-test(θ - rate · ∇L_meta-train(θ)), both of the same batch and draws."""
    torch.manual_seed(0)
    out = functional_call(network, parameters, (batch["image"],))
    first = sum(loss.meta_train(out, batch, labelled=True).values())
    grads = torch.autograd.grad(first, list(parameters.values()), create_graph=True)
    moved = {name: p - rate * g for (name, p), g in zip(parameters.items(), grads, strict=True)}
    out = functional_call(network, moved, (batch["image"],))
    return first + sum(loss.meta_test(out, batch, labelled=True).values())


def test_gradient_through_an_inner_step_against_finite_differences(network, batch):
    network.double()
    batch = {name: tensor.double() if name == "image" else tensor for name, tensor in batch.items()}
    # MONAI's focal loss computes in single precision, too coarse for differences: Dice stands for both
    loss = GeneralisationLoss(3, **PUBLISHED, pixels=50)
    loss.focal = torch.nn.CrossEntropyLoss()
    parameters = {name: p.detach().clone().requires_grad_() for name, p in trained(network).items()}
    grads = torch.autograd.grad(meta_loss(network, loss, batch, parameters, 0.1), list(parameters.values()))
    direction = {name: torch.randn_like(p) for name, p in parameters.items()}
    slope = sum((g * direction[name]).sum() for g, name in zip(grads, parameters, strict=True)).item()

    def at(step: float) -> float:
        moved = {n: (p.detach() + step * direction[n]).requires_grad_() for n, p in parameters.items()}
        return meta_loss(network, loss, batch, moved, 0.1).item()

    step = 1e-6
    assert slope == pytest.approx((at(step) - at(-step)) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("image", [torch.zeros(4, 1, 8, 8), -torch.ones(1, 1, 8, 8)])
def test_empty_slices_have_finite_second_order_gradients(network, image):
    for parameter in network.anatomy_encoder.parameters():
        torch.nn.init.zeros_(parameter)  # equal channels, constant maps
    count = len(image)
    batch = {"image": image, "label": torch.zeros_like(image).long(), "domain": torch.zeros(count).long()}
    parameters = trained(network)
    meta_loss(network, GeneralisationLoss(3, **PUBLISHED), batch, parameters, 1e-3).backward()
    assert all(torch.isfinite(p.grad).all() for p in parameters.values())


def test_the_segmentation_terms_have_a_second_derivative(batch):
    scores = torch.randn(4, 3, 8, 8, requires_grad=True)
    loss = GeneralisationLoss(3, **PUBLISHED)

    def first_derivative(s: Tensor) -> Tensor:
        return torch.autograd.grad(sum(loss.supervised(s, batch).values()), s, create_graph=True)[0]

    direction = torch.randn_like(scores)
    (product,) = torch.autograd.grad((first_derivative(scores) * direction).sum(), scores)
    moved = [(scores.detach() + sign * 1e-2 * direction).requires_grad_() for sign in (1, -1)]
    numerical = (first_derivative(moved[0]) - first_derivative(moved[1])) / 2e-2
    torch.testing.assert_close(product, numerical.detach(), rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("certainty", [200.0, -200.0])
def test_certain_predictions_right_or_wrong_have_finite_second_derivatives(batch, certainty):
    truth = torch.nn.functional.one_hot(batch["label"][:, 0], 3).movedim(-1, 1).float()
    scores = (certainty * truth).requires_grad_()
    for gamma in (0.0, 1.0, 2.0):
        value = sum(GeneralisationLoss(3, focal_gamma=gamma).supervised(scores, batch).values())
        (first,) = torch.autograd.grad(value, scores, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), scores)
        assert torch.isfinite(first).all() and torch.isfinite(second).all()


def test_unknown_pixels_have_no_say(network, batch):
    """Rows that nobody annotated change nothing: the loss is that of the other rows."""
    loss = GeneralisationLoss(3, **PUBLISHED)
    scores = network(batch["image"]).scores
    half = {"label": batch["label"][..., :4, :]}
    partly = {"label": batch["label"].clone()}
    partly["label"][..., 4:, :] = -1
    expected, found = loss.supervised(scores[..., :4, :], half), loss.supervised(scores, partly)
    assert all(found[name].item() == pytest.approx(expected[name].item(), rel=1e-5) for name in SEGMENTATION)
    gradient = torch.autograd.grad(sum(found.values()), scores)[0]
    assert gradient[..., :4, :].any() and not gradient[..., 4:, :].any()


def test_nothing_known_teaches_nothing(network, batch):
    terms = GeneralisationLoss(3, **PUBLISHED).supervised(
        network(batch["image"]).scores, {"label": torch.full((4, 1, 8, 8), -1)}
    )
    assert [terms[name].item() for name in ("dice", "focal")] == [0, 0]


def test_a_loss_of_nothing_is_refused():
    with pytest.raises(
        InputError, match="segmentation_weight: expected a number above 0 where nothing else counts"
    ):
        GeneralisationLoss(3, segmentation=0)
    assert GeneralisationLoss(3, segmentation=0, reconstruction=1.0).disentangles
