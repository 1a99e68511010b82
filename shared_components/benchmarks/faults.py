"""Injected faults, of studies and of federations on either engine; nothing may be lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from shared_components.benchmarks.fault_outcome import KeptOutcomes, Outcome, outcome_table
from shared_components.benchmarks.faulty_study import make_phantoms
from shared_components.benchmarks.federation_faults import (
    ENGINES,
    GROUPS,
    federation_faults,
    federation_groups,
)
from shared_components.benchmarks.study_faults import STUDY_GROUPS, study_faults
from shared_components.benchmarks.tables import machine
from shared_components.errors import InputError
from shared_components.files import make_folder, remove_tree, write_text

PARTS = ("federation", "study")


def inject_faults(
    output_dir: str | Path,
    seed: int = 0,
    parts: Sequence[str] = PARTS,
    engines: Sequence[str] = ENGINES,
    only: Sequence[str] = (),
    count: int | None = None,
) -> tuple[str, bool]:
    """Break the smallest study and federation in every way that takes minutes, and compare what they give in the end.

    Args:
        output_dir: everything is written to ``<output_dir>/faults``, the table to ``faults.md`` there.
        seed: of the moments and places in the study.
        parts: of ``PARTS``.
        engines: of the federation, of ``ENGINES``.
        only: groups of faults, of ``GROUPS`` and ``STUDY_GROUPS``; empty: all. Those tried before stay in the table.
        count: kills of the study, and kinds of damaged files of it, at most; None: all.
    Returns:
        The table, and whether nothing was lost.
    Raises:
        InputError: a name is unknown, or the unbroken study fails already.
    """
    _check("part", parts, PARTS)
    _check("engines", engines, ENGINES)
    _check("only", only, (*GROUPS, *STUDY_GROUPS))
    folder = make_folder(Path(output_dir).resolve() / "faults")
    make_phantoms(folder / "data")
    if not only:
        remove_tree(folder / "outcomes.json")
    kept = KeptOutcomes(folder / "outcomes.json")
    for key, outcomes in _tried(folder, parts, engines, only or (*GROUPS, *STUDY_GROUPS), seed, count):
        kept.put(key, outcomes)
    keys = [_key(*pair) for pair in federation_groups(ENGINES)] + [
        _key(name, "study") for name in STUDY_GROUPS
    ]
    outcomes = kept.of(keys)
    table = f"{outcome_table(outcomes)}\n{machine()}\n"
    write_text(folder / "faults.md", table)
    return table, not any(outcome.lost for outcome in outcomes)


def _check(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(f"{what}: expected some of {', '.join(known)}, found {name!r}")


def _tried(
    folder: Path,
    parts: Sequence[str],
    engines: Sequence[str],
    only: Sequence[str],
    seed: int,
    count: int | None,
) -> Iterator[tuple[str, list[Outcome]]]:
    """Each group of faults as it ends: its key, and what became of it."""
    data = folder / "data"
    if "federation" in parts:
        remove_tree(folder / "federation")
        for group, engine in federation_groups(engines):
            if group in only:
                yield _key(group, engine), federation_faults(folder / "federation", data, group, engine)
    if "study" in parts and set(only) & set(STUDY_GROUPS):
        for group, outcome in study_faults(folder / "study", data, seed, count, only):
            print(outcome, flush=True)
            yield _key(group, "study"), [outcome]


def _key(group: str, engine: str) -> str:
    return f"{group} {engine}"
