"""What the figures of an audit mean, in plain sentences."""

from __future__ import annotations

from shared_components.audit.figures import Figure, Figures
from shared_components.metrics.membership import FEWEST

SPACES = ("image", "features")
ROUGH = 0.1  # share of memorised slices that could go unnoticed, above which the evidence is called weak


def is_flagged(figures: Figures) -> bool:
    """Whether more slices are memorised, in either space, than chance explains."""
    return any(figures[f"flagged_{space}"].value > 0 for space in SPACES if f"flagged_{space}" in figures)


def tells_members(figures: Figures) -> bool:
    """Whether the membership attack does better than chance in either space, with volumes enough to say so."""
    return not has_few_volumes(figures) and any(
        figures[f"membership_{space}"].low > 0.5 for space in SPACES if f"membership_{space}" in figures
    )


def has_few_volumes(figures: Figures) -> bool:
    """Whether training and held-out slices may differ because two patients do."""
    return min(figures[f"{split}_volumes"].value for split in ("training", "held_out")) < FEWEST


def sentence(figures: Figures) -> str:
    """What the audit says of one domain of a client."""
    if "memorised_image" not in figures:
        return (
            "Whether it copies cannot be told: that takes two training slices, and two slices of validation or test "
            "volumes of the same domain to compare with."
        )
    rate, attack = _worst(figures, "memorised"), _worst(figures, "membership")
    return " ".join(
        part for part in (_copies(figures, rate), _members(figures, attack), _weak(figures)) if part
    )


def _worst(figures: Figures, name: str) -> Figure:
    """Of the two spaces that in which the factory gives more away."""
    return max((figures[f"{name}_{space}"] for space in SPACES), key=lambda figure: figure.low)


def _copies(figures: Figures, rate: Figure) -> str:
    if is_flagged(figures):
        return (
            f"The factory COPIES: {percent(rate)} of its slices lie as near to a single training slice as only "
            f"{100 * rate.real:.0f} % of new slices do. Do not hand it on; train it shorter, on more images or with "
            "augmentation."
        )
    return (
        f"No sign of copies: {percent(rate)} of the generated slices lie as near to a single training slice as "
        f"{100 * rate.real:.0f} % of new slices do, which is what chance gives."
    )


def _members(figures: Figures, attack: Figure) -> str:
    told = f"AUC {interval(attack, 2)}; 0.5 is guessing, 1 always right"
    if has_few_volumes(figures):
        return (
            f"Of so few volumes a membership attack's success ({told}) may be the difference of two patients."
        )
    success = (
        "tells training images from new ones" if tells_members(figures) else "does no better than guessing"
    )
    return f"A membership attack {success} ({told})."


def _weak(figures: Figures) -> str:
    if is_flagged(figures):
        return ""
    unnoticed = figures["memorised_by_chance_image"].high
    volumes = int(figures["held_out_volumes"].value), int(figures["training_volumes"].value)
    if unnoticed <= ROUGH and not has_few_volumes(figures):
        return ""
    return (
        f"This is weak evidence, from {counted(volumes[0], 'held-out volume')} and "
        f"{counted(volumes[1], 'training volume')}: "
        f"copies of fewer than {100 * unnoticed:.0f} % of the slices would go unnoticed."
    )


def counted(number: int, word: str) -> str:
    """``1 volume``, ``2 volumes``."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def percent(figure: Figure) -> str:
    """``3 % [1, 6]``."""
    return f"{100 * figure.value:.0f} % [{100 * figure.low:.0f}, {100 * figure.high:.0f}]"


def interval(figure: Figure, digits: int) -> str:
    """``0.53 [0.45, 0.61]``."""
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"
