"""Every kind of file that a study writes for itself, damaged one after the other."""

from __future__ import annotations

import contextlib
import io
import random
from collections import Counter
from pathlib import Path

from shared_components.benchmarks.faulty_study import FaultyStudy
from shared_components.errors import InputError
from shared_components.federation.federation import Federation
from shared_components.federation.federation_file import read_federation
from shared_components.study.runner import run_study

OWN = (
    *(
        f"factory/{name}"
        for name in ("federation.yaml", "bundle.yaml", "data.json", "versions.json", "seconds.json")
    ),
    *("factory/rounds.csv", "factory/global.pt", "factory/global.previous.pt", "factory/factory.pt"),
    *("factory/clients/*/state.*.pt",),
    *("study.json", "digests.json", "report.html", "clients/*/source_model/model.pt"),
    *(
        f"clients/*/source_model/{name}"
        for name in ("done.json", "checkpoint.pt", "metrics.csv", "overrides.yaml")
    ),
    *("clients/*/synthetic/*/dataset.json", "clients/*/synthetic/**/*.nii.gz"),
    *(
        f"clients/*/adaptation_predictions/{name}"
        for name in ("cases.json", "scores.csv", "*.nii.gz", "done.json")
    ),
)

BACK = "goes on from round"  # of the warning that a damaged round gives way to the one before


def damage_files(
    study: FaultyStudy, chance: random.Random, count: int | None = None
) -> tuple[int, str, tuple[str, ...]]:
    """Flip a byte of a file of each kind, and cut, empty or remove it, and resume each time.

    Args:
        study: that has ended.
        chance: draws files and places in them.
        count: kinds of files, drawn of all; None: all.
    Returns:
        How often a file was damaged, what then became of it, and what was lost.
    """
    federation = read_federation(str(study.file))
    expected = study.results()
    fates: Counter[str] = Counter()
    lost: list[str] = []
    for pattern in OWN if count is None else chance.sample(OWN, min(count, len(OWN))):
        file = chance.choice(sorted(study.folder.glob(pattern)))
        content = file.read_bytes()
        for damaged in (_flipped(content, chance), chance.choice((content[: len(content) // 2], b"", None))):
            _put(file, damaged)
            told, warned = _resumed(federation)
            if told is None:
                still = (file.read_bytes() if file.is_file() else None) == damaged
                again = "made again from the round before" if BACK in warned else "made again"
                fates["not needed any more" if still else again] += 1
                _put(file, content if still else file.read_bytes())
            else:
                fates["refused in one line with the cure"] += 1
                lost += [] if _is_mendable(told) else [f"{file.name}: {told}"]
                _put(file, content)  # the cure: a copy
                told, _ = _resumed(federation)
                lost += [] if told is None else [f"{file.name} put back: {told}"]
            lost += [
                f"after damage to {pattern}: {name} differs"
                for name, digest in study.results().items()
                if expected.get(name) != digest
            ]
            content = file.read_bytes()
        print(f"  {pattern}: {_told(fates)}, so far", flush=True)
    return fates.total(), _told(fates), tuple(lost)


def _told(fates: Counter[str]) -> str:
    return ", ".join(f"{number} {fate}" for fate, number in fates.items())


def _flipped(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def _put(file: Path, content: bytes | None) -> None:
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)


def _resumed(federation: Federation) -> tuple[str | None, str]:
    """The message with which a resumed study was refused, None when it has ended; and its warnings."""
    warnings = io.StringIO()
    with contextlib.redirect_stderr(warnings):
        try:
            run_study(federation, resume=True, quiet=True)
        except InputError as error:
            return str(error), warnings.getvalue()
    return None, warnings.getvalue()


def _is_mendable(told: str) -> bool:
    return "\n" not in told and ("--force" in told or "remove it" in told)
