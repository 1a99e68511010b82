"""A client without labels chooses among models: verdicts as a table, the reason in words, a picture, and the model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from shared_components.choice.criteria import (
    ALIKE,
    MARGIN,
    PARTNER,
    Opinion,
    Verdict,
    chosen,
    mean_dice,
    opinion,
    plausible,
    verdicts,
)
from shared_components.choice.shapes import read_shapes
from shared_components.data.slices import SliceDataset
from shared_components.errors import InputError
from shared_components.handlers.pictures import labelled_grid, save_picture
from shared_components.networks.ensemble import ensemble_of
from shared_components.networks.weights import export_model, with_weights
from shared_components.records import write_record, write_table
from shared_components.steps import steps

RECORD, TABLE, PICTURE = "choice.json", "choice.csv", "choice.png"
COLUMNS = ("candidate", *Verdict._fields, "plausible", "chosen")
SHOWN = 6  # slices in the picture
DOUBTFUL = 1.5  # deviations by which the most plausible shapes may be away from those of labelled patients


def choose(
    candidates: Mapping[str, str],
    network: nn.Module,
    dataset: SliceDataset,
    labels: Mapping[int, str],
    spacing: float | Sequence[float] | None,
    shapes_paths: Sequence[str],
    output_dir: str | os.PathLike,
    ckpt_path: str | os.PathLike,
    description: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    margin: float | None = MARGIN,
    partner: float | None = PARTNER,
    most_slices: int = 400,
    progress: bool = True,
) -> tuple[str, ...]:
    """Let every candidate segment the client's own images, and write the model that serves them best.

    Writes ``choice.csv`` (a line for each candidate), ``choice.json`` (the same with the choice and its reason in
    words), ``choice.png`` (what each finds in some slices) and the chosen model, or two that answer together (see
    :func:`~shared_components.choice.criteria.chosen`). No label is read.

    Args:
        candidates: name to a file with weights, from the one nearest to the labelled images on.
        network: which they fit; its weights are changed.
        dataset: slices of the client's own images.
        labels: label value to class name.
        spacing: size of a pixel, mm.
        shapes_paths: what labelled clients have written of their labels' shapes.
        output_dir: where to write.
        ckpt_path: the chosen model.
        description: goes into its file.
        settings: with which candidates must have been trained, as of
            :func:`~shared_components.networks.weights.with_weights`.
        margin: deviations by which shapes may be less plausible than the most plausible candidate's; None: shapes of
            labelled clients, whose patients show another organ, say nothing.
        partner: share of the clearest edges from which the next candidate answers with the clearest, where both find
            the same (Dice of ``ALIKE``); None: one alone.
        most_slices: see :func:`looked_at`.
        progress: tell how far it is.
    Returns:
        Names of the chosen candidates, the clearest first.
    Raises:
        InputError: no candidates or slices, or a file of theirs or of ``shapes_paths`` that is missing or does not fit.
    """
    if not candidates or not (shapes_paths or margin is None):
        what = "one candidate" if not candidates else "one file of shapes"
        raise InputError(f"choice: expected at least {what}, found none; name it in the config")
    known = [] if margin is None else read_shapes(shapes_paths)
    images, volumes, places = looked_at(dataset, most_slices)
    opinions: dict[str, Opinion] = {}
    total = torch.zeros(())
    for name, path in steps(list(candidates.items()), "candidates", "model", progress):
        one = opinion(with_weights(network, path, settings=settings).eval(), images)
        total = total + one.probabilities.float()  # the sum alone is kept of all: probabilities are large
        opinions[name] = one._replace(probabilities=torch.empty(0))
    classes = sorted(labels)[1:]
    found = verdicts(opinions, total.argmax(1), images, volumes, classes, spacing, known, places)
    best = chosen(found, margin, partner)
    alike = mean_dice(opinions[best[0]].labels, opinions[best[-1]].labels, classes)
    best, left = (best, None) if len(best) == 1 or alike >= ALIKE else (best[:1], (best[1], alike))
    write_choice(output_dir, found, best, margin, partner, any(known), left)
    save_picture(Path(output_dir) / PICTURE, picture(images, opinions, best, len(labels)), 1)
    files = [candidates[name] for name in best]
    model = ensemble_of(network, files) if len(files) > 1 else with_weights(network, files[0])
    export_model(
        model, ckpt_path, {**(description or {}), "choice": " and ".join(best), "rule": rule(margin, partner)}
    )
    return best


class Looked(NamedTuple):
    """Slices that candidates are judged by.

    Attributes:
        images: (N, 1, S, S).
        volumes: the volume that each is of, (N,).
        places: of a volume of which some slices are left out, the numbers of those that are there.
    """

    images: Tensor
    volumes: Tensor
    places: Mapping[int, Sequence[int]]


def looked_at(dataset: SliceDataset, most: int) -> Looked:
    """Evenly spaced whole volumes, of about ``most`` slices together.

    Of a volume of more than ``most`` slices it is evenly spaced pairs of neighbours, whose overlap is looked at.
    Slices are read a volume after the other, so that a dataset that holds one decodes each once.

    Raises:
        InputError: ``most`` is below 1.
    """
    if most < 1:
        raise InputError(f"most_slices: expected at least 1, found {most}")
    volumes: dict[int, list[int]] = {}
    for place, where in enumerate(dataset.index):
        volumes.setdefault(where.item, []).append(place)
    items = sorted(volumes)
    count = max(1, min(len(items), round(most * len(items) / len(dataset.index))))
    wanted = [items[n * len(items) // count] for n in range(count)]
    numbers = {item: spaced_pairs(len(volumes[item]), most) for item in wanted}
    images = torch.stack([dataset[volumes[item][n]]["image"] for item in wanted for n in numbers[item]])
    cut = {item: found for item, found in numbers.items() if len(found) < len(volumes[item])}
    return Looked(images, torch.tensor([item for item in wanted for _ in numbers[item]]), cut)


def spaced_pairs(count: int, most: int) -> list[int]:
    """All of ``count`` slices, or evenly spaced pairs of them, ``most`` in all; a single one is in the middle."""
    if count <= most:
        return [*range(count)]
    if most == 1:
        return [count // 2]
    pairs = most // 2
    return [(2 * n + 1) * (count - 1) // (2 * pairs) + after for n in range(pairs) for after in (0, 1)]


def write_choice(
    output_dir: str | os.PathLike,
    found: Mapping[str, Verdict],
    best: Sequence[str],
    margin: float | None = MARGIN,
    partner: float | None = PARTNER,
    known: bool = True,
    left: tuple[str, float] | None = None,
) -> None:
    """Write verdicts, choice and the rule as ``choice.csv`` and ``choice.json``; ``known`` and ``left``: see
    :func:`reason`.
    """
    fit = plausible(found, margin)
    rows = [
        {"candidate": name, "plausible": name in fit, "chosen": name in best}
        | {field: f"{value:.4f}" for field, value in verdict._asdict().items()}
        for name, verdict in found.items()
    ]
    write_table(Path(output_dir) / TABLE, COLUMNS, rows)
    record = {"chosen": list(best), "margin": margin, "partner": partner, "rule": rule(margin, partner)}
    record["reason"] = reason(found, best, margin, known, left)
    record["doubtful"] = not known or is_doubtful(found)
    record["disagree"] = found[best[0]].agreement < ALIKE
    values = {name: {**verdict._asdict(), "plausible": name in fit} for name, verdict in found.items()}
    write_record(Path(output_dir) / RECORD, {**record, "candidates": values})


def chosen_names(record: Mapping[str, Any], file: str | os.PathLike) -> list[str]:
    """The chosen candidates, the clearest first, of a record.

    Raises:
        InputError: ``chosen`` is no list of names.
    """
    names = record.get("chosen")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(
            f"{file}: 'chosen' expected a list of candidates, found {names!r}; run its stage again with --resume"
        )
    return names


def rule(margin: float | None, partner: float | None) -> str:
    """The rule of a choice in words."""
    wins = "the one whose borders lie on the clearest edges wins"
    if margin is not None:
        wins = (
            f"refused are candidates whose shapes are more than {margin:g} deviations less plausible than the best's; "
            f"of the others {wins}"
        )
    if partner is None:
        return wins
    return (
        f"{wins}, together with the next one where its edges are at least {partner:g} times as clear and both find the "
        f"same (Dice {ALIKE:g})"
    )


def is_doubtful(found: Mapping[str, Verdict]) -> bool:
    """Whether no candidate finds anything that looks like anatomy."""
    return min(verdict.implausibility for verdict in found.values()) > DOUBTFUL or not any(
        verdict.edges for verdict in found.values()
    )


def reason(
    found: Mapping[str, Verdict],
    best: Sequence[str],
    margin: float | None = MARGIN,
    known: bool = True,
    left: tuple[str, float] | None = None,
) -> str:
    """Why candidates were chosen, in words.

    Args:
        found: candidate to what is said for it.
        best: the chosen ones.
        margin: deviations by which shapes may be less plausible than the most plausible candidate's.
        known: whether any shape of labelled patients is.
        left: the next candidate, whose edges are clear enough to answer too, and its Dice with the chosen one, where
            that is too small.
    """
    fit = plausible(found, margin)
    out = [name for name in found if name not in fit]
    if not any(verdict.edges for verdict in found.values()):
        return f"no candidate finds anything; {_quoted(best)} stands in"
    if margin is None:
        refused = (
            "labelled patients show another organ, whose shapes say nothing of this one: look at the segmentations "
            "before using any"
        )
    elif not known:
        refused = (
            "no shape of labelled patients is known, since none of their slices is annotated in full: look at the "
            "segmentations before using any"
        )
    elif is_doubtful(found):
        least = min(verdict.implausibility for verdict in found.values())
        refused = (
            f"no candidate finds shapes like those of labelled patients (the nearest are {least:.1f} deviations away): "
            "look at the segmentations before using any"
        )
    elif out:
        verb = "finds" if len(out) == 1 else "find"
        refused = f"what {_quoted(out)} {verb} has shapes too unlike those of labelled patients"
    else:
        refused = "all candidates find shapes like those of labelled patients"
    others = "others" if out else "candidates"
    edges = f"clearest edges ({found[best[0]].edges:.2f} deviations)"
    why = f"{refused}; of the {others}, the borders of {_quoted(best[:1])} lie on the {edges}"
    near = ", ".join(f"{_quoted([name])} comes near ({found[name].edges:.2f})" for name in best[1:])
    if left is not None:
        name, dice = left
        return (
            f"{why}; {_quoted([name])} comes near ({found[name].edges:.2f}), but finds something else (Dice "
            f"{dice:.2f}), so that one answers alone"
        )
    return f"{why}; {near}, so that both answer together" if near else why


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"\u201c{name}\u201d" for name in names)


def picture(images: Tensor, opinions: Mapping[str, Opinion], best: Sequence[str], classes: int) -> Tensor:
    """Some slices, and below them what each candidate finds there, a shade for each class; the chosen first."""
    places = torch.linspace(0, len(images) - 1, SHOWN + 2).round().long()[1:-1].unique()
    names = [*best, *(name for name in opinions if name not in best)]
    shades = torch.linspace(0.1, 1, classes)
    rows = [
        images[places],
        *(_shaded(images[places], opinions[name].labels[places], shades) for name in names),
    ]
    titles = ["image", *(f"{name} (chosen)" if name in best else name for name in names)]
    return labelled_grid(torch.cat(rows), titles, [""] * len(places))


def _shaded(images: Tensor, labels: Tensor, shades: Tensor) -> Tensor:
    """Darkened slices with classes in shades up to white."""
    found = labels[:, None].long()
    return torch.where(found > 0, shades[found], images * 0.5 - 0.5)
