"""The volumes of an inference run as a MONAI dataset whose faults name the file and the cure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from monai.data import DataLoader, Dataset

from shared_components.data.frames import frame_count
from shared_components.data.reading import read
from shared_components.data.volume_faults import file_faults, packing_faults, reading_fault, refuse
from shared_components.errors import InputError
from shared_components.inferers.case_list import FAULT


class CaseDataset(Dataset):
    """Cases of :func:`~shared_components.inferers.cases.find_cases`, transformed when asked for.

    Only ``image`` and ``case`` of each item are passed on: inference never sees a label. A 4-D NIfTI is one item
    a frame, in order, with ``frame`` and the number of ``frames`` beside: one frame at a time is read,
    preprocessed (by its own percentiles) and segmented, as if it were a file of its own.

    Args:
        data: the cases.
        transform: applied to ``{"image", "case"}`` (and ``"frame"``, ``"frames"``).
        keep_going: instead of raising, give an item of a bad file as ``{"image", "case", "fault"}``, of which
            ``fault`` is the error's text; :class:`~shared_components.inferers.CaseEvaluator` collects them.
    Raises:
        InputError: a NIfTI header is unreadable; when an item is read: the file cannot be read or is unfit (MONAI
            alone would wrap that in an error that shows the transform instead of the file).
    """

    def __init__(
        self, data: Sequence[Mapping[str, str]], transform: Callable, keep_going: bool = False
    ) -> None:
        self.keep_going = keep_going
        self._faults: dict[str, str] = {}  # of a time series, the first bad frame's
        super().__init__([item for case in data for item in self._frames(case)], transform)

    def _transform(self, index: int) -> dict:
        item = dict(self.data[index])
        if item["case"] not in self._faults:
            try:
                if not item.get("frame"):  # once a file
                    refuse(packing_faults(item["image"]))
                return read(self.transform, item)
            except InputError as error:
                self._note(item, error)
        return {"image": item["image"], "case": item["case"], FAULT: self._faults[item["case"]]}

    def _note(self, item: Mapping[str, str], error: InputError) -> None:
        fault = _one_line(item["image"], error)
        if not self.keep_going:
            raise InputError(fault) from error
        self._faults[item["case"]] = fault

    def _frames(self, case: Mapping[str, str]) -> list[dict]:
        item = {"image": case["image"], "case": case["case"]}
        try:
            refuse(file_faults(case["image"]))
            count = frame_count(case["image"])
        except InputError as error:
            self._note(item, error)
            return [item]
        return [item] if count == 1 else [item | {"frame": t, "frames": count} for t in range(count)]


def _one_line(path: str, error: InputError) -> str:
    """What a user reads of an error that reading ``path`` raised."""
    text = " ".join(str(error).split())
    return str(reading_fault(path, error)) if "could not be read (" in text else text


class ReadAheadLoader(DataLoader):
    """MONAI's ``DataLoader``, which has a thread prepare the next batch while this one is worked on.

    Reading, unzipping and resampling leave Python's lock free, so that a second core is used without a second
    process. MONAI's ``ThreadDataLoader`` does that too, but an error in its thread ends the run as if the data had.
    """

    def __iter__(self) -> Iterator:
        batches, end = super().__iter__(), object()
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(next, batches, end)
            while (batch := coming.result()) is not end:
                coming = reader.submit(next, batches, end)
                yield batch
