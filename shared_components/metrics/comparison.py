"""Segmentations of any origin, scored against a client's labels and set side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared_components.data.client_root import ClientRoot
from shared_components.errors import InputError
from shared_components.files import write_text
from shared_components.inferers import find_cases
from shared_components.metrics.score_files import plot_scores, read_scores, summarize, write_scores
from shared_components.metrics.segmentation_scores import score_cases, told_faults
from shared_components.records import read_record, write_record

RECORD = "comparison.json"
"""What a comparison has written, beside it."""

Summaries = Mapping[str, Mapping[str, Mapping[str, float]]]  # method -> class -> statistics


def compare_segmentations(
    root: str | Path,
    predictions: Mapping[str, str | Path],
    output_dir: str | Path,
    split: str = "test",
    progress: bool = False,
) -> tuple[Path, list[str]]:
    """Score folders of segmentations against the labels of a client data root; no network is run.

    They are called ``<case>_seg.nii.gz`` or ``<case>.nii.gz``.

    Writes ``<output_dir>/<method>/scores.csv`` and ``scores.json`` (of a single method straight into
    ``output_dir``), ``scores_<label>_<class>.png`` with all methods, ``comparison.md``, and ``comparison.json``, by
    which :func:`read_comparison` knows the files of this comparison from those of an earlier one.

    Args:
        root: the client data root; its labelled cases are what is scored, its label set names the classes.
        predictions: method to folder.
        output_dir: folder, made when missing.
        split: which of the root's lists.
        progress: tell how far it is.
    Returns:
        The table, ``comparison.md``, and a line for each case of a method that could not be scored: its segmentation or
        its label is missing, damaged or on another grid. A method's means are over the cases that it has.
    Raises:
        InputError: no labelled case, or not one that can be scored.
    """
    if not predictions:
        raise InputError("comparison: expected at least one folder of segmentations, found none")
    labels = ClientRoot.load(root).labels
    cases = find_cases(root, split, labelled=True)
    output_dir = Path(output_dir)
    places = {method: output_dir / method if len(predictions) > 1 else output_dir for method in predictions}
    tables, faults = {}, []
    for method, folder in predictions.items():
        rows, lines = score_cases(folder, cases, labels, progress)
        faults += lines
        if rows:
            tables[method] = write_scores(rows, places[method] / "scores.csv")
    faults = list(dict.fromkeys(faults))  # a damaged label is every method's fault, and said once
    if not tables:
        raise InputError(told_faults(faults, len(cases) * len(predictions)))
    pictures = plot_scores(tables, output_dir)
    written = {method: table.relative_to(output_dir).as_posix() for method, table in tables.items()}
    write_record(output_dir / RECORD, {"tables": written, "pictures": [path.name for path in pictures]})
    summaries = {method: summarize(read_scores(table)) for method, table in tables.items()}
    return write_text(output_dir / "comparison.md", _comparison_table(summaries)), faults


def read_comparison(folder: str | Path) -> tuple[dict[str, Path], list[Path]]:
    """Each method's table, and the pictures, that :func:`compare_segmentations` has last written into a folder.

    Raises:
        InputError: ``comparison.json`` is damaged; where there is none, as of earlier versions, all that lies there
            counts.
    """
    folder = Path(folder)
    if not (folder / RECORD).is_file():
        tables = {path.parent.name: path for path in sorted(folder.glob("*/scores.csv"))}
        alone = [folder / "scores.csv"] if (folder / "scores.csv").is_file() and not tables else []
        return tables or {folder.resolve().name: path for path in alone}, sorted(folder.glob("scores_*.png"))
    cure = "compare the segmentations again"
    content = read_record(folder / RECORD, cure)
    try:
        tables = {str(method): folder / path for method, path in content["tables"].items()}
        return tables, [folder / name for name in content["pictures"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder / RECORD}: expected tables and pictures, found {error!r}; {cure}"
        ) from error


def named_folders(folders: Sequence[str | Path]) -> dict[str, Path]:
    """Folders by their own names, with as many folder names before them as set them apart.

    Raises:
        InputError: a folder does not exist, or is given twice.
    """
    places = [Path(folder).resolve() for folder in folders]
    for place in places:
        if not place.is_dir() or places.count(place) > 1:
            found = "it twice" if place.is_dir() else "none"
            raise InputError(f"{place}: expected a folder of segmentations, found {found}; check the path")
    for depth in range(1, max((len(place.parts) for place in places), default=1)):
        names = ["_".join(place.parts[1:][-depth:]) for place in places]
        if len(set(names)) == len(names):
            return dict(zip(names, places, strict=True))
    raise InputError(f"{places[0]}: expected folders of different names; rename one")


def _comparison_table(summaries: Summaries) -> str:
    """Markdown: a line per class and method, mean ± standard deviation over cases."""
    lines = ["| class | method | cases | Dice | Hausdorff (mm) | 95 % Hausdorff (mm) | no distance |"]
    lines += ["|---" * 7 + "|"]
    names = list(dict.fromkeys(name for summary in summaries.values() for name in summary))
    if len(names) == 2:  # one class: its mean is itself
        names.remove("mean")
    for name in names:
        for method, summary in summaries.items():
            values = summary[name]
            cells = [_cell(values, "dice", 3), _cell(values, "hd", 1), _cell(values, "hd95", 1)]
            lines.append(
                f"| {name} | {method} | {values['cases']} | {' | '.join(cells)} | {values['missed']} |"
            )
    return "\n".join(lines) + "\n"


def _cell(values: Mapping[str, float], key: str, digits: int) -> str:
    mean, deviation = values[f"{key}_mean"], values[f"{key}_sd"]
    if math.isnan(mean):
        return "–"
    return f"{mean:.{digits}f}" + ("" if math.isnan(deviation) else f" ± {deviation:.{digits}f}")
