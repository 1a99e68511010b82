"""Make client data roots to try things on: ``python scripts/phantoms.py heads|cardiac|vessels --output_dir OUT``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from shared_components.command_line import run
from shared_components.data.phantoms import make_cardiac, make_heads, make_vessels

ARGUMENTS = """

Args:
    output_dir: folder for the client data roots; kept as it is when it was made with the same parameters.
    seed: same seed, same bytes.
    subjects: training volumes per client, or training,validation,test, or a dict of these by domain.
    workers: processes of one thread each.
    label_all: also write <domain>_labelled with every label, for upper bounds.
    coarseness: factor on the voxel size; above 1 for quick trials.
    force: replace phantoms of other parameters, or write into a folder that holds other files.
"""
HEADS = """    labelled: the client all of whose volumes have labels: t1, t2 or pet.
    patients: each client's heads have what its patients have: those of t2 a shrunken brain, those of pet a mass, and
        some of them a part of the brain removed; t1 has neither.
"""
GENERALISATION = """    generalisation: for domain generalisation instead: training, validation and test volumes
        of every scanner, all labelled.
"""


def _command(make: Callable[..., list[Path]], description: str) -> Callable[..., None]:
    """A command with the arguments of ``make``."""

    def command(*, output_dir: str, **options: object) -> None:
        print(*make(str(output_dir), **options), sep="\n")

    own = inspect.signature(command).parameters["output_dir"]
    made = inspect.signature(make)
    wanted = list(made.parameters.values())[1:]  # without where make writes
    vars(command)["__signature__"] = made.replace(parameters=[own, *wanted])  # what fire reads
    command.__doc__ = description
    return command


COMMANDS = {
    "heads": _command(
        make_heads,
        "A real head, deformed for every subject: t1 (all labelled), t2, pet (test labelled only)."
        + ARGUMENTS
        + HEADS,
    ),
    "cardiac": _command(
        make_cardiac,
        "Short-axis hearts of four scanners: A (all labelled), B (test labelled only), C (also three "
        "one-slice volumes with labels, cut from its first training volumes), D (a test set alone)."
        + ARGUMENTS
        + GENERALISATION,
    ),
    "vessels": _command(
        make_vessels,
        "Branching vessels: mra (all labelled), venography, octa (one-slice volumes)." + ARGUMENTS,
    ),
}

if __name__ == "__main__":
    run(COMMANDS)
