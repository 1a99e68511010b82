"""Time and memory of the factory's update at published widths and of inference, with the switches that there are."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ignite.engine import Events

from shared_components.benchmarks.factory_speed import KINDS, batch_of, make_trainer, share, update
from shared_components.benchmarks.gpu.agreement import HEAD
from shared_components.benchmarks.gpu.bundles import run_folder
from shared_components.benchmarks.gpu.place import CallCost, CheckedPart, CheckPlace

SWITCHES = {
    "float32": {},
    "bfloat16": {"amp": True},
    "channels last": {"channels_last": True},
    "bfloat16, channels last": {"amp": True, "channels_last": True},
}
CUT: dict[str, Any] = {"channels": (16, 12, 8), "width": 16}  # for a try
REPEATS = 3


def factory(place: CheckPlace) -> Iterator[CheckedPart]:
    """A full update at 64 px, lazy terms in their share, with each switch; the textbook's form last."""
    size, batch = (16, 4) if place.smoke else (64, 16)
    for name, switches in SWITCHES.items():
        yield CheckedPart(f"{batch} slices, {name}", *update_cost(place, size, batch, switches))
    yield CheckedPart(f"{batch} slices, textbook", *update_cost(place, size, batch, {}, "textbook"))


def update_cost(
    place: CheckPlace, size: int, batch: int, switches: dict[str, Any], form: str = "ours"
) -> CallCost:
    """Time and memory of a full update of the factory at published widths."""
    widths: dict[str, Any] = CUT if place.smoke else {}
    trainer, data = make_trainer(form, size, place.device, switches, **widths), batch_of(size, batch)
    peak = max(place.cost(lambda n=n: update(trainer, data, n)).gigabytes for n in KINDS)  # warms up, too
    repeats = 1 if place.smoke else REPEATS
    seconds = {
        n: min(place.seconds(lambda n=n: update(trainer, data, n)) for _ in range(repeats)) for n in KINDS
    }
    return CallCost(share(seconds, trainer), peak)


def compiled(place: CheckPlace) -> Iterator[CheckedPart]:
    """The same with torch.compile: the first updates, and one after them."""
    size, batch = (16, 4) if place.smoke else (64, 16)
    switches = {"compiled": "aot_eager" if place.smoke else "inductor", "amp": not place.smoke}
    widths: dict[str, Any] = CUT if place.smoke else {}
    trainer, data = make_trainer("ours", size, place.device, switches, **widths), batch_of(size, batch)
    first = sum(place.seconds(lambda n=n: update(trainer, data, n)) for n in KINDS)
    yield CheckedPart(f"first three updates, {', '.join(map(str, switches.values()))}", first)
    yield CheckedPart("an update without lazy terms", *place.cost(lambda: update(trainer, data, 2)))


def inference(place: CheckPlace) -> Iterator[CheckedPart]:
    """Volumes a minute of the adaptation's demo weights, files read and written, with and without bfloat16."""
    count = 2 if place.smoke else 12
    folder = Path(run_folder(place, "volumes"))
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        shutil.copyfile(HEAD, folder / f"head_{number:02}.nii.gz")
    for amp in (False, True):
        out = run_folder(place, f"segmented_{'amp' if amp else 'float32'}")
        values = {"dataset_dir": str(folder), "output_dir": out, "evaluator::amp": amp}
        cost = place.run("adaptation", "inference.yaml", "demo.yaml", **values)
        remark = f"{60 * count / cost.seconds:.0f} volumes of 91 × 109 × 91 voxels a minute"
        yield CheckedPart("mixed precision" if amp else "float32", *cost, remark)


def trained(place: CheckPlace, flow: Any, warm: int) -> CallCost:
    """Time of an iteration of a training workflow after ``warm`` ones, loading included, and most memory of all."""
    trainer = flow.parser.get_parsed_content("train::trainer")
    moments: list[float] = []

    def note() -> None:
        place.wait()
        moments.append(time.perf_counter())

    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=warm), note)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=trainer.state.epoch_length), note)
    peak = place.cost(flow.run).gigabytes
    return CallCost((moments[1] - moments[0]) / (trainer.state.epoch_length - warm), peak)
