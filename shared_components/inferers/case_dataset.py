"""The volumes of an inference run as a MONAI dataset whose faults name the file and the cure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from monai.data import Dataset

from shared_components.data.frames import frame_count
from shared_components.data.reading import read


class CaseDataset(Dataset):
    """Cases of :func:`~shared_components.inferers.cases.find_cases`, transformed when asked for.

    Only ``image`` and ``case`` of each item are passed on: inference never sees a label. A 4-D NIfTI is one item
    a frame, in order, with ``frame`` and the number of ``frames`` beside: one frame at a time is read,
    preprocessed (by its own percentiles) and segmented, as if it were a file of its own.

    Args:
        data: the cases.
        transform: applied to ``{"image", "case"}`` (and ``"frame"``, ``"frames"``).
    Raises:
        InputError: a NIfTI header is unreadable; when an item is read: the file cannot be read or is unfit (MONAI
            alone would wrap that in an error that shows the transform instead of the file).
    """

    def __init__(self, data: Sequence[Mapping[str, str]], transform: Callable) -> None:
        super().__init__([item for case in data for item in _frames(case)], transform)

    def _transform(self, index: int) -> dict:
        return read(self.transform, dict(self.data[index]))


def _frames(case: Mapping[str, str]) -> list[dict]:
    item = {"image": case["image"], "case": case["case"]}
    count = frame_count(case["image"])
    return [item] if count == 1 else [item | {"frame": t, "frames": count} for t in range(count)]
