"""Resolutions that generator and discriminator go through."""

from __future__ import annotations

from shared_components.errors import InputError


def resolutions(size: int, levels: int) -> tuple[int, ...]:
    """Resolutions in px, coarsest first, ending at ``size``: ``resolutions(48, 5)`` is (3, 6, 12, 24, 48).

    Raises:
        InputError: ``size`` is not divisible by 2^(levels - 1), or the coarsest would be below 3 px.
    """
    base, rest = divmod(size, 2 ** (levels - 1))
    if rest or base < 3:
        raise InputError(
            f"image_size {size} with {levels} resolutions: expected a base of at least 3 px times a power of two, "
            f"found {size} / {2 ** (levels - 1)}; change image_size or the number of generator channels"
        )
    return tuple(base * 2**level for level in range(levels))
