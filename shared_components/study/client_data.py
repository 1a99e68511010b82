"""All data of one site: one or several client data roots; or, elsewhere, what the site tells of them in counts."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_components.data.client_root import ClientRoot
from shared_components.data.dataset_json import DATASET_FILE, SPLITS
from shared_components.data.label_maps import known_text
from shared_components.errors import InputError, folder_name_fault, name_fault, shown
from shared_components.federation.section import is_expression


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

    def read_for(self, splits: Iterable[str], labels: bool = True) -> dict[str, Any]:
        """Every ``dataset.json`` to what is read of it, as of :meth:`ClientRoot.read_for`."""
        splits = tuple(splits)
        read = (root.read_for(splits, labels) for root in self.roots)
        return dict(zip(self.files, read, strict=True))

    def paths(self, splits: Iterable[str], labels: bool = True) -> tuple[str, ...]:
        """Images of some splits, and their labels unless these are not read."""
        items = [item for split in splits for item in self.items(split)]
        keys = ("image", "label") if labels else ("image",)
        return tuple(item[key] for item in items for key in keys if key in item)

    @property
    def label_share(self) -> float:
        """Fraction of the training images that carry a label."""
        return len(self.items("training", labelled=True)) / max(1, len(self.items("training")))

    @property
    def labelled(self) -> tuple[int, int]:
        """Number of training images with a label, and of those whose label is known as a whole."""
        number = len(self.items("training", labelled=True))
        return number, number - self.partly("training")

    def labelled_in(self, domains: Collection[str]) -> bool:
        """Whether a training image of one of the domains has a label."""
        return any(root.domain in domains and _labelled(root) for root in self.roots)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Split to the number of images in ``total``, of those ``labelled``, and of these known ``partly``."""
        return {
            split: {
                "total": len(self.items(split)),
                "labelled": len(self.items(split, labelled=True)),
                "partly": self.partly(split),
            }
            for split in SPLITS
        }

    def partly(self, split: str) -> int:
        """Number of images of a split of whose label a part is known."""
        return sum(bool(known_text(item)) for item in self.items(split, labelled=True))

    def items(self, split: str, labelled: bool | None = None) -> list[dict[str, str]]:
        """Entries of a split of all roots, as of :meth:`ClientRoot.items`."""
        return [item for root in self.roots for item in root.items(split, labelled)]


def _labelled(root: ClientRoot) -> int:
    return len(root.items("training", labelled=True))


COUNTS = ("partly", "labelled", "total")  # each of them among the next
MOST_IMAGES = 10**6  # of a split at one site
ELSEWHERE = "at its own site"


@dataclass(frozen=True)
class SiteDescription:
    """In the place of :class:`ClientData` where the data are not.

    Attributes:
        labels: label value to class name.
        domains: as of :attr:`ClientData.domains`.
        counts: as of :attr:`ClientData.counts`.
        state: changes when a file that it trains on does.
        noisy: whether it demands noise of what leaves it.
    """

    labels: dict[int, str]
    domains: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    state: str
    noisy: bool = False

    @classmethod
    def of(cls, data: ClientData, state: str, noisy: bool = False) -> SiteDescription:
        """What a site tells of its data."""
        return cls(dict(data.labels), data.domains, data.counts, state, noisy)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], client: str) -> SiteDescription:
        """What :meth:`as_dict` has made, after a way through the network.

        Raises:
            InputError: it is something else.
        """
        labels, domains, counts, state = (values.get(key) for key in ("labels", "domains", "counts", "state"))
        if not (
            _are_labels(labels)
            and isinstance(domains, list | tuple)
            and domains
            and not any(folder_name_fault(domain) or is_expression(domain) for domain in domains)
            and isinstance(counts, dict)
            and all(_are_counts(counts.get(split)) for split in SPLITS)
            and re.fullmatch(r"[0-9a-f]{16}", str(state))
        ):
            raise InputError(f"client {client}: expected a description of its data, found {shown(values)}")
        found = {split: {key: counts[split][key] for key in COUNTS} for split in SPLITS}
        named = {int(value): name for value, name in labels.items()}
        return cls(named, tuple(domains), found, state, values.get("noisy") is True)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        labels = {str(value): name for value, name in self.labels.items()}
        told = {"labels": labels, "domains": list(self.domains), "counts": self.counts, "state": self.state}
        return {**told, "noisy": self.noisy}

    @property
    def dataset_dir(self) -> str:
        """Not known here; whoever reads it at the site has the data themselves."""
        return ELSEWHERE

    @property
    def files(self) -> tuple[str, ...]:
        """Not known here."""
        return ()

    def read_for(self, splits: Iterable[str], labels: bool = True) -> dict[str, Any]:
        """Not known here."""
        return {}

    def paths(self, splits: Iterable[str], labels: bool = True) -> tuple[str, ...]:
        """Not known here."""
        return ()

    @property
    def label_share(self) -> float:
        """Fraction of the training images that carry a label."""
        return self.counts["training"]["labelled"] / max(1, self.counts["training"]["total"])

    @property
    def labelled(self) -> tuple[int, int]:
        """Number of training images with a label, and of those whose label is known as a whole."""
        number = self.counts["training"]["labelled"]
        return number, number - self.partly("training")

    def labelled_in(self, domains: Collection[str]) -> bool:
        """Whether a training image of one of the domains has a label, as far as counts of all domains tell."""
        return any(domain in domains for domain in self.domains) and self.labelled[0] > 0

    def partly(self, split: str) -> int:
        """Number of images of a split of whose label a part is known."""
        return self.counts[split]["partly"]

    def items(self, split: str, labelled: bool | None = None) -> list[dict[str, str]]:
        """As many entries as the site has; what stands in them is not known here, so they are empty."""
        count = self.counts[split]
        number = {None: count["total"], True: count["labelled"], False: count["total"] - count["labelled"]}
        return [{} for _ in range(number[labelled])]


def _are_labels(value: Any) -> bool:
    """Whether it names classes as a ``dataset.json`` must: the values from 0 without a gap."""
    return (
        isinstance(value, dict)
        and bool(value)
        and {str(each) for each in value} == {str(number) for number in range(len(value))}
        and not any(name_fault(name) for name in value.values())
    )


def _are_counts(value: Any) -> bool:
    if not isinstance(value, dict) or any(type(value.get(key)) is not int for key in COUNTS):
        return False
    partly, labelled, total = (value[key] for key in COUNTS)
    return 0 <= partly <= labelled <= total <= MOST_IMAGES
