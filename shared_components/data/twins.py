"""Synthetic source slices, their labels and their twins in the target's look, beside the target's own slices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from shared_components.data.datalists import datalist
from shared_components.data.slices import SliceDataset
from shared_components.errors import InputError

Doubt = Callable[[Sequence[Tensor]], Tensor]


class TwinSlices(Dataset):
    """Slices of the same synthetic subjects in two domains, paired slice by slice.

    ``dataset[i]`` is ``{"source": (1, S, S), "twin": (1, S, S), "twin_domain": (), "source_label": (1, S, S) int64,
    "source_position": ()}``.

    Args:
        source: labelled synthetic volumes in a labelled client's look.
        twin: the same subjects in the target's look, the same number of slices each.
        doubt: source slices to how doubtful the label of each is, (N,).
        most: a slice of more doubt is left out; 1 leaves out none, and ``doubt`` is not asked.
    Raises:
        InputError: the two hold different subjects or slices, the source has slices without a label, or all are too
            doubtful.
    """

    def __init__(
        self, source: SliceDataset, twin: SliceDataset, doubt: Doubt | None = None, most: float = 1.0
    ) -> None:
        if source.subjects != twin.subjects or list(source.index) != list(twin.index):
            raise InputError(
                "twins: expected the same subjects and slices in both synthetic data roots, found "
                f"{len(source.subjects)} and {len(twin.subjects)} subjects, {len(source)} and {len(twin)} slices; "
                "draw both with one run of synthesize.yaml"
            )
        if source.unlabelled:
            raise InputError(
                "twins: expected a label for every synthetic source slice; draw them with synthesize.yaml"
            )
        self.source, self.twin = source, twin
        sure = doubt is None or most >= 1
        self._kept = list(range(len(source))) if sure else _believable(source, doubt, most)
        self.labelled = list(range(len(self._kept)))
        self.unlabelled: list[int] = []

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number = self._kept[index]
        twin = self.twin[number]
        return _source_item(self.source[number]) | {"twin": twin["image"], "twin_domain": twin["domain"]}


def _believable(source: SliceDataset, doubt: Doubt, most: float) -> list[int]:
    """Numbers of the slices whose doubt is at most ``most``."""
    doubts = doubt([source[number]["image"] for number in range(len(source))])
    kept = [number for number, value in enumerate(doubts.tolist()) if value <= most]
    if not kept:
        raise InputError(
            f"twin_disagreement: expected synthetic slices with a doubt of at most {most}, found none of "
            f"{len(doubts)}, the least is {float(doubts.min()):.2f}; raise it"
        )
    return kept


def _source_item(slice: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        "source": slice["image"],
        "source_label": slice["label"],
        "source_position": slice["position"],
    }


def twin_slices(
    source_dir: str,
    twin_dir: str,
    dataset: type[SliceDataset] = SliceDataset,
    doubt: Doubt | None = None,
    most: float = 1.0,
    labels: Mapping[int, str] | None = None,
    client_dir: str | Sequence[str] | None = None,
    **slices: Any,
) -> TwinSlices:
    """Twins of two synthetic data roots of the classes ``labels``; ``slices`` go to both of class ``dataset``.

    Raises:
        InputError: the twins are not in the look of the client whose data roots ``client_dir`` names.
    """
    source, twin = (datalist(root, "training", labels=labels) for root in (source_dir, twin_dir))
    if client_dir is not None:
        mine, others = (
            {item["domain"] for item in items} for items in (datalist(client_dir, "training"), twin)
        )
        if not others <= mine:
            raise InputError(
                f"{twin_dir}: twins of domain {', '.join(sorted(others))}, where the client's images are of "
                f"{', '.join(sorted(mine))}; name twins in the client's look as twin_dir, those of the source as "
                "source_dir"
            )
    return TwinSlices(dataset(source, **slices), dataset(twin, **slices), doubt, most)


class SourceSlices(Dataset):
    """Real labelled slices in the place of synthetic ones, without twins. Those without a label are left out.

    Args:
        source: slices of a labelled client.
    Raises:
        InputError: none has a label.
    """

    def __init__(self, source: SliceDataset) -> None:
        if not source.labelled:
            raise InputError(
                "source: expected slices with labels, found none; name the labelled client's data root"
            )
        self.source, self._labelled = source, source.labelled
        self.labelled = list(range(len(source.labelled)))
        self.unlabelled: list[int] = []

    def __len__(self) -> int:
        return len(self._labelled)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return _source_item(self.source[self._labelled[index]])


def source_slices(
    source_dir: str | Sequence[str], labels: Mapping[int, str] | None = None, **slices: Any
) -> SourceSlices:
    """The labelled training slices of client data roots of the classes ``labels``; ``slices`` go to
    :class:`SliceDataset`.
    """
    return SourceSlices(SliceDataset(datalist(source_dir, "training", True, labels), **slices))
