"""What a phantom scenario is made of: clients, their volumes, the grid of each and how it is stored."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch.nn import functional as F

from shared_components.errors import InputError

SPLITS = ("training", "validation", "test")


@dataclass(frozen=True)
class Case:
    """One volume of one client; everything that decides its bytes.

    Attributes:
        index: place within its split, from 0.
        seed: seed of the whole scenario.
        coarseness: factor on the voxel size; 1 is the real thing, larger ones make small test volumes.
        codes: stored orientation, ``"RAS"`` or ``"LPS"``.
        oblique: whether the image grid is rotated against the world's axes.
        suffix: ``".nii.gz"`` or ``".nii"``.
        labelled: whether the client's data root offers this volume's label.
        only_slice: the middle slice alone, cut out of the volume of the same place in the split.
    """

    scenario: str
    domain: str
    split: str
    index: int
    seed: int
    coarseness: float = 1.0
    codes: str = "RAS"
    oblique: bool = False
    suffix: str = ".nii.gz"
    labelled: bool = True
    only_slice: bool = False

    @property
    def name(self) -> str:
        """Subject name, unique within its client: ``t2_training_003``."""
        return f"{self.domain}_{self.split}_{self.index + 1:03d}" + ("_slice" if self.only_slice else "")

    def generator(self, purpose: str = "") -> np.random.Generator:
        """A generator that depends on seed, scenario, domain, split, index and purpose, on nothing else."""
        words = f"{self.scenario}/{self.domain}/{self.split}/{purpose}"
        return np.random.default_rng([self.seed, zlib.crc32(words.encode()), self.index])


class Phantom(NamedTuple):
    """A finished volume: ``image`` (X, Y, Z) int16, ``label`` alike in uint8, ``affine`` in mm."""

    image: np.ndarray
    label: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class PhantomRoot:
    """A client data root to be made.

    Attributes:
        counts: volumes in training, validation and test.
        labelled: the splits whose labels the root offers.
    """

    domain: str
    modality: str
    counts: tuple[int, int, int]
    labelled: tuple[str, ...]

    def cases(self, scenario: str, seed: int, coarseness: float) -> list[Case]:
        """All volumes; every second one is stored LPS, the second of training and of test is oblique, and
        the last training volume is an uncompressed ``.nii``."""
        return [
            Case(
                scenario, self.domain, split, index, seed, coarseness,
                codes="LPS" if index % 2 else "RAS",
                oblique=index == 1 and split != "validation",
                suffix=".nii" if split == "training" and index == count - 1 else ".nii.gz",
                labelled=split in self.labelled,
            )
            for split, count in zip(SPLITS, self.counts, strict=True)
            for index in range(count)
        ]  # fmt: skip

    def described(self) -> dict:
        """The client as plain values, for the record of a run."""
        return {**asdict(self), "counts": list(self.counts), "labelled": list(self.labelled)}


Subjects = int | Sequence[int] | Mapping[str, int | Sequence[int]] | None


def subject_counts(
    subjects: Subjects, defaults: Mapping[str, tuple[int, int, int]]
) -> dict[str, tuple[int, int, int]]:
    """Numbers of volumes per client and split out of what a user may write.

    Args:
        subjects: ``None`` (the defaults); n training volumes for every client (and n/5 for validation, n/4
            for test, at least one); three numbers for every client; or either of them per domain.
        defaults: training, validation and test volumes of every domain.
    Raises:
        InputError: unknown domain, or numbers that are not one or three integers of at least 0.
    """
    if subjects is None:
        return dict(defaults)
    if not isinstance(subjects, Mapping):
        return {domain: _counts(subjects) for domain in defaults}
    if unknown := sorted(set(subjects) - set(defaults)):
        raise InputError(
            f"--subjects: unknown domain {unknown[0]!r}; this scenario has {', '.join(defaults)}"
        )
    return {domain: _counts(subjects.get(domain, counts)) for domain, counts in defaults.items()}


def _counts(value: int | Sequence[int]) -> tuple[int, int, int]:
    numbers = [value] if isinstance(value, int) else list(value) if isinstance(value, Sequence) else []
    integers = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers)
    if not integers or isinstance(value, str) or len(numbers) not in (1, 3):
        raise InputError(
            f"--subjects: expected one number or training,validation,test (such as 20,4,6), found {value!r}"
        )
    training, *rest = numbers
    validation, test = rest or (max(1, training // 5), max(1, training // 4))
    return training, validation, test


@dataclass(frozen=True)
class Grid:
    """A voxel grid in world space.

    Attributes:
        affine: (4, 4), voxel indices to world coordinates (mm, RAS+).
        shape: voxels along each array axis.
        supersample: samples per voxel along each array axis; their mean is the voxel's value, which gives
            partial volume at every border.
    """

    affine: np.ndarray
    shape: tuple[int, int, int]
    supersample: tuple[int, int, int] = (2, 2, 2)

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size along each array axis, mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def fine_shape(self) -> tuple[int, int, int]:
        """Samples along each array axis."""
        x, y, z = (n * s for n, s in zip(self.shape, self.supersample, strict=True))
        return x, y, z

    def fine_points(self, every: float | None = None) -> np.ndarray:
        """World coordinates (X, Y, Z, 3) of the samples, or of a sparse lattice from first to last sample.

        Args:
            every: about so many mm between the nodes of the sparse lattice; None for all samples.
        """
        axes = []
        for count, per_voxel, spacing in zip(self.fine_shape, self.supersample, self.spacing, strict=True):
            nodes = count if every is None else max(2, round(count * spacing / per_voxel / every) + 1)
            axes.append((np.linspace(0, count - 1, nodes) + 0.5) / per_voxel - 0.5)
        indices = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        return indices @ self.affine[:3, :3].T + self.affine[:3, 3]

    def pool(self, samples: torch.Tensor) -> torch.Tensor:
        """Mean of the samples of every voxel, (C, *fine_shape) to (C, *shape)."""
        return F.avg_pool3d(samples[None], self.supersample)[0]


def make_grid(
    centre: np.ndarray,
    extent: np.ndarray,
    spacing: np.ndarray,
    codes: str = "RAS",
    rotation: Rotation | None = None,
    supersample: tuple[int, int, int] = (2, 2, 2),
) -> Grid:
    """Grid whose middle lies at ``centre``.

    Args:
        centre: world coordinates, mm.
        extent: what the grid must cover along its own axes, mm.
        spacing: voxel size, mm.
        codes: ``"RAS"`` or ``"LPS"``; the latter stores both in-plane axes reversed.
        rotation: of the grid against the world (an oblique scan); the anatomy stays where it is.
        supersample: samples per voxel and axis.
    """
    shape = np.ceil(np.asarray(extent) / spacing).astype(int)
    signs = np.array([1.0 if code in "RAS" else -1.0 for code in codes])
    axes = np.eye(3) if rotation is None else rotation.as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag(signs * spacing)
    affine[:3, 3] = centre - affine[:3, :3] @ ((shape - 1) / 2)
    affine = affine.astype(np.float32).astype(float)  # as NIfTI stores it
    return Grid(affine, (int(shape[0]), int(shape[1]), int(shape[2])), supersample)


def oblique_rotation(random: np.random.Generator) -> Rotation:
    """Rotation by 10 to 15 degrees about an axis near left–right, as axial stacks are tilted in practice."""
    axis = np.array([1.0, random.uniform(-0.3, 0.3), random.uniform(-0.3, 0.3)])
    angle = np.deg2rad(random.uniform(10, 15)) * random.choice([-1, 1])
    return Rotation.from_rotvec(angle * axis / np.linalg.norm(axis))
