"""MONAI's random transforms of slices, drawn for each slice and applied to all of a batch at once, where it lies.

Item by item on the host they took most of an update on a GPU, which waited meanwhile. Each function draws what its
transform draws for every slice in turn, so the result is that of the transform itself, but for the noise, which the
batch's own device draws. Numbers go to the device without waiting for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from monai.networks.layers import gaussian_1d
from monai.transforms import RandAffined, RandFlipd, RandGaussianNoised
from torch import Tensor

from shared_components.data.random_looks import AIR, RandBiasd, RandBlurd, RandLookd

Pair = tuple[Tensor, Tensor]


def affine(step: RandAffined, image: Tensor, label: Tensor) -> Pair:
    """Move image (bilinear) and label (nearest), both (B, 1, H, W), about the centre; the border is repeated."""
    size = image.shape[-2:]
    drawn = [_matrix(step, size) for _ in image]
    chosen = [number for number, matrix in enumerate(drawn) if matrix is not None]
    if not chosen:
        return image, label
    theta = _on(image, np.stack([_normalised(drawn[number], *size) for number in chosen]))
    grid = F.affine_grid(theta, [len(chosen), 1, *size], align_corners=False)

    def moved(batch: Tensor, mode: str) -> Tensor:
        return F.grid_sample(batch.float(), grid, mode=mode, padding_mode="border", align_corners=False)

    return (
        _replaced(image, chosen, lambda part: moved(part, "bilinear")),
        _replaced(label, chosen, lambda part: moved(part, "nearest")),
    )


def _matrix(step: RandAffined, size: Sequence[int]) -> np.ndarray | None:
    """A slice's matrix (3, 3) of rows and columns from the centre, pixels; None: it stays as it is."""
    step.randomize(None)
    step.rand_affine.randomize()
    if not step._do_transform:
        return None
    step.rand_affine.rand_affine_grid(tuple(size), lazy=True)
    matrix = np.asarray(step.rand_affine.rand_affine_grid.get_transformation_matrix())
    for _ in step.keys:  # the transform draws once more for each key, and uses none of it
        step.rand_affine.randomize()
    return matrix


def _normalised(matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    """The matrix (2, 3) of torch's ``affine_grid``: column before row, and -1 to 1 from border to border."""
    scale = np.diag([2 / height, 2 / width, 1.0])
    normal = scale @ matrix[:3, :3] @ np.linalg.inv(scale)
    return normal[[1, 0]][:, [1, 0, 2]].astype(np.float32)


def flip(step: RandFlipd, image: Tensor, label: Tensor) -> Pair:
    """Mirror image and label along the step's axis."""
    chosen = _chosen(step, image)
    axis = step.flipper.spatial_axis + 2
    return tuple(_replaced(part, chosen, lambda some: some.flip(axis)) for part in (image, label))


def look(step: RandLookd, image: Tensor, label: Tensor) -> Pair:
    """Intensities changed by the numbers that a random look draws."""
    drawn = []
    for _ in image:
        step.randomize()
        drawn.append(step.drawn)
    chosen = [number for number, numbers in enumerate(drawn) if numbers is not None]
    if not chosen:
        return image, label
    numbers = _on(image, np.stack([drawn[number] for number in chosen]))
    return _replaced(image, chosen, lambda part: step.applied(part, numbers)), label


def blur(step: RandBlurd, image: Tensor, label: Tensor) -> Pair:
    """Gaussian blur along rows and columns; air lies beyond the border."""
    sigmas = []
    chosen = _chosen(step, image)
    for _ in chosen:
        step.rand_smooth.randomize(None)
        sigmas.append((step.rand_smooth.x, step.rand_smooth.y))
    if not chosen:
        return image, label
    kernels = [_on(image, _kernels(along)) for along in zip(*sigmas, strict=True)]  # (n, taps), each
    return _replaced(image, chosen, lambda part: _filtered(part - AIR, *kernels) + AIR), label


def _kernels(sigmas: Sequence[float]) -> Tensor:
    """Kernels (n, taps) of several standard deviations, pixels, with zeros up to the longest."""
    kernels = [gaussian_1d(torch.tensor(sigma), truncated=4.0) for sigma in sigmas]
    taps = max(map(len, kernels))
    return torch.stack([F.pad(kernel, [(taps - len(kernel)) // 2] * 2) for kernel in kernels])


def _filtered(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(n, 1, H, W), each slice by its own kernels (n, taps), zeros beyond the border."""
    count = len(image)
    out = image.transpose(0, 1)  # (1, n, H, W)
    out = F.conv2d(out, rows[:, None, :, None], padding=(rows.shape[1] // 2, 0), groups=count)
    out = F.conv2d(out, columns[:, None, None, :], padding=(0, columns.shape[1] // 2), groups=count)
    return out.transpose(0, 1)


def bias_field(step: RandBiasd, image: Tensor, label: Tensor) -> Pair:
    """What is above air times the exponential of a polynomial of the place."""
    inner, size, coefficients = step.rand_bias_field, image.shape[-2:], []
    chosen = _chosen(step, image)
    for _ in chosen:
        inner.randomize(img_size=size)
        matrix = np.zeros((inner.degree + 1, inner.degree + 1))
        matrix[np.tril_indices(inner.degree + 1)] = inner._coeff
        coefficients.append(matrix)
    if not chosen:
        return image, label
    rows, columns = (_on(image, _legendre(pixels, inner.degree)) for pixels in size)
    field = torch.einsum("nij,hi,wj->nhw", _on(image, np.stack(coefficients)), rows, columns)
    return _replaced(image, chosen, lambda part: (part - AIR) * field.exp()[:, None] + AIR), label


def _legendre(pixels: int, degree: int) -> np.ndarray:
    """Legendre polynomials (pixels, degree + 1) from -1 to 1."""
    return np.polynomial.legendre.legvander(np.linspace(-1, 1, pixels), degree)


def noise(step: RandGaussianNoised, image: Tensor, label: Tensor) -> Pair:
    """Gaussian noise, drawn by the device from a seed of the step's random state."""
    chosen, inner = _chosen(step, image), step.rand_gaussian_noise
    if not chosen:
        return image, label
    sizes = [inner.R.uniform(0, inner.std) if inner.sample_std else inner.std for _ in chosen]
    source = torch.Generator(image.device).manual_seed(int(inner.R.randint(2**31 - 1)))
    drawn = torch.randn(
        len(chosen), *image.shape[1:], generator=source, device=image.device, dtype=image.dtype
    )
    drawn = inner.mean + drawn * _on(image, np.array(sizes))[:, None, None, None]
    return _replaced(image, chosen, lambda part: part + drawn), label


def _chosen(step, batch: Tensor) -> list[int]:
    """The slices that a transform with one draw before all others takes, in order."""
    found = []
    for number in range(len(batch)):
        step.randomize(None)
        if step._do_transform:
            found.append(number)
    return found


def _on(batch: Tensor, numbers: np.ndarray | Tensor) -> Tensor:
    """Numbers of the host in the type of ``batch`` and where it lies; the host does not wait."""
    return torch.as_tensor(numbers, dtype=batch.dtype).to(batch.device, non_blocking=True)


def _replaced(batch: Tensor, chosen: Sequence[int], change) -> Tensor:
    """``batch`` with some of its slices changed."""
    if not chosen:
        return batch
    places = torch.tensor(chosen).to(batch.device, non_blocking=True)
    return batch.index_copy(0, places, change(batch.index_select(0, places)).to(batch.dtype))
