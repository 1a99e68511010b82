"""Names of the models that a client without labels chooses among, from the one nearest to the labelled images on."""

from __future__ import annotations

from typing import Any

PLAIN, MILD, SOURCE = "source_only", "source_mild", "source_model"
VARIANTS: dict[str, dict[str, Any]] = {  # of the source model, by how far the looks of its images are varied
    PLAIN: {"looks": "none"},
    MILD: {"looks": "mild"},
    SOURCE: {},  # as the bundle's config and the study's ``pretrain`` say: strongly
}
SELF_TRAINED, ADAPTATION = "self_trained", "adaptation"
TEACHERS = {  # self-trained candidate to the variants of the source model that teach it together
    "self_trained_near": (PLAIN, MILD),
    "self_trained_all": (PLAIN, MILD, SOURCE),
    SELF_TRAINED: (SOURCE,),
}
CANDIDATES = (*VARIANTS, *TEACHERS, ADAPTATION)
OF_SOURCE = (SOURCE, SELF_TRAINED, ADAPTATION)  # those that need one variant alone


def needed_variants(candidates: tuple[str, ...]) -> list[str]:
    """Variants of the source model that some candidates are or are made of."""
    needed = {SOURCE} if ADAPTATION in candidates else set()
    for name in candidates:
        needed |= {name} if name in VARIANTS else set(TEACHERS.get(name, ()))
    return [name for name in VARIANTS if name in needed]
