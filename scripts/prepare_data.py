"""Prepare a client's data root: write its dataset.json, check it, split time series.

python scripts/prepare_data.py make-datalist ROOT --domain t2 --labels background,brain
python scripts/prepare_data.py check ROOT [ROOT ...]
python scripts/prepare_data.py split SERIES.nii.gz
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence

from shared_components.command_line import run
from shared_components.data.check import inspect_client_root, overview
from shared_components.data.client_root import ClientRoot
from shared_components.data.datalist import make_datalist
from shared_components.data.description import SPLITS
from shared_components.data.frames import split_frames
from shared_components.errors import InputError


def check(*roots: str) -> None:
    """Check data roots in full; list every problem with its cure and exit with status 1 if there is one.

    Args:
        roots: folders with a dataset.json.
    """
    if not roots:
        raise InputError("check: name at least one data root (a folder with a dataset.json)")
    reports = [inspect_client_root(str(root), progress=sys.stderr.isatty()) for root in roots]
    problems = [problem for report in reports for problem in report.problems]
    sound = [report for report in reports if not report.problems]
    if sound:
        print(overview(sound))
    if problems:
        faulty = len(reports) - len(sound)
        print(f"{_count(len(problems), 'problem')} in {_count(faulty, 'data root')}:", file=sys.stderr)
        for problem in problems:
            print(f"  {problem}", file=sys.stderr)
        raise SystemExit(1)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def make(
    root: str,
    domain: str,
    labels: Mapping[int, str] | Sequence[str] | str | None = None,
    name: str | None = None,
    modality: str = "unknown",
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    force: bool = False,
) -> None:
    """Write dataset.json for a folder of images and label maps, matched by file name.

    Known layouts: images/ and labels/; imagesTr/, labelsTr/, imagesTs/, labelsTs/; or any folder in which
    label maps end in _seg (s01.nii.gz and s01_seg.nii.gz). A folder of DICOM files is one image. Images
    without a label map are unlabelled.

    Args:
        root: the folder.
        domain: the federation's name for this scanner or modality.
        labels: class names in order from 0, as background,brain; left out, they are read off the label maps.
        name: a name for the data; the folder's name if left out.
        modality: such as MRI.
        validation: fraction of the subjects for validation.
        test: fraction of the subjects for testing; a folder with imagesTs/ brings its own.
        seed: seed of the split.
        force: replace a dataset.json that is there.
    """
    file = make_datalist(
        str(root),
        str(domain),
        labels=_labels(labels),
        name=None if name is None else str(name),
        modality=str(modality),
        validation=validation,
        test=test,
        seed=seed,
        force=force,
    )
    print(f"wrote {file}")
    written = ClientRoot.load(str(root))
    counts = [
        f"{split} {len(written.items(split))} ({len(written.items(split, labelled=True))} labelled)"
        for split in SPLITS
    ]
    print(f"subjects: {', '.join(counts)}")
    print(f"classes: {', '.join(f'{value} {text}' for value, text in written.labels.items())}")
    print(f"next: python scripts/prepare_data.py check {shlex.quote(str(root))}")


def _labels(labels: Mapping | Sequence | str | None) -> dict[str, str] | list[str] | None:
    """Labels as fire hands them over: a mapping, a list, or text with commas."""
    if labels is None or isinstance(labels, Mapping):
        return labels
    if isinstance(labels, str):
        labels = [part.strip() for part in labels.split(",")]
    if not isinstance(labels, Sequence) or len(labels) < 2:
        raise InputError(f"--labels: expected class names as background,brain, found {labels!r}")
    return [str(label) for label in labels]


def split(series: str, folder: str | None = None) -> None:
    """Write each frame of a 4-D image as a 3-D image of its own.

    Args:
        series: the 4-D image.
        folder: where to write; beside the image if left out.
    """
    files = split_frames(str(series), None if folder is None else str(folder))
    print(f"wrote {len(files)} volumes: {files[0]} … {files[-1].name}")


COMMANDS = {"check": check, "make-datalist": make, "split": split}

if __name__ == "__main__":
    run(COMMANDS)
