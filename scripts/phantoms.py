"""Make client data roots to try everything on: ``python scripts/phantoms.py heads|cardiac|vessels OUT``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shared_components.command_line import run
from shared_components.data.phantoms import make_cardiac, make_heads, make_vessels
from shared_components.data.phantoms.cases import Subjects

ARGUMENTS = """

Args:
    out: folder for the client data roots; kept as it is when it was made with the same parameters.
    seed: same seed, same bytes.
    subjects: training volumes per client, or training,validation,test, or a dict of these by domain.
    workers: processes of one thread each.
    label_all: also write OUT/<domain>_labelled with every label, for upper bounds.
    coarseness: factor on the voxel size; above 1 for quick trials.
    force: replace phantoms of other parameters, or write into a folder that holds other files.
"""


def _command(make: Callable[..., list[Path]], description: str) -> Callable[..., None]:
    def command(
        out: str,
        seed: int = 0,
        subjects: Subjects = None,
        workers: int = 2,
        label_all: bool = False,
        coarseness: float = 1.0,
        force: bool = False,
    ) -> None:
        roots = make(
            str(out),
            seed=seed,
            subjects=subjects,
            workers=workers,
            label_all=label_all,
            coarseness=coarseness,
            force=force,
        )
        print(*roots, sep="\n")

    command.__doc__ = description + ARGUMENTS
    return command


def cardiac(
    out: str,
    seed: int = 0,
    subjects: Subjects = None,
    workers: int = 2,
    label_all: bool = False,
    coarseness: float = 1.0,
    force: bool = False,
    generalisation: bool = False,
) -> None:
    roots = make_cardiac(
        str(out),
        seed=seed,
        subjects=subjects,
        workers=workers,
        label_all=label_all,
        coarseness=coarseness,
        force=force,
        generalisation=generalisation,
    )
    print(*roots, sep="\n")


cardiac.__doc__ = f"""Short-axis hearts of four scanners.

OUT/A (all labelled), OUT/B (test labelled only), OUT/C (also three one-slice volumes with labels, cut from its
first training volumes), OUT/D (a test set alone).{ARGUMENTS}    generalisation: for domain generalisation instead:
        training, validation and test volumes of every scanner, all labelled.
"""

COMMANDS = {
    "heads": _command(
        make_heads,
        "A real head, deformed for every subject: OUT/t1 (all labelled), OUT/t2, OUT/pet (test labelled only).",
    ),
    "cardiac": cardiac,
    "vessels": _command(
        make_vessels,
        "Branching vessels: OUT/mra (all labelled), OUT/venography, OUT/octa (one-slice volumes).",
    ),
}

if __name__ == "__main__":
    run(COMMANDS)
