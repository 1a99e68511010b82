"""Prepare a client's data root: write its dataset.json, check it, split time series, take over challenge data,
or take the real hospitals that the project ships.

python scripts/prepare_data.py make-datalist ROOT --domain t2 --labels background,brain
python scripts/prepare_data.py check ROOT [ROOT ...]
python scripts/prepare_data.py split SERIES.nii.gz
python scripts/prepare_data.py threshold MAP.nii.gz [MAP.nii.gz ...] --output_dir OUT
python scripts/prepare_data.py relabel ROOT --values 0,4,7 --output_dir OUT
python scripts/prepare_data.py mnms FOLDER --output_dir OUT
python scripts/prepare_data.py scgm FOLDER --output_dir OUT
python scripts/prepare_data.py spinal-cord --output_dir OUT
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shared_components.command_line import names, run
from shared_components.errors import InputError, counted

if TYPE_CHECKING:
    from pathlib import Path

    from shared_components.data.client_root import ClientRoot
    from shared_components.data.pairing import Pair


def check(*roots: str, orientation: str = "RAS") -> None:
    """Check data roots in full; list every fault with its cure and exit with status 1 if there is one.

    Args:
        roots: folders with a dataset.json.
        orientation: that of the bundle's config, axis codes whose last letter is the axis across the slices; native
            for the files' own axes.
    """
    from pathlib import Path

    from shared_components.data.check import inspect_client_root, overview
    from shared_components.data.coverage import WHOLE, Frame, advice
    from shared_components.data.volumes import slice_axes

    if not roots:
        raise InputError("check: name at least one data root (a folder with a dataset.json)")
    across = slice_axes(str(orientation))
    frame = Frame(WHOLE, 1.0, across)
    reports = [
        inspect_client_root(str(root), orientation=across, progress=True, frame=frame) for root in roots
    ]
    faults = [fault for report in reports for fault in report.faults]
    sound = [report for report in reports if not report.faults]
    for note in (note for report in reports for note in report.notes):
        print(f"note: {note}")
    if sound:
        print(overview(sound))
        reaches = {
            str(Path(report.root) / name): reach for report in sound for name, reach in report.reaches.items()
        }
        print(advice(reaches, across))
    if faults:
        faulty = len(reports) - len(sound)
        print(f"{counted(len(faults), 'problem')} in {counted(faulty, 'data root')}:", file=sys.stderr)
        for fault in faults:
            print(f"  {fault}", file=sys.stderr)
        raise SystemExit(1)


def make(
    root: str,
    *,
    domain: str,
    labels: Mapping[int, str] | Sequence[str] | str | None = None,
    name: str | None = None,
    modality: str = "unknown",
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    images: str | None = None,
    label_maps: str | None = None,
    patient_pattern: str | None = None,
    patients: str | None = None,
    ignore: int | None = None,
    sparse: bool = False,
    force: bool = False,
) -> None:
    """Write dataset.json for a folder of images and label maps, matched by their names or folders.

    Known layouts: images/ and labels/; imagesTr/, labelsTr/, imagesTs/, labelsTs/; a folder for each patient
    (p01/t2.nii.gz and p01/seg.nii.gz), who then gives the subject its name; BIDS with derivatives/labels/; or any
    folder in which label maps end in _seg (s01.nii.gz and s01_seg.nii.gz). A folder of DICOM files is one image.
    Images without a label map are unlabelled.

    Args:
        root: the folder.
        domain: the federation's name for this scanner or modality.
        labels: class names in order from 0, as background,brain; left out, they are read off the label maps.
        name: a name for the data; the folder's name if left out.
        modality: such as MRI.
        validation: fraction of the subjects for validation.
        test: fraction of the subjects for testing; a folder with imagesTs/ brings its own.
        seed: seed of the split.
        images: which files are images, where not all are: a pattern of their names or paths, such as "*_t2.nii.gz".
        label_maps: which files are label maps, where their names do not tell: such as "*/lesion.nii.gz".
        patient_pattern: regular expression with one group, the patient, that fits the images' names without ending,
            such as "(P[0-9]+)_.*"; images of one patient stay in one split.
        patients: a CSV file with the columns image (a subject, or a path from any folder on) and patient; guess, to
            take what folders and names tell; or each, where every image is a patient of its own.
        ignore: value of the label maps' voxels that nobody annotated, such as 255.
        sparse: slices of a label map without any label were not annotated.
        force: replace a dataset.json that is there.
    """
    from shared_components.data.client_root import ClientRoot
    from shared_components.data.datalists import make_datalist, remarks

    file = make_datalist(
        str(root),
        str(domain),
        labels=_labels(labels),
        name=None if name is None else str(name),
        modality=str(modality),
        validation=validation,
        test=test,
        seed=seed,
        images=None if images is None else str(images),
        label_maps=None if label_maps is None else str(label_maps),
        patients=_patients(patient_pattern, patients),
        ignore=ignore,
        sparse=bool(sparse),
        force=force,
    )
    print(f"wrote {file}")
    written = ClientRoot.load(str(root))
    print(f"subjects: {_counts(written)}")
    print(f"classes: {', '.join(f'{value} {text}' for value, text in written.labels.items())}")
    for line in remarks(written, chosen=images is not None):
        print(f"note: {line}")
    print(f"next: python scripts/prepare_data.py check {shlex.quote(str(root))}")


def _patients(pattern: str | None, patients: str | None) -> Callable[[list[Pair]], Mapping[str, str]] | None:
    """How to find each subject's patient."""
    from shared_components.data.patients import patients_by_pattern, patients_by_table

    if pattern is not None and patients is not None:
        raise InputError("--patient_pattern and --patients: expected one of the two; leave the other out")
    if pattern is not None:
        return lambda pairs: patients_by_pattern([pair.subject for pair in pairs], str(pattern))
    if patients in (None, "guess"):
        return lambda pairs: _guess({pair.subject: pair.image for pair in pairs}, patients is None)
    return None if patients == "each" else lambda pairs: patients_by_table(pairs, str(patients))


def _guess(images: Mapping[str, Path], ask: bool) -> dict[str, str]:
    """Patients of several images, as folders and names tell; nobody where they tell nothing or where it is denied.

    Raises:
        InputError: there are some, and nobody sits at the keyboard to confirm it.
    """
    from shared_components.data.patients import likely_patients, shared_patients

    guess = likely_patients(images)
    several = shared_patients(guess)
    if not several:
        return {}
    patient, subjects = next(iter(several.items()))
    told = f"{', '.join(subjects)} look like images of one patient, {patient} ({counted(len(several), 'such patient')})"
    if not ask:
        print(f"patients: {told}; they stay in one split")
        return guess
    if not sys.stdin.isatty():
        sequence = _sequence(images[subjects[0]], subjects[0].removeprefix(patient))
        raise InputError(
            f"{told}; say --patients guess to keep them in one split, --patients each if every image is another "
            f"patient's, or name them with --patient_pattern or a table{sequence}"
        )
    answer = input(f"{told}. Keep each patient's images in one split? [Y/n] ")
    return guess if answer.strip().lower() in ("", "y", "yes") else {}


def _sequence(image: Path, ending: str) -> str:
    """How to choose the images of one sequence, where they end as ``image`` does."""
    from shared_components.data.names import names_time, subject_name

    word = ending.lstrip("_. -")
    if not word or names_time(word) or names_time(word.split("_")[0]):
        return ""
    if subject_name(image).endswith(ending):
        return f"; where they are sequences, choose one with --images '*{ending}.*'"
    return f"; where they are sequences, choose one with --images '*/{word}/*'" if word in image.parts else ""


def _counts(root: ClientRoot) -> str:
    """Volumes of each split."""
    from shared_components.data.dataset_json import SPLITS

    counts = [
        f"{split} {len(root.items(split))} ({len(root.items(split, labelled=True))} labelled)"
        for split in SPLITS
    ]
    return ", ".join(counts)


def _labels(labels: Mapping | Sequence | str | None) -> Mapping | list[str] | None:
    """Labels as fire hands them over: a mapping, a list, or text with commas."""
    if labels is None or isinstance(labels, Mapping):
        return labels
    found = names(labels) if isinstance(labels, Sequence) else []
    if len(found) < 2:
        raise InputError(f"--labels: expected class names as background,brain, found {labels!r}")
    return found


def split(series: str, *, output_dir: str | None = None) -> None:
    """Write each frame of a 4-D image as a 3-D image of its own.

    Args:
        series: the 4-D image.
        output_dir: where to write; beside the image if left out.
    """
    from shared_components.data.frames import split_frames

    files = split_frames(str(series), None if output_dir is None else str(output_dir))
    print(f"wrote {len(files)} volumes: {files[0]} … {files[-1].name}")


def threshold(*maps: str, output_dir: str, at: float = 0.5) -> None:
    """Make label maps of probability maps: 1 where the probability is at least ``at``, 0 elsewhere.

    Args:
        maps: the probability maps.
        output_dir: where the label maps go, each under the name of its probability map.
        at: the threshold.
    """
    from shared_components.data.label_conversion import threshold_maps

    files = threshold_maps([str(path) for path in maps], str(output_dir), float(at))
    print(f"wrote {counted(len(files), 'label map')} into {output_dir}")


def relabel(
    *maps: str,
    values: Sequence[int] | str,
    output_dir: str | None = None,
    ignore: int | None = None,
    replace: bool = False,
) -> None:
    """Write label maps with other values: the first of VALUES becomes 0, the second 1, and so on.

    Grid and header stay. A label map that holds another value stops the command before anything is written.

    Args:
        maps: label maps, or folders of them, such as a data root.
        values: all values that the label maps hold, in the order of the classes, as 0,4,7.
        output_dir: where the new label maps go, in folders as they are.
        ignore: value of voxels that nobody annotated, which stays.
        replace: write over the label maps instead; there is no way back.
    """
    from shared_components.data.label_conversion import Relabelling, relabel_maps

    if (output_dir is None) != bool(replace):
        raise InputError(
            "relabel: expected --output_dir or --replace; name a folder, or write over the label maps"
        )
    new = Relabelling(_numbers(values), ignore)
    files = relabel_maps([str(path) for path in maps], new, None if output_dir is None else str(output_dir))
    place = (
        "in the place of the old ones"
        if replace
        else f"into {output_dir}; put them in the place of the old ones"
    )
    print(f"wrote {counted(len(files), 'label map')} {place}, and make dataset.json again")


def _numbers(values: Any) -> list[int]:
    """Numbers as fire hands them over: a tuple, or one."""
    return list(values) if isinstance(values, (list, tuple)) else [values]


def mnms(
    folder: str,
    *,
    output_dir: str,
    by: str = "vendor",
    splits: str = "published",
    unlabelled_frames: int = 0,
    use_all_labels: bool = False,
    table: str | None = None,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    force: bool = False,
) -> None:
    """Make client data roots of the M&Ms challenge (2020): A, B, … or centre1, ….

    FOLDER holds the challenge's CSV, Training, Validation and Testing as published. The end-diastolic and the
    end-systolic frame of each cine become volumes with labels; the subjects in Training/Unlabeled have none.

    Args:
        folder: the challenge's folder.
        output_dir: folder for the client data roots.
        by: one data root for each vendor, or for each centre.
        splits: published keeps the challenge's; random splits each domain's labelled subjects, so that every
            domain has training, validation and test volumes (the published fourth vendor has none to train on).
        unlabelled_frames: this many more frames of each training cine, without labels.
        use_all_labels: use labels in Training/Unlabeled too.
        table: the challenge's CSV, if it is not in FOLDER.
        validation: fraction of the subjects for validation, of random splits.
        test: fraction of the subjects for testing, of random splits.
        seed: seed of random splits.
        force: replace data roots that are there.
    """
    from shared_components.data.challenges import prepare_mnms

    roots = prepare_mnms(
        str(folder),
        str(output_dir),
        by=by,
        splits=splits,
        unlabelled_frames=unlabelled_frames,
        use_all_labels=use_all_labels,
        table=None if table is None else str(table),
        validation=validation,
        test=test,
        seed=seed,
        force=force,
        progress=True,
    )
    _tell(roots)


def scgm(
    folder: str,
    *,
    output_dir: str,
    masks: str | int = "majority",
    grey_only: bool = False,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    force: bool = False,
) -> None:
    """Make client data roots of the spinal cord grey matter challenge (2016): site1 to site4.

    FOLDER holds site1-sc01-image.nii.gz, site1-sc01-mask-r1.nii.gz, … in it or in its subfolders. Images without
    masks, which are the challenge's own test images, become unlabelled training images.

    Args:
        folder: the challenge's folder.
        output_dir: folder for the client data roots.
        masks: majority or union of the raters' masks, or the number of one rater.
        grey_only: grey matter against everything else, without white matter.
        validation: fraction of a site's subjects for validation.
        test: fraction of a site's subjects for testing.
        seed: seed of the split.
        force: replace data roots that are there.
    """
    from shared_components.data.challenges import prepare_scgm

    roots = prepare_scgm(
        str(folder),
        str(output_dir),
        masks=masks,
        grey_only=grey_only,
        validation=validation,
        test=test,
        seed=seed,
        force=force,
        progress=True,
    )
    _tell(roots)


def spinal_cord(*, output_dir: str, labelled: str | Sequence[str] = "ceitec", force: bool = False) -> None:
    """Make client data roots of the spinal cords that the project ships: ceitec … milan.

    Sixteen real T2*-weighted volumes of six hospitals, with white and grey matter. Run 2 of each session is for
    training; run 1, which has labels, is the test, or trains and chooses where a hospital has labels.

    Args:
        output_dir: folder for the client data roots.
        labelled: hospitals whose labels may be trained on, such as ceitec,milan; all or none.
        force: replace data roots that are there.
    """
    from shared_components.data.spinal_cord import SITES, make_spinal_cord

    named = {"all": SITES, "none": ()}.get(str(labelled), labelled)
    _tell(make_spinal_cord(str(output_dir), names(named), force))


def _tell(roots: Sequence[Path]) -> None:
    from shared_components.data.client_root import ClientRoot

    for root in roots:
        print(f"{root}: {_counts(ClientRoot.load(root))}")
    print(f"next: python scripts/prepare_data.py check {shlex.join(map(str, roots))}")


COMMANDS: dict[str, Callable[..., None]] = {
    "check": check,
    "make-datalist": make,
    "split": split,
    "threshold": threshold,
    "relabel": relabel,
    "mnms": mnms,
    "scgm": scgm,
    "spinal-cord": spinal_cord,
}

if __name__ == "__main__":
    run(COMMANDS)
