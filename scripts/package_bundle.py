"""Make a model-zoo package: ``python scripts/package_bundle.py NAME --output_dir OUT --weights model.pt``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared_components.command_line import run


def package_bundle(
    name: str,
    *,
    output_dir: str,
    weights: str | None = None,
    config: str | Mapping | Sequence | None = None,
    trained_on: str | None = None,
    figures: str | None = None,
    development: bool = False,
) -> None:
    """Write the folder NAME, NAME_v<version>.zip and its checksum; the same input gives the same bytes.

    Args:
        name: a folder of bundles: factory, adaptation, segmentation, or one of your own.
        output_dir: folder for the package; an earlier package in it is replaced.
        weights: the file that the bundle's training wrote (model.pt; of a factory factory.pt). Without it the package
            is made of the bundle's demo weights, and says so.
        config: settings with which the weights were trained, where they are not the bundle's own: a config file, a list
            of them, or a mapping in braces, as YAML has it.
        trained_on: what the weights were trained on, in words, for metadata, README and licence of the data.
        figures: Markdown file for the README's "Performance".
        development: take uncommitted files and versions that disagree; the README says so.
    """
    from shared_components.packaging import build_package

    given, note = (None if value is None else str(value) for value in (weights, trained_on))
    print(*build_package(str(name), given, str(output_dir), config, note, figures, development), sep="\n")


if __name__ == "__main__":
    run(package_bundle)
