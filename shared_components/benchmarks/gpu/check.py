"""All steps of the check, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from shared_components.benchmarks.gpu import agreement, bundles, clients, paper, updates
from shared_components.benchmarks.gpu.checklist import Checklist, Step
from shared_components.benchmarks.gpu.machine import about_machine
from shared_components.benchmarks.gpu.place import Place
from shared_components.errors import InputError
from shared_components.files import make_folder

STEPS = (
    Step("machine", about_machine, 60),
    Step("networks", agreement.networks, 60),
    Step("phantoms", bundles.phantoms, 60),
    Step("factory", bundles.factory, 60),
    Step("adaptation", bundles.adaptation, 90),
    Step("segmentation", bundles.segmentation, 60),
    Step("agreement", agreement.segmentations, 60),
    Step("volumes", agreement.volumes, 30),
    Step("meta-learning", paper.segmentation, 60),
    Step("factory at 64 px", updates.factory, 60),
    Step("adaptation at 256 px", paper.adaptation, 40),
    Step("factory at 512 px", paper.factory, 90),
    Step("published adaptation at 512 px", paper.published, 60),
    Step("inference", updates.inference, 40),
    Step("clients", clients.side_by_side, 90),
    Step("torch.compile", updates.compiled, 120),
)


def gpu_check(
    output_dir: str | Path,
    device: str = "cuda",
    smoke: bool = False,
    seconds: float = 450,
    only: Sequence[str] | None = None,
) -> bool:
    """Run the steps; each line is printed, and stands in ``gpu_check.md`` and ``gpu_check.csv``, as it ends.

    Args:
        output_dir: for data, runs and the table.
        device: ``cuda`` or ``cpu``.
        smoke: at the smallest sizes.
        seconds: in which all must end.
        only: names of steps; None: all.
    Returns:
        Whether all went well.
    Raises:
        InputError: there is no such device or step.
    """
    known = [step.name for step in STEPS]
    for name in only or ():
        if name not in known:
            raise InputError(f"--only: expected some of {', '.join(known)}, found {name!r}")
    if device not in ("cuda", "cpu") or (device == "cuda" and not torch.cuda.is_available()):
        found = "found no GPU that torch can use" if device == "cuda" else f"found {device!r}"
        raise InputError(f"--device: expected cuda, or cpu to try the check itself, {found}")
    if device == "cpu":
        torch.set_num_threads(1)  # threads of small networks wait for one another
    place = Place(torch.device(device), make_folder(Path(output_dir).resolve()), smoke)
    chosen = [step for step in STEPS if only is None or step.name in only]
    return Checklist(place).run(chosen, seconds)
