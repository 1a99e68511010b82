"""Heads: the shipped real head, deformed for every subject, as T1, as T2-like and as PET-like images.

T1 keeps the real intensities. The other two give every tissue a level of their own and add the real T1
texture, so that the brain's border is told by other contrasts than on T1: on T2 a ring of bright fluid, on
PET nothing but the uptake of the grey matter.

As ``patients`` the heads of each client differ in more than a warp, see :mod:`.tissues`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
from shared_components.data.phantoms.deform import Warp, random_warp, sample_template
from shared_components.data.phantoms.tissues import Head, load_head, patient
from shared_components.data.phantoms.writer import Scenario, write_scenario
from shared_components.errors import InputError

SCENARIO, PATIENTS = "heads", "patients"
LABELS = {0: "background", 1: "brain"}
COUNTS = {"t1": (24, 4, 6), "t2": (20, 4, 6), "pet": (20, 4, 6)}
CENTRE = np.array([0.0, -17.0, 17.0])  # of the head's box, mm
HALF = np.array([104.0, 122.0, 92.0])  # half the field of view, mm: the whole height, neck to crown


@dataclass(frozen=True)
class Look:
    """How a modality shows the head.

    Attributes:
        levels: of air, bone, CSF, GM, WM, soft tissue and fat; None keeps the real T1 intensities.
        jitter: relative standard deviation of each level over subjects.
        texture: factor on the real T1 residual.
        maximum: stored value (int16) of signal 1.
    """

    modality: str
    levels: tuple[float, ...] | None
    jitter: float
    texture: float
    maximum: float


LOOKS = {
    "t1": Look("MRI", None, 0.0, 1.0, 800),
    "t2": Look("MRI", (0.02, 0.05, 1.0, 0.30, 0.16, 0.15, 0.35), 0.06, 0.35, 1000),
    "pet": Look("PET", (0.01, 0.05, 0.06, 0.95, 0.42, 0.22, 0.08), 0.06, 0.35, 12000),
}


def clients(subjects: Subjects = None, labelled: str = "t1") -> list[PhantomRoot]:
    """The three clients: one labels everything, the others only their test volumes (for scoring).

    Raises:
        InputError: ``labelled`` is no domain of this scenario.
    """
    if labelled not in LOOKS:
        raise InputError(f"--labelled: expected one of {', '.join(LOOKS)}, found {labelled!r}")
    counts = subject_counts(subjects, COUNTS)
    return [
        PhantomRoot(domain, look.modality, counts[domain], SPLITS if domain == labelled else ("test",))
        for domain, look in LOOKS.items()
    ]


def render(case: Case) -> Phantom:
    """One subject's head as its client's scanner sees it."""
    head, look = patient(case) if case.scenario == PATIENTS else load_head(), LOOKS[case.domain]
    grid, warp = _subject_grid(case), subject_warp(case)
    template = torch.stack([_signal(case.generator("levels"), head, look), head.brain])
    signal, brain = grid.pool(sample_template(template, head.affine, warp, grid)).numpy()
    image = _acquire(case.generator("scanner"), case.domain, signal, grid)
    image = np.clip(np.rint(image * look.maximum), 0, np.iinfo(np.int16).max).astype(np.int16)
    return Phantom(image, (brain >= 0.5).astype(np.uint8), grid.affine)


def subject_warp(case: Case) -> Warp:
    """The subject's own anatomy: no other case, of this client or another, has the same."""
    return random_warp(case.generator("anatomy"), CENTRE - HALF, CENTRE + HALF, CENTRE)


def _subject_grid(case: Case) -> Grid:
    """Axial stack over the whole head: 2 to 2.4 mm in-plane, slices of 3.6 to 6 mm."""
    random = case.generator("grid")
    in_plane, thickness = random.uniform(2.0, 2.4), random.uniform(3.6, 6.0)
    spacing = np.array([in_plane, in_plane, thickness]) * case.coarseness
    rotation = oblique_rotation(random) if case.oblique else None
    centre = CENTRE + random.uniform(-3, 3, 3)
    return make_grid(centre, 2 * HALF, spacing, case.codes, rotation)


def _signal(random: np.random.Generator, head: Head, look: Look) -> torch.Tensor:
    """The template's noise-free signal in this look."""
    if look.levels is None:
        return head.t1
    levels = np.array(look.levels) * np.exp(random.normal(0, look.jitter, len(look.levels)))
    signal = torch.from_numpy(levels).float()[head.tissue] + look.texture * head.residual
    return signal.clamp_(min=0)


def _acquire(random: np.random.Generator, domain: str, signal: np.ndarray, grid: Grid) -> np.ndarray:
    """Shading, blur, noise and gain of one scan."""
    gain = random.uniform(0.8, 1.2)
    if domain == "pet":
        resolution = random.uniform(1.8, 2.6)
        signal = looks.blur(signal, resolution, grid.spacing)
        return gain * looks.count_noise(random, signal, random.uniform(0.05, 0.09), 2.0, grid.spacing)
    strength, noise = ((0.15, 0.02), (0.3, 0.035))[domain == "t2"]
    signal = looks.bias_field(random, signal, random.uniform(0, strength))
    return gain * looks.rician_noise(random, signal, noise * random.uniform(0.5, 1.2))


def make_heads(
    out: str | Path,
    *,
    seed: int = 0,
    subjects: Subjects = None,
    workers: int = 2,
    label_all: bool = False,
    labelled: str = "t1",
    patients: bool = False,
    coarseness: float = 1.0,
    force: bool = False,
) -> list[Path]:
    """Write the client data roots ``out/t1``, ``out/t2`` and ``out/pet``; see :func:`write_scenario`.

    Args:
        subjects: numbers of volumes, see :func:`subject_counts`.
        label_all: also write ``<domain>_labelled`` roots with every label, for upper bounds and scoring.
        labelled: the client all of whose volumes have labels.
        patients: each client's heads have what its patients have: t2 a shrunken brain, pet a mass, some a part removed.
        coarseness: factor on the voxel size.
    """
    made, name = clients(subjects, labelled), PATIENTS if patients else SCENARIO
    cases = {client.domain: client.cases(name, seed, coarseness) for client in made}
    scenario = Scenario(name, LABELS, render, made, seed, coarseness, cases, label_all)
    return write_scenario(out, scenario, workers, force)
