"""What scanners do to an image: shading, noise, blur, ghosts and streaks.

Images are arrays (X, Y, Z) whose tissues lie between 0 and about 1; lengths are in mm.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, zoom


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
