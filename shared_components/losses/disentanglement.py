"""Losses that keep anatomy, style and domain apart (method §3); all are twice differentiable everywhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from shared_components.networks.style_encoder import Codes

SINGULAR_EPS = 1e-6  # under the root: bends the kink of a singular value at 0, changes one of 1 by 5e-7
GAP_EPS = 1e-4  # of the mean eigenvalue: bounds the second derivative where eigenvalues coincide


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""KL(N(m, v) ‖ N(0, I)) :math:`= \frac12 \sum_i (m_i^2 + v_i - 1 - \log v_i)`, summed over the code.

    Args:
        mean: (B, n).
        log_variance: (B, n).
    Returns:
        Scalar, the mean over B.
    Source: Kingma and Welling 2014, App. B.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()


def hsic(x: Tensor, y: Tensor, sigma: float = 5.0) -> Tensor:
    r"""Hilbert–Schmidt independence criterion :math:`\mathrm{tr}(KHLH) / (n - 1)^2`; 0 when independent.

    K and L are Gaussian kernels :math:`\exp(-\lVert a - b \rVert^2 / 2\sigma^2)` of the n samples, H centres.
    The scaling is that of Gretton et al., whose bias is O(1/n); one sample says nothing and gives 0.

    Args:
        x: codes, (B, n).
        y: codes of the same samples, (B, m).
        sigma: width of both kernels, in units of the codes.
    Returns:
        Scalar.
    Source: Gretton et al. 2005, Def. 2 (Eq. 9).
    """
    kernel_x, kernel_y = _gaussian_kernel(x, sigma), _gaussian_kernel(y, sigma)
    centred = kernel_x - kernel_x.mean(dim=0, keepdim=True)
    centred = centred - centred.mean(dim=1, keepdim=True)  # HKH; tr(HKH L) = tr(KHLH)
    return (centred * kernel_y).sum() / max(len(x) - 1, 1) ** 2


def _gaussian_kernel(x: Tensor, sigma: float) -> Tensor:
    squares = (x[:, None] - x[None]).square().sum(dim=-1)  # (B, B); no root, so smooth at 0
    return torch.exp(-squares / (2 * sigma**2))


def latent_regression(reencoded: Codes, codes: Codes) -> Tensor:
    """Mean absolute difference between the codes that were decoded and their re-encoded means.

    Args:
        reencoded: codes of the reconstruction.
        codes: codes that it was decoded from; their samples are what the decoder saw.
    Returns:
        Scalar, the mean over both codes' entries and B.
    """
    found = torch.cat([reencoded.style.mean, reencoded.domain.mean], dim=1)
    return F.l1_loss(found, torch.cat([codes.style.sample, codes.domain.sample], dim=1))


def rank_penalty(anatomy: Tensor, rank: int, pixels: int = 2000) -> Tensor:
    """First singular value beyond ``rank`` of the soft-maxed anatomy vectors of random pixels.

    It grows with the root of the number of pixels. Pixels are drawn without replacement from torch's global
    generator; the singular value is the root of an eigenvalue of the A × A Gram matrix, in float64.

    Args:
        anatomy: (B, A, H, W), before any softmax.
        rank: number of singular values that are free; 0 when there is none beyond.
        pixels: rows of the matrix, at most.
    Returns:
        Scalar in the dtype of ``anatomy``.
    Source: Liu et al. 2021 (DGNet), Sec. 2.2.
    Deviation: soft-maxed in every update (the published code takes logits when there is no label).
    """
    if rank >= anatomy.shape[1]:
        return 0 * anatomy.sum()  # of the graph, for a training that has no other term
    vectors = torch.softmax(_random_pixels(anatomy, pixels).double(), dim=1)  # (P, A)
    value = ordered_eigenvalue(vectors.t() @ vectors, rank)
    return torch.sqrt(value.clamp_min(0) + SINGULAR_EPS).to(anatomy.dtype)


def _random_pixels(anatomy: Tensor, pixels: int) -> Tensor:
    """At most ``pixels`` vectors (P, A) of (B, A, H, W); a draw only when there are more."""
    flat = anatomy.flatten(2)  # (B, A, H·W)
    batch, channels, area = flat.shape
    if batch * area <= pixels:
        return flat.movedim(1, 2).reshape(-1, channels)
    chosen = torch.randperm(batch * area, device=anatomy.device)[:pixels]
    return flat[chosen // area, :, chosen % area]


def ordered_eigenvalue(matrix: Tensor, index: int) -> Tensor:
    r"""The eigenvalue of place ``index``, largest first, with finite first and second derivatives.

    Around the present matrix :math:`M_0 = U \Lambda U^T` and with :math:`E = U^T (M - M_0) U`,

    .. math:: \lambda_k(M) = \lambda_k + E_{kk} + \sum_{j \ne k} E_{jk}^2 / (\lambda_k - \lambda_j) + O(E^3),

    whose value and first two derivatives at M_0 are those of the eigenvalue. Differentiating an eigenvector
    instead divides by gaps that may be 0; here 1 / gap is taken as gap / (gap² + δ²). The eigenvectors of so small a
    matrix are found on the host, which a GPU's solver would wait for as well, several times.

    Args:
        matrix: symmetric, (A, A).
        index: 0..A-1.
    Returns:
        Scalar; NaN for a matrix that is not finite.
    Source: Kato 1995, Perturbation Theory for Linear Operators, Sec. II.2.
    """
    present = matrix.detach()
    # without what is not finite, of which the solver raises an error that tells nothing of the training
    finite = present.double().cpu().nan_to_num(0, 0, 0)
    values, vectors = torch.linalg.eigh(finite)  # ascending
    values, vectors = (part.to(matrix.device, non_blocking=True) for part in (values, vectors))
    place = len(values) - 1 - index
    gaps = values[place] - values
    inverse = gaps / (
        gaps.square() + (GAP_EPS * values.abs().mean()).square() + torch.finfo(values.dtype).tiny
    )
    # (A,), exactly 0 at the present matrix
    change = vectors.t() @ ((matrix - present).double() @ vectors[:, place])
    none = 0 * (matrix - present).sum()  # 0, NaN for a matrix that is not finite
    return values[place] + change[place] + (change.square() * inverse).sum() + none
