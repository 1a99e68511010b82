"""The losses of semi-supervised meta-learning with disentanglement, as weighted terms (method §3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from monai.losses import FocalLoss, MaskedDiceLoss
from monai.networks import one_hot
from torch import Tensor, nn

from shared_components.data.label_maps import UNKNOWN
from shared_components.errors import InputError
from shared_components.losses.disentanglement import hsic, kl_divergence, latent_regression, rank_penalty
from shared_components.networks.disentangled import DisentangledOutput


class GeneralisationLoss(nn.Module):
    """Terms of the meta-train and the meta-test loss; a term of weight 0 is left out and costs nothing.

    By default those of the segmentation alone count; ``meta_learning.yaml`` has the published weights of the others.

    Args:
        classes: number of classes C, background included.
        reconstruction: weight of the mean absolute difference between reconstruction and image.
        regression: weight of the latent regression.
        prior: weight of both KL divergences and of the independence (HSIC) of the two codes.
        domain: weight of the cross entropy of the domain classifier.
        rank_weight: weight of the first singular value of the anatomy beyond ``rank``.
        rank: rank wanted of the anatomy; None is the number of classes.
        segmentation: weight of Dice and of focal loss, each.
        focal_gamma: exponent of the focal loss, 0 (cross entropy), 1 or at least 2: others have no second
            derivative where a prediction is certain.
        include_background: class 0 counts in the Dice loss.
        sigma: width of the kernels of HSIC, in units of the codes.
        pixels: pixels of a batch that the rank penalty looks at, at most.
    Raises:
        InputError: an exponent that cannot be, or no weight above 0.
    Source: Liu et al. 2021 (DGNet), Sec. 2.2-2.3.
    Deviation: the domain classifier's cross entropy is of logits and the focal loss is focal (published code:
    of probabilities, and with an exponent of 0).
    """

    def __init__(
        self,
        classes: int,
        reconstruction: float = 0.0,
        regression: float = 0.0,
        prior: float = 0.0,
        domain: float = 0.0,
        rank_weight: float = 0.0,
        rank: int | None = None,
        segmentation: float = 5.0,
        focal_gamma: float = 2.0,
        include_background: bool = False,
        sigma: float = 5.0,
        pixels: int = 2000,
    ) -> None:
        super().__init__()
        if focal_gamma not in (0, 1) and focal_gamma < 2:
            raise InputError(f"focal_gamma: expected 0, 1 or at least 2, found {focal_gamma}; 2 is usual")
        self.classes, self.rank = classes, classes if rank is None else rank
        self.reconstruction, self.regression, self.prior = reconstruction, regression, prior
        self.domain, self.rank_weight, self.segmentation = domain, rank_weight, segmentation
        if not self.disentangles and not segmentation:
            raise InputError(
                "segmentation_weight: expected a number above 0 where nothing else counts, found 0"
            )
        self.sigma, self.pixels = sigma, pixels
        # over the batch: slices without any foreground stay defined
        self.dice = MaskedDiceLoss(include_background=include_background, softmax=True, batch=True)
        self.focal = FocalLoss(gamma=focal_gamma, use_softmax=True, reduction="none")

    @property
    def unsupervised(self) -> bool:
        """Whether slices without labels teach anything in both halves of an episode."""
        return bool(self.reconstruction or self.domain)

    @property
    def disentangles(self) -> bool:
        """Whether any term but those of the segmentation counts."""
        weights = (self.reconstruction, self.regression, self.prior, self.domain, self.rank_weight)
        return any(weights)

    def meta_train(
        self, output: DisentangledOutput, batch: Mapping[str, Tensor], labelled: bool
    ) -> dict[str, Tensor]:
        """Weighted terms of the meta-train loss, by name; their sum is the loss.

        Args:
            output: what the network made of ``batch["image"]``.
            batch: image (B, 1, H, W); domain (B,) integers; label (B, 1, H, W) integers when ``labelled``, -1 where
                nobody annotated.
            labelled: with the segmentation terms.
        Raises:
            InputError: ``labelled`` without a label, or with one that is no class.
        """
        terms = self.meta_test(output, batch, labelled)
        codes = output.codes
        if self.regression:
            terms["regression"] = self.regression * latent_regression(output.reencoded, codes)
        if self.prior:
            divergence = sum(kl_divergence(code.mean, code.log_variance) for code in codes)
            terms["kl"] = self.prior * divergence
            terms["hsic"] = self.prior * hsic(codes.style.sample, codes.domain.sample, self.sigma)
        if self.rank_weight:
            terms["rank"] = self.rank_weight * rank_penalty(output.anatomy, self.rank, self.pixels)
        return terms

    def meta_test(
        self, output: DisentangledOutput, batch: Mapping[str, Tensor], labelled: bool
    ) -> dict[str, Tensor]:
        """Weighted terms of the meta-test loss; arguments and result as for :meth:`meta_train`."""
        terms: dict[str, Tensor] = {}
        if self.reconstruction:
            terms["reconstruction"] = self.reconstruction * F.l1_loss(output.reconstruction, batch["image"])
        if self.domain:
            terms["domain"] = self.domain * F.cross_entropy(output.domain_logits, batch["domain"])
        if labelled and self.segmentation:
            terms |= self.supervised(output.scores, batch)
        return terms

    def check_label(self, label: Tensor) -> None:
        """Refuse a label map (B, 1, H, W) with a value that is no class, if the host can tell without waiting.

        Who sends batches to another device calls it before.

        Raises:
            InputError: there is such a value.
        """
        if label.device.type != "cpu":
            return
        least, most = (int(value) for value in label.aminmax())
        if most >= self.classes or least < UNKNOWN:
            raise InputError(
                f"label: expected 0..{self.classes - 1}, found {least}..{most}; name every label"
            )

    def supervised(self, scores: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weighted Dice and focal loss of class scores (B, C, H, W), by name.

        Raises:
            InputError: the batch has no label.
        """
        if "label" not in batch:
            raise InputError(f"labelled batch: expected a label, found {sorted(batch)}; draw labelled slices")
        label = batch["label"]
        self.check_label(label)
        known = (label >= 0).to(scores)
        truth = one_hot(label.clamp(min=0), self.classes)
        # of the C channels of a pixel one counts: their sum, averaged over the pixels that are known; 0 without any
        focal = (self.focal(scores, truth) * known).sum() / known.sum().clamp(min=1)
        return {
            "dice": self.segmentation * self.dice(scores, truth, known),
            "focal": self.segmentation * focal,
        }
