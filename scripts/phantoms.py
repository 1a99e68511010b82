"""Make client data roots to try everything on: ``python scripts/phantoms.py heads|cardiac|vessels OUT``."""

from __future__ import annotations

from shared_components.command_line import run
from shared_components.data.phantoms import make_heads
from shared_components.data.phantoms.cases import Subjects


def heads(
    out: str,
    seed: int = 0,
    subjects: Subjects = None,
    workers: int = 2,
    label_all: bool = False,
    coarseness: float = 1.0,
    force: bool = False,
) -> None:
    """A real head, deformed for every subject: OUT/t1 (all labelled), OUT/t2 and OUT/pet (none but test).

    Args:
        out: folder for the client data roots; kept when it was made with the same parameters.
        seed: same seed, same bytes.
        subjects: training volumes per client, or training,validation,test, or a dict of these per domain.
        workers: processes.
        label_all: also write OUT/<domain>_labelled with every label, for upper bounds.
        coarseness: factor on the voxel size; above 1 for quick trials.
        force: replace phantoms of other parameters.
    """
    made = make_heads(str(out), seed=seed, subjects=subjects, workers=workers, label_all=label_all,
                      coarseness=coarseness, force=force)  # fmt: skip
    print(*made, sep="\n")


if __name__ == "__main__":
    run({"heads": heads})
