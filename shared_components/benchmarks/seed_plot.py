"""A picture of a comparison: a line a method, a point a seed, a panel for each client and one for their mean."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shared_components.benchmarks.comparison_tables import MEAN, Comparison
from shared_components.files import write_atomically
from shared_components.metrics.score_plots import COLOURS
from shared_components.metrics.subject_scores import client_seed_means, seed_means

OURS, OTHERS = COLOURS[0], "#64748b"


def plot_seeds(found: Comparison, path: Path) -> Path:
    """Write the picture: Dice, mean over subjects and classes; the reference has a colour of its own."""
    figure = seed_figure(found)
    FigureCanvasAgg(figure)
    return write_atomically(path, figure.savefig)


def seed_figure(found: Comparison) -> Figure:
    """The picture of :func:`plot_seeds`."""
    panels = {MEAN: {m: seed_means(found.values(m), found.clients) for m in found.methods}}
    for client in found.clients:
        panels[client] = {m: client_seed_means(found.values(m)).get(client, {}) for m in found.methods}
    size = (3.2 + 1.6 * len(panels), 0.9 + 0.27 * len(found.methods))
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, means) in zip(axes, panels.items(), strict=True):
        _draw(axis, means, found.reference)
        axis.set_title(title, fontsize=9, loc="left", fontweight="bold" if title == MEAN else "normal")
    axes[0].set_yticks(range(len(found.methods)), found.methods, fontsize=8)
    axes[0].set_ylim(len(found.methods) - 0.5, -0.5)
    axes[0].set_xlabel("Dice", fontsize=8)
    return figure


def _draw(axis: Axes, means: dict[str, dict[int, float]], reference: str) -> None:
    for place, (method, seeds) in enumerate(means.items()):
        colour, values = OURS if method == reference else OTHERS, list(seeds.values())
        axis.scatter(values, [place] * len(values), s=16, color=colour, alpha=0.7, linewidths=0, zorder=3)
        if values:
            middle = sum(values) / len(values)
            axis.plot([middle] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=1.5)
    axis.grid(True, axis="x", alpha=0.25, linewidth=0.6)
    axis.tick_params(labelsize=7, length=0)
    axis.locator_params(axis="x", nbins=3)
    axis.spines[["top", "right", "left"]].set_visible(False)
