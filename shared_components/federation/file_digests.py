"""Whether files are still those of before, told by their contents; read again only where size or times have changed.

Of a client's data roots: what it trains on when a run begins, and what has changed since.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared_components.data.client_root import ClientRoot
from shared_components.data.dataset_json import DATASET_FILE
from shared_components.data.image_files import files_of
from shared_components.data.label_maps import ANNOTATED, IGNORE
from shared_components.federation.client_entry import Client
from shared_components.records import found_record, write_record
from shared_components.steps import steps

TRAINED_ON = ("training", "validation")  # a run does not depend on the other splits
KNOWN = "known"  # what a data root says of which parts of its label maps somebody annotated
MUCH = 1_000_000_000  # bytes
MOST = 5  # changes that a message names


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
        """As :func:`digest`; of an image in several files those of all, the named one's first."""
        found = [self._of(file) for file in files_of(path)]
        return found[0] if len(found) == 1 else ",".join(map(str, found))

    def _of(self, path: Path) -> str | None:
        key, stamp = str(path), _stamp(path)
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


def data_record(clients: Mapping[str, Client], digests: FileDigests) -> dict[str, Any]:
    """Client name to what it trains on: each data root's domain, its splits' files with their digests, and what of
    their label maps is known.

    A data root without ``dataset.json``, as other bundles may have, is left out. Reading much is told of.

    Raises:
        InputError: a ``dataset.json`` is faulty.
    """
    roots = {name: dict(_roots(client)) for name, client in clients.items()}
    items = [i for own in roots.values() for root in own.values() for s in TRAINED_ON for i in root.items(s)]
    paths = [item[key] for item in items for key in ("image", "label") if key in item]
    files = [file for path in paths for file in files_of(path) if file.is_file()]
    much = sum(file.stat().st_size for file in files) > MUCH
    for path in steps(paths, "comparing the clients' files with those of before", "file", shown=much):
        digests.of(path)
    return {name: dict(_described(own, digests)) for name, own in roots.items()}


def _roots(client: Client) -> Iterator[tuple[str, ClientRoot]]:
    for folder in client.data_roots:
        if os.path.isfile(Path(folder, DATASET_FILE)):
            yield str(folder), ClientRoot.load(folder)


def _described(roots: Mapping[str, ClientRoot], digests: FileDigests) -> Iterator[tuple[str, dict[str, Any]]]:
    for folder, root in roots.items():
        files = {split: _files(root, split, digests) for split in TRAINED_ON}
        yield folder, {"domain": root.domain, **files, KNOWN: _known(root)}


def _known(root: ClientRoot) -> dict[str, Any]:
    """``ignore`` and, by split, each image's ``annotated``, where the data root has them."""
    entries = {split: [e for e in root.splits[split] if e.get(ANNOTATED) is not None] for split in TRAINED_ON}
    found = {
        split: {e["image"]: e[ANNOTATED] for e in entries[split]} for split in TRAINED_ON if entries[split]
    }
    return {**found, **({} if root.ignore is None else {IGNORE: root.ignore})}


def compared(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a digest of a record is taken of, so that it stays that of earlier versions, which did not look at what is
    known, where all is.
    """
    return {
        name: {
            folder: {key: value for key, value in root.items() if key != KNOWN or value}
            for folder, root in roots.items()
        }
        for name, roots in record.items()
    }


def _files(root: ClientRoot, split: str, digests: FileDigests) -> dict[str, str | None]:
    """``image`` or ``image + label`` of the data root to the digests of both."""
    found = {}
    for entry, item in zip(root.splits[split], root.items(split), strict=True):
        paths = [key for key in ("image", "label") if key in entry]
        found[" + ".join(str(entry[key]) for key in paths)] = " ".join(
            str(digests.of(item[key])) for key in paths
        )
    return found


def data_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What has changed, in words: ``client north: images/s1.nii.gz of training is another file``."""
    return [
        f"client {name}: {change}"
        for name in before
        if name in now
        for root in sorted({*before[name], *now[name]})
        for change in _changes(before[name].get(root), now[name].get(root), root)
    ]


def _changes(before: dict[str, Any] | None, now: dict[str, Any] | None, root: str) -> Iterator[str]:
    if before is None or now is None:
        yield f"the data root {root} is {'new' if before is None else 'gone'}"
        return
    if before["domain"] != now["domain"]:
        yield f"its domain was {before['domain']} and is now {now['domain']}"
    for split in TRAINED_ON:
        old, new = before[split], now[split]
        yield from (f"{name} is gone from {split}" for name in old if name not in new)
        yield from (f"{name} is new in {split}" for name in new if name not in old)
        yield from (
            f"{name} of {split} is another file"
            for name in old
            if name in new and not _same(old[name], new[name])
        )
    yield from _known_changes(before.get(KNOWN), now.get(KNOWN))


def _known_changes(before: dict[str, Any] | None, now: dict[str, Any] | None) -> Iterator[str]:
    """As far as both records tell; those of earlier versions do not."""
    if before is None or now is None:
        return
    if before.get(IGNORE) != now.get(IGNORE):
        yield f"its 'ignore' was {before.get(IGNORE, 'none')} and is now {now.get(IGNORE, 'none')}"
    for split in TRAINED_ON:
        old, new = before.get(split, {}), now.get(split, {})
        yield from (
            f"other slices of {image} of {split} are annotated"
            for image in {**old, **new}
            if old.get(image) != new.get(image)
        )


def _same(before: str, now: str) -> bool:
    """Whether digests are the same; those of earlier versions are of the named files alone."""
    old, new = before.split(" "), now.split(" ")
    return len(old) == len(new) and all(
        n == o or n.startswith(f"{o},") for o, n in zip(old, new, strict=True)
    )


def told(changes: list[str]) -> str:
    """The first changes, and how many more there are."""
    more = f" and {len(changes) - MOST} more" if len(changes) > MOST else ""
    return "; ".join(changes[:MOST]) + more
