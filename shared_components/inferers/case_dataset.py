"""The volumes of an inference run as a MONAI dataset whose faults name the file and the cure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from monai.data import Dataset

from shared_components.errors import InputError
from shared_components.one_line_errors import input_error_in


class CaseDataset(Dataset):
    """Cases of :func:`~shared_components.inferers.cases.find_cases`, transformed when asked for.

    Only ``image`` and ``case`` of each item are passed on: inference never sees a label.

    Args:
        data: the cases.
        transform: applied to ``{"image", "case"}``.
    Raises:
        InputError: (when an item is read) no reader opens the file, or a transform raised one; MONAI wraps it
            in an error that shows the transform's object instead of the file.
    """

    def __init__(self, data: Sequence[Mapping[str, str]], transform: Callable) -> None:
        super().__init__([{"image": case["image"], "case": case["case"]} for case in data], transform)

    def _transform(self, index: int) -> dict:
        try:
            return super()._transform(index)
        except RuntimeError as error:
            found = input_error_in(error)
            if found is not None:
                raise found from None
            chain = _chain(error)
            if any("LoadImaged" in str(link) for link in chain):
                reason = (str(chain[-1]).strip() or type(chain[-1]).__name__).splitlines()[0]
                raise InputError(
                    f"{self.data[index]['image']}: expected a medical volume, but no reader opens it "
                    f"({reason}); export it again, as NIfTI if in doubt"
                ) from error
            raise


def _chain(error: BaseException) -> list[BaseException]:
    """``error`` and what it was raised from, the first cause last."""
    return [error, *(_chain(error.__cause__) if error.__cause__ else [])]
