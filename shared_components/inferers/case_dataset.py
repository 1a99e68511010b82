"""The volumes of an inference run as a MONAI dataset whose faults name the file and the cure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from monai.data import Dataset

from shared_components.data.reading import read


class CaseDataset(Dataset):
    """Cases of :func:`~shared_components.inferers.cases.find_cases`, transformed when asked for.

    Only ``image`` and ``case`` of each item are passed on: inference never sees a label.

    Args:
        data: the cases.
        transform: applied to ``{"image", "case"}``.
    Raises:
        InputError: (when an item is read) the file cannot be read or is unfit; MONAI alone would wrap that in an
            error that shows the transform instead of the file.
    """

    def __init__(self, data: Sequence[Mapping[str, str]], transform: Callable) -> None:
        super().__init__([{"image": case["image"], "case": case["case"]} for case in data], transform)

    def _transform(self, index: int) -> dict:
        return read(self.transform, dict(self.data[index]))
