"""Vessels: random branching trees in three organs and looks.

MRA-like: bright arteries that rise from the skull base into a darker brain. Venography-like: dark, winding veins
in a bright brain, beside other dark things. OCTA-like: the dense, flat net of a retina, 2-D, with capillaries
and speckle. Brains are measured in centimetres and the retina in millimetres: train with ``spacing: null``,
every image has about 64 pixels a side.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from shared_components.data.phantoms import looks
from shared_components.data.phantoms.cases import (
    SPLITS,
    Case,
    Grid,
    Phantom,
    PhantomRoot,
    Subjects,
    make_grid,
    oblique_rotation,
    subject_counts,
)
from shared_components.data.phantoms.vessel_trees import Growth, Tree, grow_tree, paint
from shared_components.data.phantoms.writer import Scenario, write_scenario

SCENARIO = "vessels"
LABELS = {0: "background", 1: "vessel"}
COUNTS = {"mra": (20, 4, 6), "venography": (20, 4, 6), "octa": (80, 10, 20)}
PIXELS = (58.0, 72.0)  # of an image's side, least and most


@dataclass(frozen=True)
class Organ:
    """What is imaged and how; lengths in mm.

    Attributes:
        field, depth: field of view in-plane and through the slices.
        slices: of the stack, least and most.
        roots: number of trees.
        levels: of air, scalp, bone, fluid, grey matter, white matter, capillaries and vessels.
        fading: how much of their contrast the thinnest vessels lose.
    """

    modality: str
    field: float
    depth: float
    slices: tuple[int, int]
    roots: int
    growth: Growth
    levels: tuple[float, ...]
    fading: float
    shading: float
    noise: float


class Background(NamedTuple):
    """What surrounds the vessels, on a grid's samples: ``signal``, and whether vessels may be there."""

    signal: np.ndarray
    inside: np.ndarray


ORGANS = {
    "mra": Organ(
        "MRI", 100.0, 42.0, (14, 20), 7, Growth(3.2, 0.95, 0.12, (4, 9), (35, 75)),
        (0.02, 0.60, 0.06, 0.12, 0.34, 0.42, 0.34, 1.0), fading=0.35, shading=0.2, noise=0.03,
    ),
    "venography": Organ(
        "MRI", 110.0, 42.0, (12, 18), 8, Growth(2.6, 0.95, 0.28, (5, 10), (40, 80)),
        (0.02, 0.35, 0.08, 0.80, 0.66, 0.56, 0.6, 0.10), fading=0.45, shading=0.35, noise=0.04,
    ),
    "octa": Organ(
        "OCT", 6.0, 0.1, (1, 1), 7, Growth(0.15, 0.06, 0.14, (9, 18), (30, 65), flat=True),
        (0, 0, 0, 0.06, 0.22, 0.16, 0.42, 0.85), fading=0.35, shading=0.25, noise=0.06,
    ),
}  # fmt: skip
AIR, SCALP, BONE, FLUID, GREY, WHITE, CAPILLARY, VESSEL = range(8)


def clients(subjects: Subjects = None) -> list[PhantomRoot]:
    """The three clients: MRA labels everything, the others their test volumes only (for scoring)."""
    counts = subject_counts(subjects, COUNTS)
    return [
        PhantomRoot(domain, organ.modality, counts[domain], SPLITS if domain == "mra" else ("test",))
        for domain, organ in ORGANS.items()
    ]


def render(case: Case) -> Phantom:
    """One person's vessels as the client's scanner sees them."""
    organ, grid = ORGANS[case.domain], _field_of_view(case)
    lumen = paint(draw_trees(case), grid, margin=0.02 * organ.field)
    random = case.generator("look")
    background = (_retina if organ.growth.flat else _brain)(random, organ, grid)
    vessel = (lumen.distance <= 0) & background.inside
    signal = _with_vessels(background.signal, lumen.radius, vessel, organ)
    signal, label = grid.pool(torch.from_numpy(np.stack([signal, vessel.astype(np.float32)]))).numpy()
    image = _acquire(random, organ, signal, grid)
    stored = np.clip(np.rint(image * 1000), 0, np.iinfo(np.int16).max).astype(np.int16)
    return Phantom(stored, (label >= 0.5).astype(np.uint8), grid.affine)


def _field_of_view(case: Case) -> Grid:
    """Axial slab, or the one plane of a retina."""
    organ, random = ORGANS[case.domain], case.generator("grid")
    pixels, slices = random.uniform(*PIXELS), random.integers(*organ.slices, endpoint=True)
    in_plane = organ.field / pixels * case.coarseness
    spacing = np.array([in_plane, in_plane, organ.depth / slices])
    rotation = oblique_rotation(random) if case.oblique and not organ.growth.flat else None
    extent = np.array([organ.field, organ.field, organ.depth * 0.999])
    samples = (2, 2, 1) if organ.growth.flat else (2, 2, 2)
    return make_grid(np.zeros(3), extent, spacing, case.codes, rotation, samples)


def draw_trees(case: Case) -> list[Tree]:
    """The person's vessels; each root starts at the border of the organ and heads inwards."""
    organ, random = ORGANS[case.domain], case.generator("anatomy")
    half = np.array([0.55, 0.55, 0.0]) * organ.field + np.array([0, 0, 0.7 * organ.depth])
    trees = []
    for root in range(organ.roots):
        angle = 2 * np.pi * (root + random.uniform(-0.35, 0.35)) / organ.roots
        start = 0.45 * organ.field * np.array([np.cos(angle), np.sin(angle), 0.0])
        if case.domain == "mra":  # arteries enter near the middle of the skull base and spread
            start = start * random.uniform(0.1, 0.5) - np.array([0, 0, 0.55 * organ.depth])
            direction = np.array([np.cos(angle), np.sin(angle), random.uniform(0.5, 1.5)])
        else:
            start[2] = 0 if organ.growth.flat else random.uniform(-0.5, 0.5) * organ.depth
            direction = np.array([-np.cos(angle), -np.sin(angle), 0.0]) + 0.2 * random.normal(size=3)
        if organ.growth.flat:
            direction[2] = 0
        direction /= np.linalg.norm(direction)
        trees.append(grow_tree(random, organ.growth, start, direction, -half, half))
    return trees


def _with_vessels(signal: np.ndarray, radius: np.ndarray, vessel: np.ndarray, organ: Organ) -> np.ndarray:
    """Vessels over the background; thin ones with less contrast."""
    growth = organ.growth
    thin = 1 - np.clip((radius - growth.thinnest) / (growth.thickest - growth.thinnest), 0, 1)
    strength = (1 - organ.fading * thin) * vessel
    return (signal + strength * (organ.levels[VESSEL] - signal)).astype(np.float32)


def _acquire(random: np.random.Generator, organ: Organ, signal: np.ndarray, grid: Grid) -> np.ndarray:
    """Shading, speckle in the retina, noise and gain of one scan."""
    signal = looks.bias_field(random, signal, organ.shading * random.uniform(0.5, 1))
    if organ.growth.flat:
        grain = looks.correlated_noise(random, signal.shape, 0.6 * grid.spacing[0], grid.spacing)
        signal = (signal * (1 + 0.2 * grain)).clip(0)
    noisy = looks.rician_noise(random, signal, organ.noise * random.uniform(0.6, 1.2))
    return random.uniform(0.8, 1.2) * noisy


def _brain(random: np.random.Generator, organ: Organ, grid: Grid) -> Background:
    """Folded grey and white matter with fluid in the furrows, inside a skull and a scalp."""
    levels = np.array(organ.levels, dtype=np.float32) * np.exp(random.normal(0, 0.05, 8)).astype(np.float32)
    step = grid.spacing / grid.supersample
    folds = looks.grainy_noise(random, grid.fine_shape, 4.0, step)
    tissue = np.where(folds > 0, GREY, WHITE)
    points = grid.fine_points()
    edge = 2.0 * looks.grainy_noise(random, grid.fine_shape, 12.0, step)
    outside = (np.hypot(points[..., 0] / 0.93, points[..., 1]) - 0.43 * organ.field) + edge
    tissue[(np.abs(folds) < 0.12) & (outside > -0.16 * organ.field)] = FLUID
    for limit, kind in ((-1, FLUID), (1.5, BONE), (6, SCALP), (11, AIR)):
        tissue[outside > limit] = kind
    texture = 0.05 * looks.grainy_noise(random, grid.fine_shape, 2.0, step)
    return Background(levels[tissue] * (1 + texture), outside < 0)


def _retina(random: np.random.Generator, organ: Organ, grid: Grid) -> Background:
    """A mesh of capillaries, with the fovea's free zone in the middle, over patchy tissue."""
    levels = np.array(organ.levels, dtype=np.float32) * np.exp(random.normal(0, 0.05, 8)).astype(np.float32)
    step = grid.spacing / grid.supersample
    patches = looks.grainy_noise(random, grid.fine_shape, 0.5, step)
    signal = np.where(patches > 0, levels[GREY], levels[WHITE])
    mesh = np.abs(looks.correlated_noise(random, grid.fine_shape, 0.09, step)) < 0.22
    signal[mesh] = levels[CAPILLARY]
    middle = random.normal(0, 0.3, 2)
    away = np.hypot(*(grid.fine_points()[..., axis] - middle[axis] for axis in (0, 1)))
    fovea = away < random.uniform(0.25, 0.45)
    signal[fovea] = levels[FLUID]
    return Background(signal, ~fovea)


def make_vessels(
    out: str | Path,
    *,
    seed: int = 0,
    subjects: Subjects = None,
    workers: int = 2,
    label_all: bool = False,
    coarseness: float = 1.0,
    force: bool = False,
) -> list[Path]:
    """Write ``out/mra``, ``out/venography`` and ``out/octa``; arguments as of :func:`make_heads`."""
    made = clients(subjects)
    cases = {client.domain: client.cases(SCENARIO, seed, coarseness) for client in made}
    scenario = Scenario(SCENARIO, LABELS, render, made, seed, coarseness, cases, label_all)
    return write_scenario(out, scenario, workers, force)
