"""The check before the first round, as each site does it: what it finds stays there, numbers and names are reported.

Also what the check needs to know of a bundle and of this machine: what the networks see of a slice, and versions.
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

import shared_components
from shared_components.data.check import RootReport, inspect_client_root
from shared_components.data.client_root import read_entries
from shared_components.data.coverage import Frame, Reach, coverage, proposal
from shared_components.data.dataset_json import DATASET_FILE, SPLITS, read_description
from shared_components.data.faults import Fault
from shared_components.data.volume_check import ImageGrid
from shared_components.data.volumes import slice_axes
from shared_components.errors import InputError, printable
from shared_components.federation.bundle_workflow import bundle_config
from shared_components.federation.federation import Federation
from shared_components.value_rules import Rule, several, table, text, whole

FAULTS = "check.txt"
"""In a client's own folder at its site: the faults of its data, with their cures."""

FLAT = "flat_domains"
"""Id of the factory's config: the domains whose images are single slices, where noise keeps it from learning that."""

SEEN = ("image_size", "spacing", "orientation", "percentiles")
"""Ids of a bundle's config that say what its networks see of an image."""

_TEXT, _COUNT = text(r".{0,4000}"), whole(0, 10**9)
REPORTED = {
    "faults": table(_TEXT, _COUNT, 100),
    "volumes": table(_TEXT, several(_COUNT, 2, 2), 100),
    "domains": several(_TEXT, 0, 10_000),
    "labels": table(_TEXT, _TEXT, 10_000),
    "seen": table(_TEXT, Rule("a value", lambda value: True), 100),
    "bundle": _TEXT,
    "versions": table(_TEXT, _TEXT, 100),
}
"""What each field of a :class:`SiteReport` may be, that has come through the network."""

PACKAGES = ("monai", "torch", "pytorch-ignite", "numpy", "nibabel", "itk")


@dataclass(frozen=True)
class SiteReport:
    """What a site tells before the first round: plain numbers and texts, and of its files nothing but how many.

    Attributes:
        faults: kind of file to the number of its faults.
        volumes: split to its sound images, and how many of these are labelled.
        domains: of its data roots.
        labels: label value to class name; of all its data roots, empty where these disagree or do not say.
        seen: those of :data:`SEEN` that its copy of the bundle has, after the overrides.
        bundle: the version of its copy of the bundle.
        versions: name to version, of the program, Python and the packages.
    """

    faults: Mapping[str, int] = field(default_factory=dict)
    volumes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    domains: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    seen: Mapping[str, Any] = field(default_factory=dict)
    bundle: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it, and as it travels."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], client: str) -> SiteReport:
        """What :meth:`as_dict` gave at a client.

        Raises:
            InputError: something else.
        """
        if set(content) != set(REPORTED):
            raise InputError(
                f"client {client}: expected a report with {', '.join(sorted(REPORTED))}, found "
                f"{printable(', '.join(content)) or 'none'}; install the same version there"
            )
        faults = filter(None, (rule.fault(key, content[key]) for key, rule in REPORTED.items()))
        if fault := next(faults, None):
            raise InputError(f"client {client}: its report: {fault}; install the same version there")
        return cls(**content)


@dataclass(frozen=True)
class SiteCheck:
    """All that a site's check has found; it stays at the site.

    Attributes:
        faults: every fault, with its file and its cure.
        notes: what stops nothing and is worth knowing.
        reaches: sound image to how far its foreground reaches.
        report: what may leave the site.
    """

    faults: tuple[str, ...]
    notes: tuple[str, ...]
    reaches: Mapping[str, Reach]
    report: SiteReport


def site_check(federation: Federation, client: str, progress: bool = False) -> SiteCheck:
    """Check the data roots of one client, and say what its numbers depend on.

    Args:
        federation: as the site has it; of the data, those of ``client`` alone are read.
        client: its name.
        progress: tell how far it is.
    """
    parser = ConfigParser(bundle_config(federation))
    frame = _frame_in(parser)
    entry = federation.clients[client]
    reports = [
        inspect_client_root(
            root,
            labels=federation.labels,
            domains=[domain],
            orientation="RAS" if frame is None else slice_axes(frame.orientation),
            progress=progress,
            frame=frame,
        )
        for root, domain in zip(entry.data_roots, entry.domains, strict=True)
    ]
    orientation = "RAS" if frame is None else slice_axes(frame.orientation)
    reports = [
        replace(
            report, faults=[*report.faults, *_slice_faults(report, domain, federation, parser, orientation)]
        )
        for report, domain in zip(reports, entry.domains, strict=True)
    ]
    return SiteCheck(
        faults=tuple(str(fault) for report in reports for fault in report.faults),
        notes=tuple(str(note) for report in reports for note in report.notes),
        reaches={name: reach for report in reports for name, reach in report.reaches.items()},
        report=_report(reports, federation, parser),
    )


def _slice_faults(
    report: RootReport, domain: str, federation: Federation, parser: ConfigParser, orientation: str | None
) -> Iterator[Fault]:
    """Whether a factory that noise keeps from learning which domains are single slices is told of this one."""
    noisy = federation.privacy is not None and federation.privacy.noise
    depths = [_depth(grid, orientation) for each, grid in report.images if each.split == "training"]
    if not noisy or FLAT not in parser or not depths:
        return
    file, named = str(Path(report.root) / DATASET_FILE), parser.get_parsed_content(FLAT)
    if max(depths) == 1 and domain not in named:
        yield Fault(
            file,
            "all its training images are single slices, of which noise (section privacy) keeps the factory from "
            "learning, so that it would draw them at heights that nobody has trained",
            f"set overrides: {FLAT}: {json.dumps([*named, domain])}",
        )
    if max(depths) > 1 and domain in named:
        yield Fault(
            file,
            f"{FLAT} names {domain!r}, and its training images have up to {max(depths)} slices",
            "take it out of there",
        )


def _depth(grid: ImageGrid, orientation: str | None) -> int:
    """How many slices an image has, along the last of the axis codes or the file's last axis."""
    if orientation is None:
        return grid.shape[-1]
    pair = next(pair for pair in ("RL", "AP", "SI") if orientation[-1] in pair)
    return next(size for size, code in zip(grid.shape, grid.axes, strict=True) if code in pair)


def _report(reports: Sequence[RootReport], federation: Federation, parser: ConfigParser) -> SiteReport:
    volumes = {
        split: [sum(report.subjects(split, labelled) for report in reports) for labelled in (None, True)]
        for split in SPLITS
    }
    named = {name: version for name, version in versions().items() if name != "platform"}
    return SiteReport(
        faults=dict(Counter(_kinds(reports))),
        volumes=volumes,
        domains=[report.domain for report in reports],
        labels=_labels([report.root for report in reports]),
        seen={name: parser.get_parsed_content(name) for name in SEEN if name in parser},
        bundle=bundle_version(federation.bundle),
        versions=named,
    )


def _kinds(reports: Sequence[RootReport]) -> Iterator[str]:
    """What kind of file each fault is in; its name would say whose it is."""
    for report in reports:
        entries, _ = read_entries(report.root, read_description(report.root)[0])
        maps = {str(entry.label) for entry in entries}
        for fault in report.faults:
            if Path(fault.file).name == DATASET_FILE:
                yield DATASET_FILE
            else:
                yield "label maps" if str(fault.file) in maps else "images"


def _labels(roots: Sequence[str]) -> dict[str, str]:
    found = [read_description(root)[0].get("labels") for root in roots]
    same = all(labels == found[0] for labels in found) and isinstance(found[0], dict)
    return {str(value): str(name) for value, name in found[0].items()} if same else {}


def bundle_version(bundle_root: str) -> str:
    """The version in a bundle's ``metadata.json``; ``none`` where it states none.

    Raises:
        InputError: the file is no JSON.
    """
    file = Path(bundle_root) / "configs" / "metadata.json"
    if not file.is_file():
        return "none"
    try:
        return str(json.loads(file.read_text(encoding="utf-8")).get("version", "none"))
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"{file}: expected the bundle's metadata as JSON ({error}); copy the bundle again"
        ) from error


def versions() -> dict[str, str]:
    """Name to version, of this program, Python, the packages and the machine."""
    found = {"fedfoundry": shared_components.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return {**found, "platform": platform.platform()}


def version_changes(before: Mapping[str, object], now: Mapping[str, str]) -> list[str]:
    """Which versions are others, but for the machine's; ``torch 2.7.0 -> 2.8.0``."""
    names = [name for name in now if name != "platform" and name in before]
    return [f"{name} {before[name]} -> {now[name]}" for name in names if before[name] != now[name]]


def begun_with(before: Mapping[str, object]) -> str:
    """What to do first about a run that another version of this program began, for the middle of a message.

    Args:
        before: the :func:`versions` of when it began.
    Returns:
        Nothing where it was this version.
    """
    begun, now = before.get("fedfoundry", "an unknown version"), shared_components.__version__
    if begun == now:
        return ""
    return f"it was begun with fedfoundry {begun}, and this is {now}: go on with that version, or "


def frame_of(federation: Federation) -> Frame | None:
    """What the bundle sees of a slice, with the federation's overrides; None for a bundle that does not say."""
    return _frame_in(ConfigParser(bundle_config(federation)))


def _frame_in(parser: ConfigParser) -> Frame | None:
    """What a bundle with that config sees of a slice; None if it does not say."""
    if any(name not in parser for name in ("image_size", "spacing")):
        return None
    orientation = parser.get_parsed_content("orientation") if "orientation" in parser else "RAS"
    return Frame(parser.get_parsed_content("image_size"), parser.get_parsed_content("spacing"), orientation)


def coverage_lines(reaches: Mapping[str, Mapping[str, Reach]], frame: Frame) -> Iterator[str]:
    """A line for each client, and one with values that would do better, if any.

    Args:
        reaches: client to its images' names and reaches; clients without any are passed over.
        frame: what the networks see.
    """
    measured = {client: images for client, images in reaches.items() if images}
    for client, images in measured.items():
        yield f"{client}: {coverage(images, frame)}"
    if not measured:
        return
    better = proposal([reach for images in measured.values() for reach in images.values()], frame)
    if better:
        yield f"to take in nearly all of every image: overrides: {better}; leave it if the organ lies well inside"
