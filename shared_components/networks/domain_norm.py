"""Batch norm whose statistics and affine parameters are separate for each domain."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DomainGroup(NamedTuple):
    """The samples of one domain in a batch; ``index`` is (n,) integers, or None for the whole batch."""

    domain: int
    index: Tensor | None


class KnownGroups(NamedTuple):
    """Domains (B,) of a batch whose groups were found before it went to its device, which need not be waited for."""

    domain: Tensor
    groups: tuple[DomainGroup, ...]


DomainLabel: TypeAlias = int | Tensor | KnownGroups  # one domain for the whole batch, or (B,) integers


def group_by_domain(domain: DomainLabel) -> tuple[DomainGroup, ...]:
    """Sort a batch's samples by domain, once for all layers; a GPU is waited for unless the groups are known."""
    if isinstance(domain, KnownGroups):
        return domain.groups
    if isinstance(domain, int):
        return (DomainGroup(domain, None),)
    present = torch.unique(domain).tolist()
    if len(present) == 1:
        return (DomainGroup(present[0], None),)
    return tuple(DomainGroup(k, torch.nonzero(domain == k).flatten()) for k in present)


def known_groups(domain: Tensor, device: torch.device) -> KnownGroups:
    """``domain`` (B,) where a batch was loaded, with its groups, on the device."""
    groups = (
        DomainGroup(k, None if index is None else index.to(device, non_blocking=True))
        for k, index in group_by_domain(domain)
    )
    return KnownGroups(domain.to(device, non_blocking=True), tuple(groups))


class DomainBatchNorm2d(nn.Module):
    """One batch norm per domain behind one interface; a batch may mix domains.

    Args:
        channels: channels C of the input.
        domains: number of domains K.
        batch_statistics: normalise by the batch's own statistics at test time too (the published choice);
            predictions then depend on which slices share a batch.
        momentum: weight of a new batch in the running statistics.
    Raises:
        ValueError: a group's domain is not one of 0..K-1.
    Source: Chang et al. 2019, Domain-Specific Batch Normalization.
    """

    def __init__(
        self, channels: int, domains: int, batch_statistics: bool = False, momentum: float = 0.1
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels, momentum=momentum) for _ in range(domains)])
        self.batch_statistics = batch_statistics

    def forward(self, x: Tensor, groups: tuple[DomainGroup, ...]) -> Tensor:
        """``x`` (B, C, H, W) and the groups of :func:`group_by_domain` to (B, C, H, W)."""
        if len(groups) == 1 and groups[0].index is None:
            return self._normalise(x, groups[0].domain)
        out = torch.empty_like(x)
        for group in groups:
            out = out.index_copy(0, group.index, self._normalise(x[group.index], group.domain))
        return out

    def _normalise(self, x: Tensor, domain: int) -> Tensor:
        if not 0 <= domain < len(self.norms):
            raise ValueError(
                f"domain {domain}: expected one of 0..{len(self.norms) - 1}; build it with more domains"
            )
        norm = self.norms[domain]
        if self.batch_statistics and not self.training:
            return F.batch_norm(x, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
        return norm(x)

    @torch.no_grad()
    def copy_domain(self, source: int, target: int) -> None:
        """Start ``target`` from the statistics and affine parameters of ``source``."""
        self.norms[target].load_state_dict(self.norms[source].state_dict())
