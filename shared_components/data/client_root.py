"""A client's data root: a folder and its ``dataset.json``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_components.data.annotations import ANNOTATED, IGNORE
from shared_components.data.description import DATASET_FILE, SPLITS, read_description
from shared_components.data.entries import read_entries
from shared_components.data.names import entry_subject
from shared_components.data.problems import in_one_line
from shared_components.errors import InputError


@dataclass(frozen=True)
class ClientRoot:
    """What ``dataset.json`` says, its structure checked; the images themselves are not opened.

    Attributes:
        root: the folder, resolved.
        name: the data's name.
        domain: the domain's name in the federation.
        modality: channel number to modality, as in the Decathlon format.
        labels: label value to class name.
        splits: for ``training``, ``validation`` and ``test`` the ``{"image": …, "label": …}`` entries, with
            paths relative to ``root``; an entry without ``label`` is unlabelled, ``subject`` may name what the
            image's file does not, and ``patient`` whose image it is where a patient has several.
        ignore: the value of voxels that nobody annotated in the label maps; ``None`` for none.
    """

    root: Path
    name: str
    domain: str
    modality: dict[str, str]
    labels: dict[int, str]
    splits: dict[str, list[dict[str, Any]]]
    ignore: int | None = None

    @classmethod
    def load(cls, root: str | os.PathLike) -> ClientRoot:
        """Read and check ``dataset.json`` of the folder ``root``.

        Raises:
            InputError: the file is missing or faulty; the text holds the first five faults, on one line.
        """
        content, problems = read_description(root)
        problems = problems + read_entries(root, content)[1]
        if problems:
            raise InputError(in_one_line(problems))
        return cls(
            root=Path(root).resolve(),
            name=content["name"],
            domain=content["domain"],
            modality=dict(content.get("modality", {})),
            labels={int(value): name for value, name in content["labels"].items()},
            splits={split: list(content.get(split, [])) for split in SPLITS},
            ignore=content.get(IGNORE),
        )

    @property
    def file(self) -> Path:
        """The ``dataset.json``."""
        return self.root / DATASET_FILE

    def items(self, split: str, labelled: bool | None = None) -> list[dict[str, Any]]:
        """Entries of a split: ``{"image", "label", "domain", "subject"}``, absolute paths; no absent labels.

        An entry's ``patient`` is passed on, and with a label what says which of it is known: the entry's
        ``annotated`` and the root's ``ignore``.

        Args:
            split: ``training``, ``validation`` or ``test``.
            labelled: ``True`` or ``False`` keeps the entries with or without a label; ``None`` keeps all.
        Raises:
            InputError: there is no such split.
        """
        if split not in SPLITS:
            raise InputError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
        chosen = [e for e in self.splits[split] if labelled is None or ("label" in e) == labelled]
        return [self._item(entry) for entry in chosen]

    def _item(self, entry: dict[str, Any]) -> dict[str, Any]:
        paths = {key: os.path.normpath(self.root / entry[key]) for key in ("image", "label") if key in entry}
        named = {"patient": entry["patient"]} if "patient" in entry else {}
        known = {ANNOTATED: entry.get(ANNOTATED), IGNORE: self.ignore} if "label" in entry else {}
        known = {key: value for key, value in known.items() if value is not None}
        return paths | named | known | {"domain": self.domain, "subject": entry_subject(entry)}
