"""A federation file for data roots that lie on this machine: what follows from them, and the defaults, to be edited."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from shared_components.data.check import RootReport, inspect_client_root, overview
from shared_components.data.coverage import WHOLE, Frame, spacing_for, widest_image
from shared_components.data.dataset_json import read_description
from shared_components.data.volumes import slice_axes
from shared_components.errors import InputError, counted
from shared_components.federation.client_entry import LONGEST_NAME
from shared_components.federation.section import is_expression
from shared_components.files import write_text
from shared_components.study.study import EVERYBODY
from shared_components.yaml_files import read_configs

SIZE = 48  # px, of the slices that the file asks for: some minutes on two cores
FINER = 64  # px, which it mentions
BUNDLES = Path(__file__).parents[2] / "bundles"
ADAPTATION = BUNDLES / "adaptation" / "configs"
FACTORY = "bundles/factory"  # as it is called from the repository's root
TEMPLATE = """\
# Written by federate.py init for the data roots below; every line may be edited.
#   python scripts/federate.py check {file}
#   python scripts/federate.py study {file}
name: {name}
bundle: {bundle}
domains: {domains}   # the order fixes each domain's index
labels: {labels}
clients:
{clients}
rounds: 400                 # of the factory
updates_per_round: 6        # at each client, in every round
# {fitting}
# {finer} shows more and takes longer
overrides: {overrides}   # px and mm, in-plane
output_dir: {output_dir}
seed: 0
"""
STUDY = """
study:                      # what comes after the factory; these, the defaults, set how long it takes
  pretrain: {pretrain}           # of the source model, on the labelled client's images
  synthesize: {synthesize}            # labelled synthetic volumes, drawn in the look of each scanner
  train: {train}       # updates of the adaptation: translation, segmentation, self-training
  self_training: {self_training} # of what is self-trained alone
"""


def new_federation(
    file: str | os.PathLike,
    roots: Sequence[str | os.PathLike],
    name: str | None = None,
    orientation: str = "RAS",
    force: bool = False,
) -> str:
    """Look at all images of some data roots, and write the federation file of one client for each.

    A client is called as its folder; domains stand in the order of the roots.

    Args:
        file: to write.
        roots: client data roots, each with its ``dataset.json``.
        name: of the federation; by default the file's without its ending.
        orientation: axis codes of the slices, the last one the axis across them; ``native`` for the files' own axes.
        force: replace a file that is there.
    Returns:
        A table of the roots, for printing.
    Raises:
        InputError: no roots, a file that is there, a root with faults, or classes that differ between roots.
    """
    path = Path(file)
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"{path}: expected the name of a YAML file to write, such as federation.yaml")
    if os.path.lexists(path) and not force:
        raise InputError(f"{path}: is there already; name another file, or replace it with --force")
    if not roots:
        raise InputError("init: name the data roots, a folder with a dataset.json for each client")
    names = client_names(roots)
    reports = dict(zip(names, _inspected(roots, orientation), strict=True))
    for text in (name or path.stem, *(report.domain for report in reports.values())):
        if is_expression(text):
            raise InputError(
                f"{text}: expected a name, found what configs take for an expression; call it otherwise"
            )
    write_text(path, federation_text(path, name or path.stem, reports, orientation))
    return overview(list(reports.values()))


def client_names(roots: Sequence[str | os.PathLike]) -> list[str]:
    """A name for each data root's client: its folder's, with the folder's above it where two are alike.

    Raises:
        InputError: the same root twice.
    """
    places = [Path(os.path.abspath(root)) for root in roots]
    twice = {str(place) for place in places if places.count(place) > 1}
    if twice:
        raise InputError(f"{min(twice)}: is named twice; name every data root once")
    for depth in range(1, max(len(place.parts) for place in places) + 1):
        names = [_as_name("-".join(place.parts[-depth:])) for place in places]
        if len(set(names)) == len(names):
            return names
    return [
        f"client{number}" for number in range(1, len(places) + 1)
    ]  # alike but for letters that no name has


def _as_name(text: str) -> str:
    """A client's name that is as near to ``text`` as may be."""
    name = re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII).strip("-._")[:LONGEST_NAME] or "client"
    return f"client-{name}" if name == EVERYBODY else name


def _inspected(roots: Sequence[str | os.PathLike], orientation: str) -> list[RootReport]:
    """What the check finds at each root, whose classes must be those of the first.

    Raises:
        InputError: faults, each in a line.
    """
    across = slice_axes(orientation)
    labels = read_description(roots[0])[0].get("labels")
    reports = [
        inspect_client_root(
            root, labels=labels, orientation=across, progress=True, frame=Frame(WHOLE, 1.0, across)
        )
        for root in roots
    ]
    faults = [str(fault) for report in reports for fault in report.faults]
    if faults:
        several = f"{counted(len(faults), 'problem')}; mend what stands below, then run this again"
        raise InputError(
            "\n".join([f"init: nothing was written, for {several}:", *(f"  {f}" for f in faults)])
        )
    for note in (note for report in reports for note in report.notes):
        print(f"note: {note}")
    return reports


def federation_text(
    file: Path, name: str, reports: Mapping[str, RootReport], orientation: str = "RAS"
) -> str:
    """The content of the file.

    Args:
        file: its place.
        name: of the federation.
        reports: each client's sound data root.
        orientation: as it was looked at.
    """
    labels = read_description(next(iter(reports.values())).root)[0]["labels"]
    reaches = {
        str(Path(report.root) / image): reach
        for report in reports.values()
        for image, reach in report.reaches.items()
    }
    widest, width = widest_image(reaches)
    turned = {} if orientation == "RAS" else {"orientation": orientation}
    text = TEMPLATE.format(
        file=file,
        name=_flow(name),
        bundle=_flow(_place(FACTORY if os.path.isdir(FACTORY) else BUNDLES / "factory", file)),
        domains=_flow(list(dict.fromkeys(report.domain for report in reports.values()))),
        labels=_flow({int(value): text for value, text in labels.items()}),
        clients="\n".join(
            f"  {_flow(client)}: {_flow({'data_root': _place(report.root, file), 'domain': report.domain})}"
            for client, report in reports.items()
        ),
        fitting=f"what is brighter than air spans up to {width} mm in a slice ({widest}), which this takes in;",
        finer=f"image_size: {FINER}, spacing: {spacing_for(width, FINER):g}",
        overrides=_flow({**turned, "image_size": SIZE, "spacing": spacing_for(width, SIZE)}),
        output_dir=_flow(f"outputs/{_as_name(name)}"),
    )
    labelled = any(report.subjects("training", labelled=True) for report in reports.values())
    return text + (
        STUDY.format(**{key: _flow(value) for key, value in _defaults().items()}) if labelled else ""
    )


def _place(root: str | os.PathLike, file: Path) -> str:
    """A data root as a federation file names it: as it was given where that leads there from the file, too."""
    from_file = Path(os.path.abspath(file)).parent / root
    found = from_file if from_file.exists() else Path(os.path.abspath(root))
    return str(root) if os.path.realpath(found) == os.path.realpath(root) else os.path.abspath(root)


def _defaults() -> dict[str, dict[str, Any]]:
    """What sets the length of a study, as the adaptation bundle's configs have it."""

    def values(*configs: str) -> dict[str, Any]:
        return read_configs([str(ADAPTATION / name) for name in ("common.yaml", *configs)])

    return {
        "pretrain": {"max_epochs": values("pretrain.yaml")["max_epochs"]},
        "synthesize": {"volumes": values("synthesize.yaml")["volumes"]},
        "train": {"phases": values("train.yaml")["phases"]},
        "self_training": {"phases": values("train.yaml", "self_training.yaml")["phases"]},
    }


def _flow(value: Any) -> str:
    """A value as it stands in a line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()
