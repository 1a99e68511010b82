"""What scanners do to an image: shading, noise, blur, ghosts and streaks.

Images are arrays (X, Y, Z) whose tissues lie between 0 and about 1; lengths are in mm.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, zoom
from torch.nn import functional as F


def smooth_field(random: np.random.Generator, shape: tuple[int, ...], nodes: int = 3) -> np.ndarray:
    """Random field that varies over about ``1 / nodes`` of the volume, scaled to [-1, 1]."""
    coarse = random.normal(size=tuple(min(nodes, n) + 1 for n in shape))
    factors = [n / c for n, c in zip(shape, coarse.shape, strict=True)]
    field = zoom(coarse, factors, order=2, mode="nearest", grid_mode=True)
    return (field / np.abs(field).max()).astype(np.float32)


def bias_field(random: np.random.Generator, image: np.ndarray, strength: float) -> np.ndarray:
    """Multiplied with ``exp(strength f)``, f a smooth field in [-1, 1]: the shading of a receive coil."""
    return image * np.exp(strength * smooth_field(random, image.shape))


def blur(image: np.ndarray, sigma: float, spacing: np.ndarray) -> np.ndarray:
    """Gaussian blur; ``sigma`` and ``spacing`` in mm."""
    return gaussian_filter(image, sigma / np.asarray(spacing), mode="nearest")


def rician_noise(random: np.random.Generator, image: np.ndarray, deviation: float) -> np.ndarray:
    """Magnitude of a complex signal with normal noise in both channels (Gudbjartsson and Patz 1995)."""
    real = image + random.normal(0, deviation, image.shape)
    return np.hypot(real, random.normal(0, deviation, image.shape)).astype(np.float32)


def correlated_noise(
    random: np.random.Generator, shape: tuple[int, ...], sigma: float, spacing: np.ndarray
) -> np.ndarray:
    """Normal noise of unit variance with a correlation length of ``sigma`` mm."""
    noise = blur(random.normal(size=shape).astype(np.float32), sigma, spacing)
    return noise / noise.std()


def grainy_noise(
    random: np.random.Generator, shape: tuple[int, ...], sigma: float, spacing: np.ndarray
) -> np.ndarray:
    """As :func:`correlated_noise`, drawn no finer than ``sigma`` needs and interpolated linearly."""
    coarse = np.maximum(spacing, sigma / 1.5)
    nodes = tuple(int(np.ceil(n * mm / c)) + 1 for n, mm, c in zip(shape, spacing, coarse, strict=True))
    noise = torch.from_numpy(correlated_noise(random, nodes, sigma, coarse))
    return F.interpolate(noise[None, None], size=shape, mode="trilinear")[0, 0].numpy()


def count_noise(
    random: np.random.Generator, image: np.ndarray, deviation: float, sigma: float, spacing: np.ndarray
) -> np.ndarray:
    """Noise like that of reconstructed counts: variance proportional to the signal, and correlated.

    Args:
        deviation: standard deviation at signal 1.
        sigma: correlation length, mm.
    """
    noise = correlated_noise(random, image.shape, sigma, spacing)
    return np.clip(image + deviation * np.sqrt(np.clip(image, 0.01, None)) * noise, 0, None)


def ghosts(image: np.ndarray, strength: float, shift: float, axis: int = 1) -> np.ndarray:
    """Faint copies of the image displaced along the phase-encoding axis, as motion leaves them.

    Args:
        strength: of the copies, relative to the image.
        shift: of the copies, as a fraction of the field of view.
    """
    step = round(shift * image.shape[axis])
    copies = np.roll(image, step, axis) + np.roll(image, -step, axis)
    return (image + strength * copies) / (1 + 2 * strength)


def streaks(
    random: np.random.Generator, shape: tuple[int, ...], spacing: np.ndarray, angles: int = 7
) -> np.ndarray:
    """Straight stripes in a few directions, other ones in every slice, scaled to unit variance."""
    x, y = np.meshgrid(
        *(np.arange(n) * mm for n, mm in zip(shape[:2], spacing[:2], strict=True)), indexing="ij"
    )
    pattern = np.zeros(shape, dtype=np.float32)
    for index in range(shape[2]):
        for angle in random.uniform(0, np.pi, angles):
            along = x * np.cos(angle) + y * np.sin(angle)
            profile = gaussian_filter(random.normal(size=256), 1.5)  # a node every 2 mm
            pattern[..., index] += np.interp(along, np.arange(-256, 256, 2), profile)
    return pattern / pattern.std()
