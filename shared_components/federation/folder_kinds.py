"""What an output folder holds: a run, or a study, whose runs lie in folders of their own; never both.

Both keep folders of the same clients there, and each clears away what it takes for an earlier one of its own.
"""

from __future__ import annotations

from pathlib import Path

from shared_components.errors import InputError
from shared_components.federation.spending import ROUNDS
from shared_components.federation.start import GLOBAL, IN_STUDY, SETTINGS
from shared_components.study_record import FILE_NAME

ELSEWHERE = "name another output_dir (at a server the folder is called as the federation: change its 'name')"


def refuse_study(folder: Path) -> None:
    """Keep a run out of the folder of a study.

    Args:
        folder: in which the run is to write.
    Raises:
        InputError: a study has begun there.
    """
    if _holds_study(folder):
        raise InputError(
            f"{folder}: expected the folder of a run, found a study; go on with federate.py study FILE --resume, or "
            f"{ELSEWHERE}"
        )


def refuse_run(folder: Path) -> None:
    """Keep a study out of the folder of a run; one that has begun there goes on.

    Args:
        folder: in which the study is to write.
    Raises:
        InputError: the folder holds a run, and no study.
    """
    if not _holds_study(folder) and any((folder / name).is_file() for name in (GLOBAL, ROUNDS)):
        raise InputError(
            f"{folder}: expected the folder of a study, found a run; go on with federate.py run FILE --resume, or "
            f"{ELSEWHERE}"
        )


def _holds_study(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (FILE_NAME, f"{IN_STUDY}/{SETTINGS}"))
