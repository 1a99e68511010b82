"""A heart in its thorax, in the frame of its short-axis stack: x to the right, y to the front, z to the base.

Everything is an implicit function of points in mm, so that any grid may sample it. The left ventricle is a
half ellipsoid with an uneven wall, the right one a crescent around it; the image shows trabeculae and
papillary muscles that the label, as in hand-drawn contours, counts as blood pool.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TISSUES = ("air", "lung", "fat", "muscle", "bone", "marrow", "liver", "stomach", "myocardium", "blood")
AIR, LUNG, FAT, MUSCLE, BONE, MARROW, LIVER, STOMACH, MYOCARDIUM, BLOOD = range(len(TISSUES))
LABELS = {0: "background", 1: "left ventricle", 2: "myocardium", 3: "right ventricle"}
REACH = 100  # mm above and below the heart's middle within which shapes vary along z
APEX, BASE = -46.0, 50.0  # of the left ventricle's pool along z, mm


class Anatomy(NamedTuple):
    """``tissue`` (index into ``TISSUES``) and ``label`` (key of ``LABELS``) at every point, int64."""

    tissue: np.ndarray
    label: np.ndarray


def draw_anatomy(random: np.random.Generator, points: np.ndarray) -> Anatomy:
    """A random person's tissues at ``points`` (..., 3)."""
    x, y, z = np.moveaxis(points, -1, 0)
    tissue = _thorax(random, x, y, z)
    label = np.zeros(tissue.shape, dtype=np.int64)
    _heart(random, x, y, z, tissue, label)
    return Anatomy(tissue, label)


def _waves(
    random: np.random.Generator, angle: np.ndarray, z: np.ndarray, modes: range, per_mm: float
) -> np.ndarray:
    """Periodic random function of the angle that changes along z, of about unit variance.

    Looked up in a table of a third of a degree and a millimetre: far finer than any voxel.
    """
    angles = np.linspace(-np.pi, np.pi, 1024, endpoint=False)[:, None]
    heights = np.arange(-REACH, REACH + 1)
    table = np.zeros((angles.size, heights.size), dtype=np.float32)
    for mode in modes:
        phase, drift = random.uniform(0, 2 * np.pi), random.normal(0, per_mm)
        table += np.cos(mode * angles + phase + drift * heights)
    table *= np.sqrt(2 / len(modes))
    row = np.rint((angle + np.pi) * (len(angles) / (2 * np.pi))).astype(np.intp) % len(angles)
    return table[row, np.rint(z).clip(-REACH, REACH).astype(np.intp) + REACH]


def _dome(z: np.ndarray, apex: float, base: float) -> np.ndarray:
    """Relative radius of a half ellipsoid, 0 at the apex and below, 1 at the base."""
    rest = np.clip((base - z) / (base - apex), 0, 1)
    return np.sqrt(1 - rest**2)


def _thorax(random: np.random.Generator, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Lungs, abdominal organs, great vessel and spine within muscle, ribs, fat and skin."""
    wide, deep = random.uniform(105, 125), random.uniform(82, 96)
    angle = np.arctan2((y + 22) / deep, (x + random.uniform(-10, 10)) / wide)
    outside = (np.hypot(x / wide, (y + 22) / deep) - 1) * 95 + 2 * _waves(random, angle, z, range(2, 6), 0.02)
    tissue = np.full(x.shape, LUNG)
    diaphragm = random.uniform(-52, -40) + 0.2 * x - 0.25 * z - (x / 60) ** 2 * 6
    tissue[y < diaphragm] = LIVER
    stomach = np.hypot((x + random.uniform(45, 60)) / 32, (y + random.uniform(48, 60)) / 20) < 1
    tissue[stomach] = STOMACH
    tissue[np.hypot(x - random.uniform(0, 20), y + random.uniform(78, 86)) < 19] = MARROW
    aorta = np.hypot(x + random.uniform(22, 32), y + random.uniform(62, 70)) - random.uniform(9, 12)
    tissue[aorta < 2] = MUSCLE
    tissue[aorta < 0] = BLOOD
    wall, skin = random.uniform(11, 16), random.uniform(8, 20)
    tissue[outside > 0] = MUSCLE
    rib = np.cos(random.uniform(9, 13) * angle + z / 9 + random.uniform(0, 6)) > 0.45
    tissue[rib & (np.abs(outside - wall / 2) < 4.5)] = BONE
    tissue[rib & (np.abs(outside - wall / 2) < 2)] = MARROW
    tissue[outside > wall] = FAT
    tissue[outside > wall + skin] = AIR
    return tissue


def _heart(
    random: np.random.Generator,
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    tissue: np.ndarray,
    label: np.ndarray,
) -> None:
    """Draws fat, both ventricles and their walls into ``tissue`` and ``label``."""
    stretch, turn = np.exp(random.normal(0, 0.07)), random.uniform(0, np.pi)
    u = (x * np.cos(turn) + y * np.sin(turn)) * stretch
    v = (y * np.cos(turn) - x * np.sin(turn)) / stretch
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    pool, wall = random.uniform(18, 28), random.uniform(6.5, 11)
    inner = pool * _dome(z, APEX, BASE) * (1 + 0.05 * _waves(random, angle, z, range(2, 5), 0.02))
    uneven = wall * (1 + 0.22 * _waves(random, angle, z, range(1, 4), 0.02)).clip(0.45)
    outer = np.where(inner > 0, inner + uneven * (0.6 + 0.4 * _dome(z, APEX, BASE)), 0)
    outer = np.maximum(outer, (pool + wall) * _dome(z, APEX - wall, BASE) * 0.9)

    right = _right_ventricle(random, x, y, z, pool + wall)
    rim = random.uniform(2, 7) * (1 + 0.5 * _waves(random, angle, z, range(1, 5), 0.03))
    tissue[(radius < outer + rim) | (right < 2.5 + rim)] = FAT
    tissue[(right < 2.5) | (radius < outer)] = MYOCARDIUM
    crescent = (right < 0) & (radius >= outer)
    # Trabeculae reach into both pools; the labels do not know them.
    rough = 2.2 * _waves(random, angle, z, range(7, 17), 0.25)
    tissue[crescent & (right + 0.7 * np.abs(rough) < 0)] = BLOOD
    tissue[radius < inner - np.abs(rough)] = BLOOD
    _papillary(random, u, v, z, pool, tissue)
    label[radius < outer] = 2
    label[radius < inner] = 1
    label[crescent] = 3


def _right_ventricle(
    random: np.random.Generator, x: np.ndarray, y: np.ndarray, z: np.ndarray, left: float
) -> np.ndarray:
    """Distance (about, mm) to the ellipsoid whose part outside the left ventricle is the crescent."""
    where = np.deg2rad(random.uniform(5, 45))
    along = x * np.cos(where) + y * np.sin(where) - random.uniform(0.55, 0.75) * left
    across = (y * np.cos(where) - x * np.sin(where)) / random.uniform(1.15, 1.35)
    reach = random.uniform(0.85, 1.1) * (left + 4) * _dome(z, APEX + random.uniform(2, 14), BASE)
    angle = np.arctan2(across, along)
    reach = reach * (1 + 0.05 * _waves(random, angle, z, range(2, 6), 0.03))
    return np.where(reach > 0, np.hypot(along, across) - reach, np.inf)


def _papillary(
    random: np.random.Generator, u: np.ndarray, v: np.ndarray, z: np.ndarray, pool: float, tissue: np.ndarray
) -> None:
    """Two columns of muscle inside the left pool, on its lower two thirds."""
    for side in (1.0, 3.0):
        place = side + random.uniform(-0.5, 0.5)
        away = pool * random.uniform(0.55, 0.75) * _dome(z, APEX, BASE)
        thick = random.uniform(3, 5) * np.clip((20 - z) / 40, 0, 1)
        tissue[np.hypot(u - away * np.cos(place), v - away * np.sin(place)) < thick] = MYOCARDIUM
