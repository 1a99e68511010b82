"""Hearts: an analytic short-axis phantom as four scanners A, B, C and D see it.

Ten tissues differ in level and in the amplitude and grain of their texture, so that remapping intensities
alone does not carry a model from one scanner to another. A shows bright blood. In B blood, muscle and fat are
nearly alike, with the contrast of blood and muscle inverted, under blur, coil shading and ghosts. In C blood
is just above muscle, under streaks and correlated noise. D has dark blood on a finer grid. In the uneven form
D is never trained on and only A has labels; in the form for domain generalisation all four have everything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from shared_components.data.phantoms import looks
from shared_components.data.phantoms.cardiac_anatomy import LABELS, TISSUES, draw_anatomy
from shared_components.data.phantoms.cases import (
    SPLITS,
    Case,
    Grid,
    Phantom,
    PhantomRoot,
    Subjects,
    make_grid,
    subject_counts,
)
from shared_components.data.phantoms.deform import Warp, evaluate, random_displacement
from shared_components.data.phantoms.writer import Scenario, write_scenario

SCENARIO = "cardiac"
COUNTS = {"A": (30, 5, 8), "B": (30, 5, 8), "C": (30, 5, 8), "D": (0, 0, 8)}
LABELLED_SLICES = 3  # of client C
SHORT_AXIS = (24.0, -20.0, 12.0)  # degrees about x, y, z: the stack against the body
HEART = np.array([-30.0, 15.0, 10.0])  # the left ventricle's middle in the world, mm
FIELD = 176.0  # field of view in-plane, mm

# Per tissue: standard deviation of its texture relative to its level, and its grain (index into GRAINS).
TEXTURE = (0.0, 0.5, 0.12, 0.14, 0.2, 0.2, 0.10, 0.25, 0.10, 0.09)
GRAIN = (0, 1, 2, 1, 0, 0, 0, 2, 1, 3)
GRAINS = (1.5, 3.0, 6.0, 12.0)  # correlation lengths, mm


@dataclass(frozen=True)
class Scanner:
    """How a client's scanner shows the heart.

    Attributes:
        levels: of the tissues, in the order of ``TISSUES``.
        in_plane, thickness: voxel size, mm, least and most.
        texture: factor on the tissues' own texture.
        shading: strength of the coil's bias field.
        blur: mm.
        noise: standard deviation; ``grain`` is its correlation length in mm, 0 for white Rician noise.
        ghosts, streaks: strength relative to the image and absolute standard deviation.
    """

    levels: tuple[float, ...]
    in_plane: tuple[float, float] = (1.6, 2.2)
    thickness: tuple[float, float] = (8.0, 9.5)
    texture: float = 1.0
    shading: float = 0.15
    blur: float = 0.0
    noise: float = 0.02
    grain: float = 0.0
    ghosts: float = 0.0
    streaks: float = 0.0


SCANNERS = {
    "A": Scanner((0.02, 0.10, 0.80, 0.32, 0.06, 0.45, 0.42, 0.55, 0.34, 0.95)),
    "B": Scanner(
        (0.02, 0.15, 0.43, 0.48, 0.10, 0.45, 0.50, 0.35, 0.54, 0.43),
        (1.8, 2.4), texture=1.0, shading=0.45, blur=1.5, noise=0.025, ghosts=0.15,
    ),
    "C": Scanner(
        (0.02, 0.18, 0.58, 0.44, 0.08, 0.52, 0.48, 0.40, 0.44, 0.52),
        (1.5, 2.0), shading=0.25, noise=0.05, grain=1.5, streaks=0.04,
    ),
    "D": Scanner(
        (0.02, 0.06, 0.85, 0.48, 0.08, 0.60, 0.40, 0.30, 0.52, 0.14),
        (1.2, 1.5), (6.0, 7.0), shading=0.3, blur=0.6, noise=0.04,
    ),
}  # fmt: skip


def clients(subjects: Subjects = None, generalisation: bool = False) -> list[PhantomRoot]:
    """The four clients: A labels everything, the others their test volumes only (for scoring); D is a test set.

    With ``generalisation`` every client has training, validation and test volumes, all of them labelled, so that
    each can be left out in turn.
    """
    if generalisation:
        counts = subject_counts(subjects, dict.fromkeys(SCANNERS, COUNTS["A"]))
        return [PhantomRoot(domain, "MRI", counts[domain], SPLITS) for domain in SCANNERS]
    counts = subject_counts(subjects, COUNTS)
    counts["D"] = (0, 0, counts["D"][2])
    return [
        PhantomRoot(domain, "MRI", counts[domain], SPLITS if domain == "A" else ("test",))
        for domain in SCANNERS
    ]


def client_cases(client: PhantomRoot, seed: int, coarseness: float) -> list[Case]:
    """The client's volumes; a C without training labels gets, for its first three training subjects, one more
    volume each: the middle slice alone, with its label."""
    cases = client.cases(SCENARIO, seed, coarseness)
    if client.domain == "C" and "training" not in client.labelled:
        subjects = [case for case in cases if case.split == "training"][:LABELLED_SLICES]
        cases += [replace(case, only_slice=True, labelled=True, suffix=".nii.gz") for case in subjects]
    return cases


def render(case: Case) -> Phantom:
    """One person's heart as its client's scanner sees it."""
    scanner, grid = SCANNERS[case.domain], stack(case)
    random = case.generator("anatomy")
    axes = _short_axis(case).as_matrix()
    warp = Warp(axes.T, HEART, (random_displacement(random, HEART - FIELD, HEART + FIELD, 35.0, 3.0),))
    points = evaluate(lambda world: warp(world) - HEART, grid).permute(1, 2, 3, 0)
    anatomy = draw_anatomy(random, points.numpy())
    signal = _signal(case.generator("texture"), scanner, anatomy.tissue, grid)
    image = _acquire(case.generator("scanner"), scanner, signal, grid)
    fractions = grid.pool(torch.stack([torch.from_numpy(anatomy.label == k).float() for k in LABELS]))
    stored = np.clip(np.rint(image * 1000), 0, np.iinfo(np.int16).max).astype(np.int16)
    phantom = Phantom(stored, fractions.argmax(0).numpy().astype(np.uint8), grid.affine)
    return _middle_slice(phantom) if case.only_slice else phantom


def _middle_slice(phantom: Phantom) -> Phantom:
    """The one-slice volume of the stack's middle, at its own place in the world."""
    middle = phantom.image.shape[2] // 2
    affine = phantom.affine.copy()
    affine[:3, 3] += middle * affine[:3, 2]
    affine = affine.astype(np.float32).astype(float)
    return Phantom(phantom.image[..., middle : middle + 1], phantom.label[..., middle : middle + 1], affine)


def _short_axis(case: Case) -> Rotation:
    """The heart's short-axis frame in the world; every person's lies a little differently."""
    angles = np.array(SHORT_AXIS) + case.generator("axis").normal(0, 4, 3)
    return Rotation.from_euler("xyz", angles, degrees=True)


def stack(case: Case) -> Grid:
    """Short-axis stack across the ventricles: an oblique grid, planned with an error of a few degrees."""
    random, scanner = case.generator("grid"), SCANNERS[case.domain]
    in_plane, thickness = random.uniform(*scanner.in_plane), random.uniform(*scanner.thickness)
    spacing = np.array([in_plane * case.coarseness, in_plane * case.coarseness, thickness])
    planned = _short_axis(case) * Rotation.from_rotvec(random.normal(0, 2, 3), degrees=True)
    centre = HEART + random.normal(0, 4, 3)
    extent = np.array([FIELD, FIELD, 78.0])
    return make_grid(centre, extent, spacing, case.codes, planned, (2, 2, 3))


def _signal(random: np.random.Generator, scanner: Scanner, tissue: np.ndarray, grid: Grid) -> np.ndarray:
    """Levels and textures of the tissues, averaged over each voxel's samples."""
    jitter = np.exp(random.normal(0, 0.05, len(TISSUES)))
    levels = np.array(scanner.levels, dtype=np.float32) * jitter.astype(np.float32)
    amplitudes = (levels * np.array(TEXTURE, dtype=np.float32) * scanner.texture)[tissue]
    fine = grid.spacing / np.array(grid.supersample)
    signal, grains = levels[tissue], np.array(GRAIN)[tissue]
    for index, length in enumerate(GRAINS):
        noise = looks.grainy_noise(random, tissue.shape, length, fine)
        signal += amplitudes * noise * (grains == index)
    return grid.pool(torch.from_numpy(signal)[None])[0].numpy()


def _acquire(random: np.random.Generator, scanner: Scanner, signal: np.ndarray, grid: Grid) -> np.ndarray:
    """Blur, shading, artefacts, noise and gain of one scan."""
    if scanner.blur:  # within the slices: neighbours of a thick stack are acquired apart
        sigma = scanner.blur * random.uniform(0.8, 1.2)
        signal = looks.blur(signal, sigma, np.array([*grid.spacing[:2], np.inf]))
    signal = looks.bias_field(random, signal, scanner.shading * random.uniform(0.5, 1))
    if scanner.ghosts:
        signal = looks.ghosts(signal, scanner.ghosts * random.uniform(0.5, 1.2), random.uniform(0.2, 0.5))
    if scanner.streaks:
        signal = signal + scanner.streaks * looks.streaks(random, signal.shape, grid.spacing)
    noise = scanner.noise * random.uniform(0.7, 1.2)
    if scanner.grain:
        in_plane = np.array([*grid.spacing[:2], np.inf])
        signal = signal + noise * looks.correlated_noise(random, signal.shape, scanner.grain, in_plane)
        noise = noise / 4
    return random.uniform(0.8, 1.2) * looks.rician_noise(random, signal.clip(0), noise)


def make_cardiac(
    out: str | Path,
    *,
    seed: int = 0,
    subjects: Subjects = None,
    workers: int = 2,
    label_all: bool = False,
    coarseness: float = 1.0,
    force: bool = False,
    generalisation: bool = False,
) -> list[Path]:
    """Write the client data roots ``out/A`` to ``out/D``; arguments as of :func:`make_heads`.

    Args:
        generalisation: all splits and all labels for every client, see :func:`clients`.
    """
    made = clients(subjects, generalisation)
    cases = {client.domain: client_cases(client, seed, coarseness) for client in made}
    scenario = Scenario(SCENARIO, LABELS, render, made, seed, coarseness, cases, label_all)
    return write_scenario(out, scenario, workers, force)
