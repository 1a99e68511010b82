"""What data the clients of a run had when it began, and what has changed since."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared_components.data.client_root import ClientRoot
from shared_components.data.description import DATASET_FILE
from shared_components.federation.client_entry import Client
from shared_components.federation.file_digests import FileDigests
from shared_components.steps import steps

TRAINED_ON = ("training", "validation")  # a run does not depend on the other splits
MUCH = 1_000_000_000  # bytes
MOST = 5  # changes that a message names


def data_record(clients: Mapping[str, Client], digests: FileDigests) -> dict[str, Any]:
    """Client name to what it trains on: each data root's domain, and its splits' files with their digests.

    A data root without ``dataset.json``, as other bundles may have, is left out. Reading much is told of.

    Raises:
        InputError: a ``dataset.json`` is faulty.
    """
    roots = {name: dict(_roots(client)) for name, client in clients.items()}
    items = [i for own in roots.values() for root in own.values() for s in TRAINED_ON for i in root.items(s)]
    paths = [item[key] for item in items for key in ("image", "label") if key in item]
    much = sum(Path(path).stat().st_size for path in paths if os.path.isfile(path)) > MUCH
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
        yield folder, {"domain": root.domain, **files}


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
            f"{name} of {split} is another file" for name in old if name in new and old[name] != new[name]
        )


def told(changes: list[str]) -> str:
    """The first changes, and how many more there are."""
    more = f" and {len(changes) - MOST} more" if len(changes) > MOST else ""
    return "; ".join(changes[:MOST]) + more
