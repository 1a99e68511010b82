"""All data of one site: one or several client data roots."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shared_components.data.annotations import known_text
from shared_components.data.client_root import ClientRoot
from shared_components.data.description import DATASET_FILE


@dataclass(frozen=True)
class ClientData:
    """The data roots of a client, or of a scanner on which models are tried.

    Attributes:
        folders: of the data roots, at least one, as they were named.
        roots: what they say.
    """

    folders: tuple[str, ...]
    roots: tuple[ClientRoot, ...]

    @classmethod
    def load(cls, folders: Iterable[str | os.PathLike]) -> ClientData:
        """Read the ``dataset.json`` of every folder.

        Raises:
            InputError: one is missing or faulty.
        """
        named = tuple(str(folder) for folder in folders)
        return cls(named, tuple(ClientRoot.load(folder) for folder in named))

    @property
    def labels(self) -> dict[int, str]:
        """Label value to class name."""
        return self.roots[0].labels

    @property
    def domains(self) -> tuple[str, ...]:
        """Each domain once, the one with the most labelled training images first."""
        return tuple(dict.fromkeys(root.domain for root in sorted(self.roots, key=_labelled, reverse=True)))

    @property
    def dataset_dir(self) -> str | list[str]:
        """As a bundle's config has it: the one folder, or a list."""
        return self.folders[0] if len(self.folders) == 1 else list(self.folders)

    @property
    def files(self) -> tuple[str, ...]:
        """Every ``dataset.json``."""
        return tuple(str(Path(folder, DATASET_FILE)) for folder in self.folders)

    def paths(self, splits: Iterable[str]) -> tuple[str, ...]:
        """Images and labels of some splits."""
        items = [item for split in splits for item in self.items(split)]
        return tuple(item[key] for item in items for key in ("image", "label") if key in item)

    @property
    def label_share(self) -> float:
        """Fraction of the training images that carry a label."""
        return len(self.items("training", labelled=True)) / max(1, len(self.items("training")))

    @property
    def labelled(self) -> tuple[int, int]:
        """Number of training images with a label, and of those whose label is known as a whole."""
        number = len(self.items("training", labelled=True))
        return number, number - self.partly("training")

    def partly(self, split: str) -> int:
        """Number of images of a split of whose label a part is known."""
        return sum(bool(known_text(item)) for item in self.items(split, labelled=True))

    def items(self, split: str, labelled: bool | None = None) -> list[dict[str, str]]:
        """Entries of a split of all roots, as of :meth:`ClientRoot.items`."""
        return [item for root in self.roots for item in root.items(split, labelled)]


def _labelled(root: ClientRoot) -> int:
    return len(root.items("training", labelled=True))
