"""Score segmentations on file: ``python scripts/evaluate.py ROOT FOLDER [FOLDER …] [--output_dir OUT]``."""

from __future__ import annotations

from shared_components.command_line import run
from shared_components.errors import InputError


def evaluate(root: str, *folders: str, split: str = "test", output_dir: str | None = None) -> None:
    """Score folders of segmentations (<case>_seg.nii.gz or <case>.nii.gz) against a data root's labels, side by side.

    No network is run: the segmentations may come from any bundle or program, on the grids of their labels. What cannot
    be scored is listed at the end, and the exit code is then 2.

    Args:
        root: the client data root whose labelled cases are scored.
        folders: one folder for each model to compare.
        split: of the root: training, validation or test.
        output_dir: where scores.csv, scores.json, comparison.md and the pictures go; by default the folder itself, if
            there is but one.
    """
    from shared_components.metrics.comparison import compare_segmentations, named_folders

    if not folders or (output_dir is None and len(folders) > 1):
        raise InputError(
            f"folders: expected one, or --output_dir to write a comparison into, found {len(folders)}"
        )
    named = named_folders([str(folder) for folder in folders])
    table, faults = compare_segmentations(
        str(root), named, str(output_dir or folders[0]), split, progress=True
    )
    print(table.read_text(encoding="utf-8"))
    print(f"{table.parent}: scores, pictures and {table.name}")
    if faults:
        raise InputError("\n".join(["the scores above lack what could not be scored:", *faults]))


if __name__ == "__main__":
    run(evaluate)
