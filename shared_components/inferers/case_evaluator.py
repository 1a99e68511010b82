"""An evaluator over volumes that one bad volume does not stop."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.engines import SupervisedEvaluator
from monai.utils import CommonKeys as Keys

from shared_components.data.names import states_sizes
from shared_components.errors import InputError, input_error_in
from shared_components.inferers.case_list import FAULT, note_faults


class CaseEvaluator(SupervisedEvaluator):
    """MONAI's ``SupervisedEvaluator`` for a ``CaseDataset`` that keeps going; its arguments and one more.

    Args:
        output_dir: where the results are, for the line that is printed at the end.

    A volume that cannot be read, segmented or written for a reason that its owner can mend is left out. When all
    others are done, ``run`` raises one :class:`InputError` with a line for each that was left out, so that the exit
    code tells. Any other error stops the run at once.
    """

    def __init__(self, *arguments: Any, output_dir: str | Path = ".", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.output_dir = output_dir

    def run(self, tell: bool = True) -> None:
        """Segment every volume, print how many were, and note in ``cases.json`` why others were not.

        Args:
            tell: raise the error; otherwise ``faults`` has them, for what comes after the inference.
        Raises:
            InputError: some could not be segmented; the others are written.
        """
        self._faults: dict[str, str] = {}
        self._done: set[str] = set()
        self._found: set[str] = set()
        if len(self.data_loader):
            super().run()
        if written := self._done - self._faults.keys():
            print(self._summary(written))
        elif not self._faults:
            print(f"no volume is left to segment: all are in {self.output_dir}")
        if self._faults:
            note_faults(self.output_dir, self._faults)
        if self._faults and tell:
            raise InputError(self._report())

    @property
    def faults(self) -> dict[str, str]:
        """Why volumes were not segmented, by the case's name."""
        return dict(self._faults)

    def _iteration(self, engine: SupervisedEvaluator, batchdata: Mapping[str, Any]) -> dict:
        (case,) = batchdata["case"]
        if FAULT in batchdata:
            self._faults.setdefault(case, batchdata[FAULT][0])
        if case in self._faults:  # of a time series one bad frame is enough
            return {}
        try:
            output = super()._iteration(engine, batchdata)
        except (InputError, RuntimeError) as error:  # MONAI wraps whatever a transform raises
            found = input_error_in(error)
            if found is None:
                raise
            self._faults[case] = str(found)
            return {}
        self._done.add(case)
        if torch.as_tensor(output[0][Keys.PRED]).any():
            self._found.add(case)
        return output

    def _summary(self, written: set[str]) -> str:
        empty = sorted(written - self._found)
        nothing = f"; nothing was found in {', '.join(empty)}" if empty else ""
        number = "1 volume" if len(written) == 1 else f"{len(written)} volumes"
        return (
            f"{number} segmented, in {self.output_dir}{nothing}\n{self._assumed(written)}"
            f"pictures: python -m shared_components.report {shlex.quote(str(self.output_dir))}"
        )

    def _assumed(self, written: set[str]) -> str:
        """A line on files that do not say how large their voxels are, of which the network may see wrong sizes."""
        items = {item["case"]: item["image"] for item in self.data_loader.dataset.data}
        sizeless = sorted(case for case in written if not states_sizes(items[case]))
        if not sizeless:
            return ""
        named = ", ".join(sizeless[:3]) + (f" and {len(sizeless) - 3} more" if len(sizeless) > 3 else "")
        return f"note: {named}: the file states no voxel size, 1 mm was assumed\n"

    def _report(self) -> str:
        lines = list(self._faults.values())
        written = len(self._done - self._faults.keys())
        if len(lines) == 1 and not written:
            return lines[0]
        total = len(lines) + written
        return "\n".join([f"{len(lines)} of {total} volumes were not segmented:", *lines])
