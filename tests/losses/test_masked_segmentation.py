"""Cross entropy and Dice over labelled pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss

from shared_components.losses.masked_segmentation import KnownDiceCELoss, MaskedSegmentationLoss


def reference(
    logits: np.ndarray, label: np.ndarray, weight: np.ndarray, background: bool = False
) -> tuple[float, float]:
    """Cross entropy and 1 - soft Dice of (B, C, H, W), (B, H, W), (B, H, W), sample by sample."""
    exponential = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = exponential / exponential.sum(axis=1, keepdims=True)
    entropies, dices = 0.0, []
    for b in range(len(logits)):
        if weight[b].max() == 0:
            continue
        for c in range(logits.shape[1]):
            truth = (label[b] == c).astype(float)
            entropies -= (weight[b] * truth * np.log(p[b, c])).sum()
            if c or background:
                pw, tw = p[b, c] * weight[b], truth * weight[b]
                dices.append(1 - (2 * (pw * tw).sum() + 1e-5) / (pw.sum() + tw.sum() + 1e-5))
    return entropies / weight.sum(), float(np.mean(dices))


@pytest.fixture
def batch():
    return torch.randn(3, 4, 6, 6), torch.randint(0, 4, (3, 1, 6, 6)), (torch.rand(3, 1, 6, 6) > 0.4).float()


@pytest.mark.parametrize("background", [False, True])
def test_against_numpy(batch, background):
    logits, label, weight = batch
    weight[1] = 0
    arrays = (t.double().numpy() for t in (logits, label[:, 0], weight[:, 0]))
    entropy, dice = reference(*arrays, background=background)
    loss = MaskedSegmentationLoss(cross_entropy=2.0, dice=3.0, include_background=background)
    assert loss(logits, label, weight).item() == pytest.approx(2 * entropy + 3 * dice, rel=1e-4)


def test_unlabelled_samples_change_nothing(batch):
    logits, label, _ = batch
    labelled = torch.tensor([True, False, True])
    loss = MaskedSegmentationLoss()
    torch.testing.assert_close(loss(logits, label, labelled), loss(logits[labelled], label[labelled]))


def test_unlabelled_pixels_have_no_say_and_no_gradient(batch):
    logits, label, weight = batch
    logits.requires_grad_()
    loss = MaskedSegmentationLoss()
    value = loss(logits, label, weight)
    other = torch.where(weight > 0, label, 255)
    torch.testing.assert_close(loss(logits, other, weight), value)
    value.backward()
    assert torch.all(logits.grad[(weight == 0).expand_as(logits)] == 0)
    assert logits.grad.abs().sum() > 0


def test_nothing_labelled_is_zero_with_a_graph(batch):
    logits, label, _ = batch
    logits.requires_grad_()
    value = MaskedSegmentationLoss()(logits, label, torch.zeros(3, dtype=torch.bool))
    value.backward()
    assert value.item() == 0 and torch.all(logits.grad == 0)


def test_perfect_prediction_costs_nothing(batch):
    _, label, weight = batch
    logits = 50.0 * torch.nn.functional.one_hot(label[:, 0], 4).movedim(-1, 1).float()
    assert MaskedSegmentationLoss()(logits, label, weight).item() == pytest.approx(0, abs=1e-4)


def test_a_perfect_prediction_of_what_weighs_little_costs_nothing(batch):
    _, label, weight = batch
    logits = 50.0 * torch.nn.functional.one_hot(label[:, 0], 4).movedim(-1, 1).float()
    assert MaskedSegmentationLoss()(logits, label, 0.1 * weight).item() == pytest.approx(0, abs=1e-4)


def test_label_of_another_shape(batch):
    logits, label, _ = batch
    with pytest.raises(ValueError, match=r"label: expected \(3, 1, 6, 6\), found \(3, 6, 6\)"):
        MaskedSegmentationLoss()(logits, label[:, 0])


def test_weight_of_another_shape(batch):
    logits, label, weight = batch
    with pytest.raises(ValueError, match="weight: expected"):
        MaskedSegmentationLoss()(logits, label, weight[:, 0])


def test_unknown_pixels_weigh_nothing(batch):
    logits, label, weight = batch
    unknown = torch.where(weight > 0, label, -1)
    assert MaskedSegmentationLoss()(logits, unknown) == MaskedSegmentationLoss()(logits, label, weight)
    assert MaskedSegmentationLoss()(logits, unknown, torch.ones(3)) == MaskedSegmentationLoss()(
        logits, label, weight
    )


def test_known_dice_and_cross_entropy_is_monais_where_all_is_known(batch):
    logits, label, _ = batch
    monais = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)
    assert torch.equal(KnownDiceCELoss(batch=True)(logits, label), monais(logits, label))


def test_known_dice_and_cross_entropy_against_numpy(batch):
    logits, label, weight = batch
    known = weight[:, 0] > 0
    p = torch.softmax(logits, dim=1).movedim(1, -1)[known]  # (N, C)
    truth = torch.nn.functional.one_hot(label[:, 0][known], 4)
    overlap, sizes = (p * truth).sum(0), p.sum(0) + truth.sum(0)
    expected = (1 - (2 * overlap + 1e-5) / (sizes + 1e-5)).mean() - (p * truth).sum(1).log().mean()
    loss = KnownDiceCELoss(batch=True)(logits, torch.where(weight > 0, label, -1))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_weights_of_classes_hold_in_both_terms_known_or_not(batch):
    logits, label, weight = batch
    by_class = torch.tensor([0.5, 1.0, 0.5, 2.0])
    loss = KnownDiceCELoss(batch=True, weight=by_class)
    monais = DiceCELoss(to_onehot_y=True, softmax=True, batch=True, weight=by_class)
    assert torch.equal(loss(logits, label), monais(logits, label))
    known = weight[:, 0] > 0
    p = torch.softmax(logits, dim=1).movedim(1, -1)[known]
    truth = torch.nn.functional.one_hot(label[:, 0][known], 4)
    dice = 1 - (2 * (p * truth).sum(0) + 1e-5) / (p.sum(0) + truth.sum(0) + 1e-5)
    entropy = -((p.log() * truth).sum(1) * (by_class * truth).sum(1)).sum() / (by_class * truth).sum()
    found = loss(logits, torch.where(weight > 0, label, -1))
    assert found.item() == pytest.approx(((dice * by_class).mean() + entropy).item(), rel=1e-5)


def test_a_slice_of_which_nothing_is_known_changes_no_term(batch):
    logits, label, _ = batch
    unknown = torch.cat([label, torch.full_like(label[:1], -1)])
    for loss in (KnownDiceCELoss(), KnownDiceCELoss(batch=True), MaskedSegmentationLoss()):
        found = loss(torch.cat([logits, logits[:1]]), unknown)
        assert found.item() == pytest.approx(loss(logits, label).item(), rel=1e-5)


def test_nothing_known_is_zero_with_a_graph(batch):
    logits, label, _ = batch
    loss = KnownDiceCELoss(batch=True)(logits.requires_grad_(), torch.full_like(label, -1))
    loss.backward()
    assert loss == 0 and not logits.grad.any()
