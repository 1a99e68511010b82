"""What a run that goes on may have changed: it keeps the settings with which it began but for ``FREE_TO_CHANGE``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared_components.errors import InputError, shown
from shared_components.federation.federation import Federation
from shared_components.federation.federation_file import federation_from
from shared_components.records import as_yaml_record

FREE_TO_CHANGE = (
    *("name", "rounds", "engine", "workers", "output_dir", "versions", "study"),
    "bundle",  # its place; what it says is compared in bundle.yaml
    "start",  # the same; what it holds is compared by its digest
    *("min_clients", "round_timeout", "largest_update"),
)


def setting_changes(before: Any, after: Any, free: tuple[str, ...] = (), at: str = "") -> list[str]:
    """Where two nested settings differ, as ``key: before -> after``; top-level keys in ``free`` may."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [k for k in [*before, *(k for k in after if k not in before)] if at or k not in free]
        nested = (
            setting_changes(before.get(k), after.get(k), at=f"{at}.{k}" if at else str(k)) for k in keys
        )
        return [line for lines in nested for line in lines]
    return [] if before == after else [f"{at} was {shown(before)} and is now {shown(after)}"]


def without_demands(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a federation without what its clients demand, which may change; others as they are."""
    clients = settings.get("clients")
    if not isinstance(clients, dict):
        return dict(settings)
    rest = {
        name: {k: v for k, v in entry.items() if k != "privacy"} if isinstance(entry, dict) else entry
        for name, entry in clients.items()
    }
    return {**settings, "clients": rest}


def completed(before: Mapping[str, Any], federation: Federation) -> dict[str, Any]:
    """Settings of a run that an earlier version began, and those that it had not yet, as they are by default.

    Args:
        before: of the run, as :meth:`Federation.as_dict`.
        federation: with which it is to go on.
    """
    known = _cut(federation.as_dict(), before)
    try:
        default = federation_from(known, source=Path(federation.name), elsewhere=True)
    except InputError:  # what is left fits no federation: settings differ, and are told
        return dict(before)
    return _filled(before, as_yaml_record(default.as_dict()))


def _cut(values: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """Those of nested ``values`` whose keys ``like`` has too."""
    return {
        key: _cut(value, like[key]) if isinstance(value, dict) and isinstance(like[key], dict) else value
        for key, value in values.items()
        if key in like
    }


def _filled(values: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """Nested ``values``, and those of ``default`` whose keys they lack."""
    nested = {
        key: _filled(value, default[key])
        for key, value in values.items()
        if isinstance(value, dict) and isinstance(default.get(key), dict)
    }
    return {**default, **values, **nested}
