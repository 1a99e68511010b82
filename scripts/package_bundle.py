"""Make a model-zoo package of a bundle: ``python scripts/package_bundle.py NAME --weights model.pt --out OUT``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared_components.command_line import run
from shared_components.packaging import build_package


def package_bundle(
    name: str,
    weights: str,
    out: str,
    config: str | Mapping | Sequence | None = None,
    trained_on: str | None = None,
    figures: str | None = None,
    development: bool = False,
) -> None:
    """Write OUT/NAME, OUT/NAME_v<version>.zip and its checksum; the same input gives the same bytes.

    Args:
        name: factory, adaptation or segmentation.
        weights: the file that the bundle's training wrote (model.pt; of a factory factory.pt).
        out: folder for the package; an earlier package in it is replaced.
        config: settings with which the weights were trained, where they are not the bundle's own: a config file, a list
            of them, or "{'image_size': 64, 'spacing': 2.0}".
        trained_on: what the weights were trained on, in words, for metadata, README and licence of the data.
        figures: Markdown file for the README's "Performance".
        development: take uncommitted files and versions that disagree; the README says so.
    """
    note = None if trained_on is None else str(trained_on)
    print(*build_package(str(name), str(weights), str(out), config, note, figures, development), sep="\n")


if __name__ == "__main__":
    run(package_bundle)
