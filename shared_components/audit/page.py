"""The page of an audit, in Markdown, and what its figures mean in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from shared_components.audit.figures import FEWEST_COMPARED, Figure, Figures
from shared_components.errors import InputError, counted
from shared_components.metrics.memorisation import FEWEST

WORDS = {  # a figure's name, without the space's, to what it is
    "training_slices": "training slices",
    "training_volumes": "training volumes",
    "training_patients": "training patients",
    "held_out_slices": "held-out slices, of validation and test volumes",
    "held_out_volumes": "held-out volumes",
    "held_out_patients": "held-out patients",
    "drawn_slices": "slices drawn by the factory",
    "memorised": "memorised share of the drawn slices; real: expected by chance",
    "memorised_by_chance": "the same of held-out slices",
    "flagged": "1: more than chance explains",
    "membership": "AUC of the membership attack; real: it tells nothing",
    "nearer_to_training": "share nearer to a training than to a held-out slice, of as many patients",
    "nearest_distance": "median distance to the nearest training slice; real: held-out slice, of as many patients",
    "data_copying": "z-score of Meehan's test (far below 0: nearer to training slices than new ones are)",
    "frechet": "Fréchet distance from held-out slices; real: that of training slices",
    "kernel_distance": "kernel distance (squared MMD), the same",
    "density": "density (Naeem et al.); real: of training slices",
    "coverage": "coverage of held-out slices; real: by training slices",
    "frechet_lower": "Fréchet distance in the lowest third of the volumes",
    "frechet_middle": "in the middle third",
    "frechet_upper": "in the highest third",
    "path_length": "path length between latents (PPL, in squared spreads of features); small: even",
    "neighbour_difference": "mean absolute difference of neighbouring slices of a volume; real: of real volumes",
}
SETS = ("drawn", "training", "held_out")
SPACES = {"image": "pixels", "features": "features"}
JUDGED_BY = (  # of the figures above what a sentence is made of where slices were compared
    *(f"{name}_{space}" for name in ("memorised", "memorised_by_chance", "membership") for space in SPACES),
    *("training_volumes", "held_out_volumes"),
)
NOTE = """Slices are prepared as for the factory's training. *Pixels* are those of slices of at most 64 px; *features* \
those of a fixed random convolutional network, seed 0, which needs no download; distances in them are of features \
divided by their spread over the training slices. A slice is memorised if its distance to the nearest training slice, \
over the mean distance to the 50 nearest (Carlini et al. 2023), is below that of 99 % of held-out slices (as Meehan \
et al. 2020 calibrate). The interval of that share is Wilson's; that of chance tells how well so many held-out slices \
fix the limit, of which those of one patient, as far as they are alike, count as one (Kish 1965). The attack takes \
slices near to a generated one for training slices (GAN-Leaks, Chen et al. 2020); its interval, and that of the share \
that is nearer to training slices, is a bootstrap over patients. No test proves that nothing is given away."""
STAY = """The pictures show **real images**: they are for this client alone, and must not leave it. Each line: a \
generated slice, the training slice that it is nearest to, and their difference; the most suspicious first."""
ROUGH = 0.1  # share of memorised slices that could go unnoticed, above which the evidence is called weak


def page(name: str, figures: Mapping[str, Figures], pictures: Mapping[str, Path]) -> str:
    """Markdown whose first line says what it means.

    Args:
        name: of the factory.
        figures: domain to its figures.
        pictures: domain to the picture of the worst pairs.
    """
    return "\n".join(_lines(name, figures, pictures))


def _lines(name: str, figures: Mapping[str, Figures], pictures: Mapping[str, Path]) -> Iterator[str]:
    several = len(figures) > 1
    for domain, own in figures.items():
        yield f"{domain}: {sentence(own)}" if several else sentence(own)
        yield ""
    yield f"# Audit of {name}"
    for domain, own in figures.items():
        yield from (
            "",
            f"## {domain}",
            "",
            "| figure | factory | 95 % interval | real |",
            "|---|---|---|---|",
        )
        yield from (f"| {' | '.join(row)} |" for row in map(_row, own, own.values()))
    yield from ("", NOTE, "")
    if pictures:
        yield from (STAY, "")
        yield from (f"![{domain}: worst pairs]({path.name})\n" for domain, path in pictures.items())


def words_of(name: str) -> str:
    """What a figure is."""
    for space, word in SPACES.items():
        if name.endswith(f"_{space}"):
            return f"{WORDS[name.removesuffix(f'_{space}')]} ({word})"
    return WORDS[name]


def _row(name: str, figure: Figure) -> list[str]:
    between = "" if math.isnan(figure.low) else f"{number(figure.low)} to {number(figure.high)}"
    return [words_of(name), number(figure.value), between, number(figure.real)]


def number(value: float) -> str:
    """Three digits; empty where there is none."""
    if math.isnan(value):
        return ""
    return (
        f"{value:.0f}"
        if math.isfinite(value) and value == round(value) and abs(value) >= 1
        else f"{value:.3g}"
    )


def is_flagged(figures: Figures) -> bool:
    """Whether more slices are memorised, in either space, than chance explains."""
    return any(figures[f"flagged_{space}"].value > 0 for space in SPACES if f"flagged_{space}" in figures)


def cannot_tell(figures: Figures) -> bool:
    """Whether it may copy or not: there is nothing to compare with, or so little that chance may explain much."""
    if "memorised_image" not in figures:
        return True
    return not is_flagged(figures) and any(
        figures[f"memorised_{space}"].low > figures[f"memorised_{space}"].real
        and figures[f"memorised_by_chance_{space}"].high > ROUGH
        for space in SPACES
    )


def is_weak(figures: Figures) -> bool:
    """Whether an audit that finds nothing has too few patients or slices to find much."""
    return _has_few_patients(figures) or figures["memorised_by_chance_image"].high > ROUGH


def tells_members(figures: Figures) -> bool:
    """Whether the membership attack does better than chance in either space, with patients enough to say so."""
    return not _has_few_patients(figures) and any(
        figures[f"membership_{space}"].low > 0.5 for space in SPACES if f"membership_{space}" in figures
    )


def _has_few_patients(figures: Figures) -> bool:
    """Whether training and held-out slices may differ because two patients do."""
    return min(_patients(figures, split) for split in ("training", "held_out")) < FEWEST


def _patients(figures: Figures, split: str) -> int:
    """Patients of a split; its volumes in a table that was written before they were counted."""
    return int(figures.get(f"{split}_patients", figures[f"{split}_volumes"]).value)


def sentence(figures: Figures) -> str:
    """What the audit says of one domain of a client.

    Raises:
        InputError: a figure that it takes is missing, or a number of slices, volumes or patients is none.
    """
    _check(figures)
    if "memorised_image" not in figures:
        return (
            "Whether it copies cannot be told: that takes two slices that it draws, two training slices, and two of "
            f"validation or test volumes of the same domain to compare with{_lacking(figures)}."
        )
    rate, attack = _worst(figures, "memorised"), _worst(figures, "membership")
    return " ".join(
        part for part in (_copies(figures, rate), _members(figures, attack), _weak(figures)) if part
    )


def _check(figures: Figures) -> None:
    needed = JUDGED_BY if "memorised_image" in figures else [f"{name}_slices" for name in SETS]
    missing = [name for name in needed if name not in figures]
    if missing:
        raise InputError(f"audit: expected a figure '{missing[0]}', found none; audit again")
    for name in (f"{part}_{kind}" for part in SETS for kind in ("slices", "volumes", "patients")):
        if name in figures and not math.isfinite(figures[name].value):
            raise InputError(
                f"audit: expected a number as '{name}', found {figures[name].value}; audit again"
            )


def _lacking(figures: Figures) -> str:
    """Which sets have too few slices, to end a sentence with."""
    counts = {name: figures[f"{name}_slices"].value for name in SETS}
    few = [f"{count:.0f} {_hyphened(name)}" for name, count in counts.items() if count < FEWEST_COMPARED]
    return f"; found {' and '.join(few)}" if few else ""


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
    if cannot_tell(figures):
        chance = max(figures[f"memorised_by_chance_{space}"].high for space in SPACES)
        return (
            f"Whether it copies cannot be told: {percent(rate)} of the generated slices lie as near to a single "
            f"training slice as {100 * rate.real:.0f} % of held-out slices do, but of new slices up to "
            f"{100 * chance:.0f} % may, for all that so few held-out ones tell."
        )
    return (
        f"No sign of copies: {percent(rate)} of the generated slices lie as near to a single training slice as "
        f"{100 * rate.real:.0f} % of new slices do, which is what chance gives."
    )


def _members(figures: Figures, attack: Figure) -> str:
    told = f"AUC {interval(attack, 2)}; 0.5 is guessing, 1 always right"
    if _has_few_patients(figures):
        return f"Of so few patients a membership attack's success ({told}) may be the difference of two patients."
    if attack.high < 0.5:
        return (
            f"A membership attack takes new images for training ones ({told}): held-out and training volumes differ by "
            "more than the training, so that it can tell nothing here."
        )
    success = (
        "tells training images from new ones" if tells_members(figures) else "does no better than guessing"
    )
    return f"A membership attack {success} ({told})."


def _weak(figures: Figures) -> str:
    made = f"from {_counted(figures, 'held_out')} and {_counted(figures, 'training')}"
    if is_flagged(figures):
        return f"This is judged {made}." if _has_few_patients(figures) else ""
    unnoticed = figures["memorised_by_chance_image"].high
    if not is_weak(figures):
        return ""
    return (
        f"This is weak evidence, {made}: copies of fewer than {100 * unnoticed:.0f} % of the slices would go "
        "unnoticed."
    )


def _counted(figures: Figures, split: str) -> str:
    """``12 held-out volumes of 2 patients``."""
    volumes, patients = int(figures[f"{split}_volumes"].value), _patients(figures, split)
    told = counted(volumes, f"{_hyphened(split)} volume")
    return told if patients == volumes else f"{told} of {counted(patients, 'patient')}"


def _hyphened(name: str) -> str:
    return name.replace("_", "-")


def percent(figure: Figure) -> str:
    """``3 % [1, 6]``."""
    return f"{100 * figure.value:.0f} % [{100 * figure.low:.0f}, {100 * figure.high:.0f}]"


def interval(figure: Figure, digits: int) -> str:
    """``0.53 [0.45, 0.61]``."""
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"
