"""An evaluator over volumes that one bad volume does not stop, and the weights that it is given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.handlers import CheckpointLoader
from monai.utils import CommonKeys as Keys

from shared_components.data.names import states_sizes
from shared_components.errors import InputError, cause, counted, input_error_in
from shared_components.files import load_tensors
from shared_components.inferers.case_dataset import FAULT, drop_outputs, drop_scores, note_faults
from shared_components.inferers.replaced import refuse_inputs
from shared_components.networks.weights import AS_TRAINED, check_description, filled, is_state_dict

MISFIT = re.compile("sizes? of tensors?|shapes cannot be multiplied", re.IGNORECASE)  # torch's words


class CaseEvaluator(SupervisedEvaluator):
    """MONAI's ``SupervisedEvaluator`` for a ``CaseDataset`` that keeps going; its arguments and one more.

    Args:
        output_dir: where the results are, for the line that is printed at the end.

    A volume that cannot be read, segmented or written for a reason that its owner can mend is left out, without a file
    of it. When all others are done, ``run`` raises one :class:`InputError` with a line for each that was left out, so
    that the exit code tells. Any other error stops the run at once. Before the first is written, earlier segmentations
    of its volumes, which another model may have made, are removed, and their scores: a stopped run goes on without
    taking them for its own.
    """

    def __init__(self, *arguments: Any, output_dir: str | Path = ".", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.output_dir = output_dir
        self.add_event_handler(Events.EPOCH_STARTED, self._drop_earlier)  # once the weights are loaded

    def run(self, tell: bool = True) -> None:
        """Segment every volume, print how many were, and note in ``cases.json`` why others were not.

        Args:
            tell: raise the error; otherwise ``faults`` has them, for what comes after the inference.
        Raises:
            InputError: some could not be segmented; the others are written. Or an image has the name of an output, and
                nothing is done.
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

    def _drop_earlier(self) -> None:
        cases = self.data_loader.dataset.data
        refuse_inputs(cases, self.output_dir)
        drop_scores(self.output_dir, {case["case"] for case in cases})
        drop_outputs(self.output_dir, cases)

    def _iteration(self, engine: SupervisedEvaluator, batchdata: Mapping[str, Any]) -> dict:
        (case,) = batchdata["case"]
        if case in self._faults:  # of a time series one bad frame is enough
            return {}
        if FAULT in batchdata:
            return self._failed(case, batchdata[FAULT][0])
        try:
            output = super()._iteration(engine, batchdata)
        except (InputError, RuntimeError) as error:  # MONAI wraps whatever a transform raises
            line = _mendable(case, error)
            if line is None:
                raise
            return self._failed(case, line)
        self._done.add(case)
        if torch.as_tensor(output[0][Keys.PRED]).any():
            self._found.add(case)
        return output

    def _failed(self, case: str, line: str) -> dict:
        """Note why, and remove what is written of the case: its probabilities, or those of its frames before."""
        self._faults[case] = line
        drop_outputs(
            self.output_dir, [item for item in self.data_loader.dataset.data if item["case"] == case]
        )
        return {}

    def _summary(self, written: set[str]) -> str:
        empty = sorted(written - self._found)
        nothing = f"; nothing was found in {', '.join(empty)}" if empty else ""
        return (
            f"{counted(len(written), 'volume')} segmented, in {self.output_dir}{nothing}\n{self._assumed(written)}"
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


def _mendable(case: str, error: Exception) -> str | None:
    """A line for what a case's owner can mend; None for any other error."""
    if found := input_error_in(error):
        return str(found)
    if not MISFIT.search(str(error)):
        return None
    return (
        f"{case}: expected slices of a size that the network takes, found others ({cause(error)}); set downsampling to "
        "the network's total stride, or window to [height, width] of its training slices"
    )


class ModelLoader(CheckpointLoader):
    """MONAI's ``CheckpointLoader``, strict and ``weights_only``, whose errors a user can act on.

    Args:
        load_path: file written by ``torch.save`` with the keys of ``load_dict``, or for a single module its bare state
            dict, as the model zoo has it.
        load_dict: name to module.
        settings: name to value, such as ``labels`` and ``spacing``: what the file says of its training must not be
            something else; a bare state dict says nothing.
    Raises:
        InputError: (when the engine starts) the file is missing, unreadable, lacks a name, its tensors do not fit the
            module, or it was trained with other settings.
    """

    def __init__(self, load_path: str, load_dict: dict, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(load_path=load_path, load_dict=load_dict, map_location="cpu", strict=True)
        self.settings = dict(settings or {})

    def __call__(self, engine: Engine) -> None:
        checkpoint = load_tensors(self.load_path)
        if len(self.load_dict) == 1 and is_state_dict(checkpoint):
            checkpoint = dict.fromkeys(self.load_dict, checkpoint)
        absent = [name for name in self.load_dict if name not in checkpoint]
        if absent:
            raise InputError(
                f"{self.load_path}: expected a key '{absent[0]}', found {sorted(map(str, checkpoint))[:8]}; "
                "give a checkpoint that this bundle's training wrote"
            )
        description = checkpoint.get("description")
        check_description(self.load_path, description, self.settings, "this config has", AS_TRAINED)
        for name, module in self.load_dict.items():
            filled(module, checkpoint[name], self.load_path)
        self.logger.info(f"loaded {', '.join(self.load_dict)} from {self.load_path}")
