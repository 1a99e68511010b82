"""Names on a command line of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from shared_components.errors import InputError


def chosen(value: str | Sequence[str] | None, known: Sequence[str], what: str) -> list[str]:
    """What of ``known`` a command line names, as ``a,b`` or as a list; all for None.

    Raises:
        InputError: a name that is not known.
    """
    if value is None:
        return list(known)
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else list(map(str, value))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(f"{what}: expected some of {', '.join(known)}, found {', '.join(unknown) or 'none'}")
    return list(dict.fromkeys(names))
