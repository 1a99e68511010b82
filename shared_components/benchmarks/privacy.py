"""What a factory gives away of its clients' images, and how well it draws them: the audit of every data root."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from shared_components.audit.audit import PAGE, TABLE, audit_factory
from shared_components.audit.figures import Figures, write_figures
from shared_components.audit.page import (
    cannot_tell,
    is_flagged,
    is_weak,
    number,
    sentence,
    tells_members,
    words_of,
)
from shared_components.benchmarks.tables import markdown
from shared_components.errors import InputError
from shared_components.files import write_text
from shared_components.networks.factory import factory_description, load_generator
from shared_components.steps import steps

SHOWN = (
    *("memorised_image", "memorised_features", "membership_image", "membership_features"),
    *("frechet", "density", "coverage", "neighbour_difference"),
)
PICTURES = "Beside each client's table lie pictures of the nearest pairs: real images, which are for that client alone."


def privacy_benchmark(
    factory: str, data_roots: Sequence[str], output_dir: str, settings: Mapping[str, Any]
) -> str:
    """Audit a factory file on each of some data roots, into a folder for each, and tell it in one table.

    Args:
        factory: the file.
        data_roots: of the clients that trained it.
        output_dir: ``privacy.md`` and ``privacy.csv`` go here, each audit into a folder named after its data root.
        settings: further arguments of :func:`audit_factory`.
    Returns:
        The page; its first line says what it means.
    Raises:
        InputError: two data roots of one name, or what :func:`audit_factory` raises.
    """
    names = [Path(root).resolve().name for root in data_roots]
    if len(set(names)) < len(names) or not names:
        raise InputError(
            f"data roots: expected one or more, named differently, found {', '.join(names) or 'none'}"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator, description = load_generator(factory).to(device), factory_description(factory)
    found: dict[str, Figures] = {}
    for name, root in steps([*zip(names, data_roots, strict=True)], "audit", "data root", True):
        figures = audit_factory(generator, description, root, Path(output_dir) / name, **settings)
        found |= {name if len(figures) == 1 else f"{name}, {domain}": own for domain, own in figures.items()}
    write_figures(Path(output_dir) / "privacy.csv", found)
    text = _page(found)
    write_text(Path(output_dir) / "privacy.md", text)
    return text


def _page(found: Mapping[str, Figures]) -> str:
    rows = [
        [words_of(key), *(_cell(own, key) for own in found.values())]
        for key in SHOWN
        if any(key in own for own in found.values())
    ]
    lines = [f"- {name}: {sentence(own)}" for name, own in found.items()]
    table = markdown(["value (95 % interval; real slices')", *found], rows)
    told = f"More in {TABLE} and {PAGE} of each data root's folder."
    if any("memorised_image" in own for own in found.values()):
        told += f" {PICTURES}"
    return "\n".join([_verdict(found), "", *lines, "", table, told, ""])


def _verdict(found: Mapping[str, Figures]) -> str:
    """One sentence on all clients."""
    copied = [name for name, own in found.items() if is_flagged(own)]
    told = [name for name, own in found.items() if tells_members(own)]
    unknown = [name for name, own in found.items() if cannot_tell(own)]
    weak = [name for name, own in found.items() if name not in (*copied, *unknown) and is_weak(own)]
    if len(unknown) == len(found):
        return "Whether the factory copies training images cannot be told."
    beside = f" Of {', '.join(unknown)} it cannot be told." if unknown else ""
    beside += f" Of {', '.join(weak)} this is weak evidence." if weak and not copied else ""
    if copied:
        return f"The factory copies training images of {', '.join(copied)}: do not hand it on.{beside}"
    if told:
        members = ", ".join(told)
        return (
            f"No sign of copies, but the factory lets one guess which images of {members} trained it.{beside}"
        )
    return (
        f"No sign that the factory copies training images, nor that it tells which images trained it.{beside}"
    )


def _cell(own: Figures, key: str) -> str:
    if key not in own:
        return "–"
    value, low, high, real = own[key]
    parts = [f"{number(low)} to {number(high)}" if not math.isnan(low) else "", f"real {number(real)}"]
    return f"{number(value)} ({'; '.join(part for part in parts if part)})"
