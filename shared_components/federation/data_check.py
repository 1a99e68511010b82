"""The check of every client's data, before anything trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from shared_components.data.check import RootReport, inspect_client_root
from shared_components.data.coverage import Frame, Reach
from shared_components.data.description import read_description
from shared_components.data.volumes import slice_axes
from shared_components.errors import InputError
from shared_components.federation.client_coverage import coverage_lines, frame_of
from shared_components.federation.federation import Federation


def check_clients(federation: Federation) -> None:
    """Check each client's data roots against the federation's label set and the client's domains, and those of
    a study's unseen scanners, which need no training images; tell what is worth knowing of sound ones.

    Raises:
        InputError: every problem of every client, one a line.
    """
    frame = frame_of(federation)
    reports = [
        (name, _inspect(federation, root, frame, domains=[domain]))
        for name, client in federation.clients.items()
        for root, domain in zip(client.data_roots, client.domains, strict=True)
    ]
    unseen = [
        (name, _inspect(federation, root, frame, training=False)) for name, root in federation.unseen.items()
    ]
    problems = [f"client {name}: {problem}" for name, report in reports for problem in report.problems]
    problems += [
        f"unseen {name}: {problem}"
        for name, report in unseen
        for problem in (*report.problems, *seen_domain(report.root, federation.domains))
    ]
    if problems:
        number = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError("\n".join([f"{federation.name}: {number} in the clients' data", *problems]))
    for line in _remarks([*reports, *unseen], frame):
        print(line, flush=True)


def _inspect(federation: Federation, root: str, frame: Frame | None, **expected: Any) -> RootReport:
    orientation = "RAS" if frame is None else slice_axes(frame.orientation)
    return inspect_client_root(
        root, labels=federation.labels, orientation=orientation, progress=True, frame=frame, **expected
    )


def _remarks(reports: Sequence[tuple[str, RootReport]], frame: Frame | None) -> Iterator[str]:
    """What stops nothing: notes on the data, and which part of the images no network will see."""
    reaches: dict[str, dict[str, Reach]] = {}
    for name, report in reports:
        yield from (f"{name}: note: {note}" for note in report.notes)
        reaches.setdefault(name, {}).update(report.reaches)
    if frame is not None:
        yield from coverage_lines(reaches, frame)


def seen_domain(root: str, domains: Sequence[str]) -> Iterator[str]:
    """Say so if an unseen scanner's data root is of one of the federation's ``domains``."""
    content, _ = read_description(root)
    if content.get("domain") in domains:
        yield (
            f"{root}: its domain {content['domain']!r} is one of the federation's, whose images are trained on; "
            "correct 'domain' there or leave it out of 'unseen'"
        )
