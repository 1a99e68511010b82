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


def data_record(clients: Mapping[str, Client], digests: FileDigests, labels: bool = True) -> dict[str, Any]:
    """Client name to its data roots, and of each what is trained on: ``domain``; each split's images, with the digests
    of ``image`` and, where labels are read, of ``label`` and what of it is ``annotated``; and ``ignore``.

    A data root without ``dataset.json``, as other bundles may have, is left out. Reading much is told of.

    Args:
        clients: by their names.
        digests: of their files.
        labels: whether the training reads labels; otherwise they do not count.
    Raises:
        InputError: a ``dataset.json`` is faulty.
    """
    roots = {name: dict(_roots(client)) for name, client in clients.items()}
    items = [i for own in roots.values() for root in own.values() for s in TRAINED_ON for i in root.items(s)]
    keys = ("image", "label") if labels else ("image",)
    paths = [item[key] for item in items for key in keys if key in item]
    files = [file for path in paths for file in files_of(path) if file.is_file()]
    much = sum(file.stat().st_size for file in files) > MUCH
    for path in steps(paths, "comparing the clients' files with those of before", "file", shown=much):
        digests.of(path)
    return {
        name: {folder: _described(root, digests, labels) for folder, root in own.items()}
        for name, own in roots.items()
    }


def _roots(client: Client) -> Iterator[tuple[str, ClientRoot]]:
    for folder in client.data_roots:
        if os.path.isfile(Path(folder, DATASET_FILE)):
            yield str(folder), ClientRoot.load(folder)


def _described(root: ClientRoot, digests: FileDigests, labels: bool) -> dict[str, Any]:
    splits = {
        split: {
            entry["image"]: _noted(entry, item, digests, labels)
            for entry, item in zip(root.splits[split], root.items(split), strict=True)
        }
        for split in TRAINED_ON
    }
    return {"domain": root.domain, **splits, **({IGNORE: root.ignore} if labels else {})}


def _noted(
    entry: Mapping[str, Any], item: Mapping[str, Any], digests: FileDigests, labels: bool
) -> dict[str, Any]:
    """What a record tells of an image."""
    image = {"image": digests.of(item["image"])}
    if not labels:
        return image
    label = digests.of(item["label"]) if "label" in item else None
    return {**image, "label": label, ANNOTATED: entry.get(ANNOTATED)}


def data_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What has changed, in words: ``client north: images/s1.nii.gz of training is another file``.

    Labels are compared where both records tell of them.
    """
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
    labels = IGNORE in before and IGNORE in now
    if before["domain"] != now["domain"]:
        yield f"its domain was {before['domain']} and is now {now['domain']}"
    if labels and before[IGNORE] != now[IGNORE]:
        was, is_now = ("none" if record[IGNORE] is None else record[IGNORE] for record in (before, now))
        yield f"its 'ignore' was {was} and is now {is_now}"
    for split in TRAINED_ON:
        old, new = before[split], now[split]
        yield from (f"{image} is gone from {split}" for image in old if image not in new)
        yield from (f"{image} is new in {split}" for image in new if image not in old)
        for image in (image for image in old if image in new):
            yield from _image_changes(f"{image} of {split}", old[image], new[image], labels)


def _image_changes(
    image: str, before: Mapping[str, Any], now: Mapping[str, Any], labels: bool
) -> Iterator[str]:
    if before["image"] != now["image"]:
        yield f"{image} is another file"
    if not labels:
        return
    if (before["label"] is None) != (now["label"] is None):
        yield f"{image} has {'a label now' if now['label'] else 'no label any more'}"
    elif before["label"] != now["label"]:
        yield f"the label of {image} is another one"
    elif before[ANNOTATED] != now[ANNOTATED]:
        yield f"other slices of {image} are annotated"


def told(changes: list[str]) -> str:
    """The first changes, and how many more there are."""
    more = f" and {len(changes) - MOST} more" if len(changes) > MOST else ""
    return "; ".join(changes[:MOST]) + more
