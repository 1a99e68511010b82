"""What lies beside the tables of a quality benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared_components.benchmarks.comparison_tables import Comparison, write_differences
from shared_components.benchmarks.seed_plot import plot_seeds
from shared_components.files import write_text
from shared_components.metrics.subject_scores import SubjectScore, write_subject_scores


def write_comparison(
    folder: Path, tables: str, found: Comparison, scores: Sequence[SubjectScore] | None = None
) -> None:
    """Write ``quality.md``, ``scores.csv``, ``differences.csv`` and ``quality.png``.

    Args:
        folder: of the benchmark.
        tables: Markdown.
        found: what is compared.
        scores: of every subject; by default those that are compared.
    """
    write_text(folder / "quality.md", tables)
    write_subject_scores(found.scores if scores is None else scores, folder / "scores.csv")
    write_differences(found, folder / "differences.csv")
    plot_seeds(found, folder / "quality.png")
