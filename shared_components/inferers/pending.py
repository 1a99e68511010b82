"""Which cases a run that was interrupted still has to segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shared_components.data.frames import frame_count
from shared_components.data.grids import same_grid
from shared_components.data.reading import UNREADABLE
from shared_components.data.stored_grid import stored_grid
from shared_components.inferers.cases import OUTPUT_SUFFIX, Case
from shared_components.inferers.probability_writer import probability_file


def pending_cases(
    cases: Sequence[Case], output_dir: str | Path, resume: bool, probabilities: bool = False
) -> list[Case]:
    """The cases without a whole output.

    Args:
        cases: all of them.
        output_dir: where their segmentations are or will be.
        resume: leave out cases whose segmentation is there, readable and on the image's grid; otherwise all are
            pending. Which model made it is not known: take another folder for another model.
        probabilities: files of class probabilities must be there too.
    """
    if not resume:
        return list(cases)
    return [case for case in cases if not _is_done(case, Path(output_dir), probabilities)]


def _is_done(case: Case, output_dir: Path, probabilities: bool) -> bool:
    segmentation = output_dir / f"{case['case']}{OUTPUT_SUFFIX}.nii.gz"
    if not segmentation.is_file():
        return False
    try:
        frames = frame_count(case["image"])
        if not same_grid(*stored_grid(segmentation), *stored_grid(case["image"])):
            return False
    except UNREADABLE:  # a bad image is reported when it is read, a bad output is made again
        return False
    items: list[Mapping] = (
        [case] if frames == 1 else [case | {"frame": t, "frames": frames} for t in range(frames)]
    )
    return not probabilities or all((output_dir / probability_file(item)).is_file() for item in items)
