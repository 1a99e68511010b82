"""Episodes of meta-learning: batches of domains to learn from and of a domain to generalise to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.utils.data import default_collate

from shared_components.data.domain_splits import patient
from shared_components.data.samplers import shuffled_passes
from shared_components.data.slices import SliceDataset
from shared_components.errors import InputError

Batch = dict[str, Tensor]
Episode = dict[str, Batch]


class EpisodeLoader:
    """``batches`` iterations of ``{"labelled": episode, "unlabelled": episode}``.

    An episode is ``{"meta_train": batch, "meta_test": batch}`` with ``batch_size`` slices each. Every iteration
    draws one split of the domains for both episodes. Within a batch the slices of one domain stand together, and
    the domains have equally many (one more for a random few where the numbers do not divide). The labelled
    episode draws labelled slices of the domains that have some, the unlabelled one all slices alike.

    Where only one domain has slices for an episode, its subjects are split in place of domains, half and half;
    where that domain has only one subject, both batches draw from it.

    Each domain (or subject) is passed over in a new random order again and again. Splits and orders are drawn
    from torch's global random state when an iteration needs them: restoring that state at the start of an epoch
    repeats the epoch.

    Args:
        dataset: the slices of all source domains.
        batch_size: slices of a meta-train batch, and of a meta-test batch.
        batches: iterations an epoch.
        meta_test_domains: domains of a meta-test batch; labelled episodes have fewer where few domains have labels.
        labelled: give labelled episodes, if any slice has a label.
        unlabelled: give unlabelled episodes.
    Raises:
        InputError: a size that is no positive number, ``meta_test_domains`` that leave no domain to train on, or
            no episode to give.
    Source: Li et al. 2018, Learning to Generalize (MLDG), Alg. 1: the domains split anew in every iteration.
    """

    def __init__(
        self,
        dataset: SliceDataset,
        batch_size: int,
        batches: int,
        meta_test_domains: int = 1,
        labelled: bool = True,
        unlabelled: bool = True,
    ) -> None:
        if min(batch_size, batches, meta_test_domains) < 1:
            raise InputError(
                "expected at least one slice a batch, one batch and one meta-test domain, "
                f"found {batch_size}, {batches} and {meta_test_domains}"
            )
        self.dataset, self.batch_size, self.batches = dataset, batch_size, batches
        self._domains = list(dict.fromkeys(item["domain"] for item in dataset.items))
        if len(self._domains) > 1 and meta_test_domains >= len(self._domains):
            raise InputError(
                f"meta_test_domains: expected fewer than the {len(self._domains)} domains of the training data, "
                f"found {meta_test_domains}"
            )
        self._pools: dict[str, _Pools] = {}
        if labelled and dataset.labelled:
            self._pools["labelled"] = _pools(dataset, dataset.labelled, meta_test_domains)
        if unlabelled:
            self._pools["unlabelled"] = _pools(dataset, range(len(dataset)), meta_test_domains)
        if not self._pools:
            raise InputError(
                "no episodes: the training data have no labelled slices and unlabelled ones are switched off; "
                "add labels to dataset.json or switch unlabelled updates on"
            )

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[dict[str, Episode]]:
        streams = {kind: pools.streams() for kind, pools in self._pools.items()}
        for _ in range(self.batches):
            order = shuffled(self._domains)
            yield {kind: self._episode(pools, streams[kind], order) for kind, pools in self._pools.items()}

    def _episode(self, pools: _Pools, streams: Mapping[str, Iterator[int]], order: Sequence[str]) -> Episode:
        return {
            role: default_collate([self.dataset[i] for i in self._slices(names, streams)])
            for role, names in pools.split(order).items()
        }

    def _slices(self, names: Sequence[str], streams: Mapping[str, Iterator[int]]) -> list[int]:
        # as many of each; the order of names is random, and so are those with one more
        each, more = divmod(self.batch_size, len(names))
        counts = [each + (place < more) for place in range(len(names))]
        return [i for name, count in zip(names, counts, strict=True) for i in islice(streams[name], count)]


@dataclass(frozen=True)
class _Pools:
    """Slices to draw from, grouped by what an episode splits.

    Attributes:
        slices: slice indices by domain, or by subject of the only domain.
        by_domain: which of the two.
        meta_test: groups of a meta-test batch; 0 when there is only one group, for both batches.
    """

    slices: dict[str, list[int]]
    by_domain: bool
    meta_test: int

    def streams(self) -> dict[str, Iterator[int]]:
        return {name: shuffled_passes(pool) for name, pool in self.slices.items()}

    def split(self, order: Sequence[str]) -> dict[str, list[str]]:
        """Names of the groups of each batch; ``order`` is the iteration's order of domains, meta-test first."""
        names = [name for name in order if name in self.slices] if self.by_domain else shuffled(self.slices)
        return {"meta_train": names[self.meta_test :], "meta_test": names[: self.meta_test] or names}


def _pools(dataset: SliceDataset, indices: Sequence[int], meta_test_domains: int) -> _Pools:
    items = [dataset.items[dataset.index[i].item] for i in indices]
    domains = _grouped(indices, [item["domain"] for item in items])
    if len(domains) > 1:
        return _Pools(domains, True, min(meta_test_domains, len(domains) - 1))
    subjects = _grouped(indices, [patient(item) for item in items])
    return _Pools(subjects, False, len(subjects) // 2)


def _grouped(indices: Sequence[int], names: Sequence[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index, name in zip(indices, names, strict=True):
        groups[name].append(index)
    return dict(groups)


def shuffled(names: Sequence[str] | Mapping[str, object]) -> list[str]:
    """The names in a random order, from torch's global random state."""
    names = list(names)
    return [names[place] for place in torch.randperm(len(names)).tolist()]
