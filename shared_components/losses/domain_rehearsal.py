"""Holding what a factory draws already while it learns more: rehearsal from its average, without a real image."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared_components.errors import InputError
from shared_components.networks.generator import Generator


class DomainRehearsal(nn.Module):
    r"""Mean absolute difference :math:`E\,|G(z, k, p) - G_0(z, k, p)|` over domains k that a client has no images of.

    :math:`G_0` is the average with which the training began, kept as it was; both draw from the same latents, heights
    and noise maps. It is part of the training's state, and never exchanged.

    Args:
        generator: of the shape of those to come.
        weight: of the term, for the caller; 0: nothing is kept.
        batch: slices drawn for it in each update.
        domains: names of all domains, in order.
        rehearsed: names of those to hold; None: all that the average was trained on, but for the client's own.
        own: domains of the client's own images.
    Raises:
        InputError: a domain to hold is none of ``domains``.
    Source: Wu et al. 2018, Memory Replay GANs (replay alignment).
    Deviation: absolute differences in place of squared ones.
    """

    def __init__(
        self,
        generator: Generator,
        weight: float,
        batch: int,
        domains: Sequence[str],
        rehearsed: Sequence[str] | None = None,
        own: Iterable[str] = (),
    ) -> None:
        super().__init__()
        unknown = [name for name in rehearsed or () if name not in domains]
        if unknown:
            raise InputError(
                f"rehearsed: expected names among {', '.join(domains)}, found {', '.join(unknown)}"
            )
        self.weight, self.batch = weight, batch
        self._wanted = None if rehearsed is None else [list(domains).index(name) for name in rehearsed]
        self._own = {list(domains).index(name) for name in own}
        self._held: Tensor | None = None  # (n,) indices of the domains
        self._flat: Tensor | None = None  # (n,) whether each knows no heights
        self.teacher = copy.deepcopy(generator).requires_grad_(False) if weight else None

    @property
    def active(self) -> bool:
        """Whether there is anything to hold; known after :meth:`begin`."""
        return self._held is not None and len(self._held) > 0

    def begin(self, average: Generator | None, trained: bool = False) -> None:
        """Keep ``average`` as it is now (None: go on with the one that is kept), and see what it can draw.

        Args:
            average: generator to rehearse.
            trained: it is, whatever its counter says, which stands still where updates got noise.
        Raises:
            InputError: it was trained, but says not of which domains.
        """
        if self.teacher is None:
            return
        if average is not None:
            self.teacher.load_state_dict(average.state_dict())
            if trained:
                self.teacher.updates.clamp_(min=1)
        held, device = self._domains(), self.teacher.constant.device
        self._held = torch.tensor(held, dtype=torch.int64, device=device)
        self._flat = torch.tensor([self.teacher.is_flat(domain) for domain in held], device=device)

    def _domains(self) -> list[int]:
        if not int(self.teacher.updates):
            return []  # it cannot draw anything yet
        if self._wanted is not None:
            return self._wanted
        seen = [domain for domain, of in enumerate(self.teacher.slices_seen.tolist()) if any(of)]
        if not seen:
            raise InputError(
                "rehearsed: the factory that the training goes on from says not which domains it was trained on, as "
                "those of earlier versions and those that noise protected do; name them"
            )
        return [domain for domain in seen if domain not in self._own]

    def forward(self, generator: Generator) -> Tensor:
        """The difference, a scalar; :attr:`active` must hold."""
        device = self._held.device
        chosen = torch.randint(len(self._held), (self.batch,), device=device)
        height = torch.where(self._flat[chosen], torch.nan, torch.rand(self.batch, device=device))
        condition = torch.randn(self.batch, generator.z_dim, device=device), self._held[chosen], height
        noise = [torch.randn(self.batch, 1, size, size, device=device) for size in generator.noise_sizes]
        with torch.no_grad():
            before = _drawn(self.teacher, condition, noise)
        return F.l1_loss(_drawn(generator, condition, noise), before)


def _drawn(generator: Generator, condition: tuple[Tensor, Tensor, Tensor], noise: Sequence[Tensor]) -> Tensor:
    """Images, with the probabilities of the classes as further channels where label maps are drawn too."""
    output = generator.synthesis(generator.w_plus(*condition), noise)
    if output.labels is None:
        return output.image
    return torch.cat([output.image, output.labels.softmax(dim=1)], dim=1)
