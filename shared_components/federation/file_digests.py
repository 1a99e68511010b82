"""What files hold, told by their contents, and read again only where size or times say that they may have changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from shared_components.records import found_record, write_record


def digest(path: str | os.PathLike) -> str | None:
    """SHA-256 of a file, or of the names and contents of a folder's files; None where there is neither."""
    path = Path(path)
    if path.is_dir():
        whole = hashlib.sha256()
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            whole.update(f"{file.relative_to(path).as_posix()}\0{digest(file)}\0".encode(errors="replace"))
        return whole.hexdigest()
    if not path.is_file():
        return None
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class FileDigests:
    """Digests of files and folders, kept in a file between runs.

    Args:
        file: where they are kept; one that is missing or damaged is made again. None: nowhere.
    """

    def __init__(self, file: str | os.PathLike | None = None) -> None:
        self._file = None if file is None else Path(file)
        before = None if self._file is None else found_record(self._file)
        self._before: dict[str, dict] = (before or {}).get("files", {})
        self._known: dict[str, dict] = {}

    def of(self, path: str | os.PathLike) -> str | None:
        """As :func:`digest`."""
        key, stamp = str(path), _stamp(Path(path))
        known = self._known.get(key) or self._before.get(key)
        if stamp is None or known is None or known["stamp"] != stamp:
            known = {"stamp": stamp, "sha256": digest(path)}
        self._known[key] = known
        return known["sha256"]

    def keep(self) -> None:
        """Write those that were asked for.

        Raises:
            InputError: the file cannot be written.
        """
        if self._file is not None:
            write_record(self._file, {"files": self._known})


def _stamp(path: Path) -> list[list[int]] | None:
    """Sizes and times of change of a file or of a folder's files; None where there is neither."""
    if not path.exists():
        return None
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [[s.st_size, s.st_mtime_ns, s.st_ctime_ns] for s in map(os.stat, files)]
