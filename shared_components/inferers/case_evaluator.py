"""An evaluator over volumes that one bad volume does not stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.engines import SupervisedEvaluator

from shared_components.errors import InputError
from shared_components.inferers.volume_faults import FAULT
from shared_components.one_line_errors import input_error_in


class CaseEvaluator(SupervisedEvaluator):
    """MONAI's ``SupervisedEvaluator`` for a ``CaseDataset`` that keeps going; its arguments.

    A volume that cannot be read, segmented or written for a reason that its owner can mend is left out. When all
    others are done, ``run`` raises one :class:`InputError` with a line for each that was left out, so that the exit
    code tells. Any other error stops the run at once.
    """

    def run(self) -> None:
        """Segment every volume.

        Raises:
            InputError: some could not be segmented; the others are written.
        """
        self._faults: dict[str, str] = {}
        self._done: set[str] = set()
        if len(self.data_loader):
            super().run()
        if self._faults:
            raise InputError(self._report())

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
        return output

    def _report(self) -> str:
        lines = list(self._faults.values())
        written = len(self._done - self._faults.keys())
        if len(lines) == 1 and not written:
            return lines[0]
        total = len(lines) + written
        return "\n".join([f"{len(lines)} of {total} volumes were not segmented:", *lines])
