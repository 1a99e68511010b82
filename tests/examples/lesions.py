"""Brains with one lesion, dark in T1 and bright in T2 and FLAIR."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared_components.command_line import run
from shared_components.data.phantoms import looks
from shared_components.data.phantoms.cases import (
    SPLITS,
    Case,
    Phantom,
    PhantomRoot,
    Subjects,
    make_grid,
    oblique_rotation,
    subject_counts,
)
from shared_components.data.phantoms.writer import Scenario, write_scenario

LABELS = {0: "background", 1: "lesion"}
LEVELS = {"t1": (0.7, 0.3), "t2": (0.4, 0.9), "flair": (0.5, 1.0)}  # signal of brain and lesion
HALF_AXES = np.array([45.0, 55.0, 40.0])  # of the brain, mm


def render(case: Case) -> Phantom:
    """An ellipsoid brain with a ball-shaped lesion, as the scanner of the case's domain sees them."""
    random, spacing = case.generator(), np.array([2.0, 2.0, 4.0]) * case.coarseness
    rotation = oblique_rotation(random) if case.oblique else None
    grid = make_grid(np.zeros(3), 2.2 * HALF_AXES, spacing, case.codes, rotation, supersample=(1, 1, 1))
    points = grid.fine_points()  # (X, Y, Z, 3), mm
    brain = np.linalg.norm(points / HALF_AXES, axis=-1) < 1
    lesion = np.linalg.norm(points - random.uniform(-15, 15, 3), axis=-1) < random.uniform(10, 16)
    signal = np.select([lesion, brain], LEVELS[case.domain][::-1], 0.0)
    image = 1000 * looks.rician_noise(random, signal, 0.05)
    return Phantom(image.astype(np.int16), lesion.astype(np.uint8), grid.affine)


def make_lesions(
    output_dir: str | Path,
    *,
    seed: int = 0,
    subjects: Subjects = None,
    workers: int = 2,
    label_all: bool = False,
    coarseness: float = 1.0,
    force: bool = False,
) -> list[Path]:
    """Write the data roots ``t1``, ``t2`` and ``flair``, all labelled; arguments as of :func:`make_heads`."""
    counts = subject_counts(subjects, dict.fromkeys(LEVELS, (20, 4, 6)))
    clients = [PhantomRoot(domain, "MRI", counts[domain], labelled=SPLITS) for domain in LEVELS]
    cases = {client.domain: client.cases("lesions", seed, coarseness) for client in clients}
    scenario = Scenario("lesions", LABELS, render, clients, seed, coarseness, cases, label_all)
    return write_scenario(output_dir, scenario, workers, force)


if __name__ == "__main__":
    run(make_lesions)
