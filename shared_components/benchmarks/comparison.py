"""Methods side by side: means over subjects and seeds, and paired differences to one of the methods.

As tables, as CSV files, and as a picture with a line a method, a point a seed, a panel for each client.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from shared_components.benchmarks.tables import markdown, mean_and_deviation
from shared_components.files import write_atomically, write_text
from shared_components.metrics.intervals import (
    FEWEST_SEEDS,
    LEVEL,
    Design,
    Interval,
    paired_difference,
)
from shared_components.metrics.score_files import COLOURS, literal
from shared_components.metrics.subject_scores import (
    SubjectScore,
    Values,
    client_seed_means,
    paired_values,
    seed_means,
    subject_values,
    write_subject_scores,
)
from shared_components.records import write_table

MEASURES = {"dice": ("Dice", 3), "hd95_mm": ("HD95 (mm)", 1)}
MEAN = "mean"
COLUMNS = (
    "method",
    "reference",
    "client",
    "class",
    "measure",
    "difference",
    "low",
    "high",
    "seeds",
    "clients",
)
OURS, OTHERS = COLOURS[0], "#64748b"


@dataclass(frozen=True)
class Comparison:
    """Methods on the test subjects of some clients.

    Attributes:
        scores: of every method.
        methods: the lines of a table, in order.
        clients: its columns, over which the mean is.
        reference: the method that the others are compared with.
        design: of the intervals.
    """

    scores: Sequence[SubjectScore]
    methods: Sequence[str]
    clients: Sequence[str]
    reference: str
    design: Design = field(default_factory=Design)

    @property
    def seeds(self) -> int:
        """How many there are."""
        return len({score.seed for score in self.scores})

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return list(dict.fromkeys(score.name for score in self.scores))

    def values(self, method: str, measure: str = "dice", name: str | None = None) -> Values:
        """A method's value for each subject of the clients; see :func:`subject_values`."""
        found = subject_values(self.scores, method, measure, name)
        return {subject: value for subject, value in found.items() if subject.client in self.clients}

    def difference(
        self, method: str, measure: str = "dice", name: str | None = None, client: str | None = None
    ) -> Interval | None:
        """Of a method and the reference, over the clients at which both have been tried, or at one client.

        Of a subject the classes count that have a value by both. None for the reference itself, and where there is
        nothing to compare.
        """
        if method == self.reference:
            return None
        clients = self.clients if client is None else [client]
        own = [score for score in self.scores if score.client in clients]
        pair = paired_values(own, (method, self.reference), measure, name)
        return paired_difference(*pair, self.design)


def score_table(
    found: Comparison, title: str, measure: str = "dice", name: str | None = None, differences: bool = True
) -> str:
    """Markdown: a line a method; its mean ± deviation over the seeds at every client, the mean over the clients, and
    the paired difference to the reference.

    Args:
        found: the methods.
        title: of the first column.
        measure: a key of ``MEASURES``.
        name: of the class; by default the mean over all.
        differences: with the last column.
    """
    digits, lines = MEASURES[measure][1], []
    for method in found.methods:
        line = [method, *_cells(found, found.values(method, measure, name), digits)]
        if differences:
            line.append(_difference_cell(found.difference(method, measure, name), digits, len(found.clients)))
        lines.append(line)
    last = [f"difference to {found.reference}"] if differences else []
    return markdown([title, *found.clients, MEAN, *last], lines)


def class_table(found: Comparison, title: str) -> str:
    """Markdown: a line a method; the mean Dice over the clients of each class, with its difference to the reference."""
    head = [cell for name in found.classes for cell in (name, "difference")]
    lines = []
    for method in found.methods:
        cells = []
        for name in found.classes:
            means = seed_means(found.values(method, "dice", name), found.clients)
            cells += [
                _seeds_cell(list(means.values()), 3, found.seeds),
                _difference_cell(found.difference(method, "dice", name), 3, len(found.clients)),
            ]
        lines.append([method, *cells])
    return markdown([title, *head], lines)


def comparison_tables(found: Comparison, classes: str) -> Iterator[str]:
    """Dice with differences, distances and, where there are several, classes; ``classes`` is the last one's title."""
    for measure, (title, _) in MEASURES.items():
        yield score_table(found, title, measure, differences=measure == "dice")
    if len(found.classes) > 1:
        yield class_table(found, classes)


def pooled(comparisons: Mapping[str, Comparison]) -> Comparison:
    """Several comparisons as one, by their names: methods are still compared on the same subjects in the same
    comparison, and a subject that is in several stays one subject.
    """
    first = next(iter(comparisons.values()))
    return Comparison(
        [s._replace(variant=name) for name, one in comparisons.items() for s in one.scores],
        list(dict.fromkeys(method for one in comparisons.values() for method in one.methods)),
        list(dict.fromkeys(client for one in comparisons.values() for client in one.clients)),
        first.reference,
        first.design,
    )


def legend(reference: str) -> str:
    """What the difference column says."""
    return (
        f"Differences are to “{reference}”, between the same subjects, classes and seeds, with {LEVEL:.0%} bootstrap "
        f"intervals over seeds and subjects; bold ones exclude zero in {FEWEST_SEEDS} seeds or more, the others claim "
        "nothing. Distances are over the classes that were found. (n): over n seeds only.\n"
    )


def _seeds_cell(values: Sequence[float], digits: int, seeds: int) -> str:
    """``0.850 ± 0.141``; without a deviation for one seed; with their number where it is not all seeds."""
    text = mean_and_deviation(values, digits)
    if len(values) == 1:
        text = text.split(" ± ")[0]
    return text if len(values) in (0, seeds) else f"{text} ({len(values)})"


def _difference_cell(interval: Interval | None, digits: int, clients: int) -> str:
    """``-0.020 [-0.040, +0.010]``, bold where it may be claimed; with their number where it is not all clients."""
    if interval is None:
        return "–"
    text = f"{interval.mean:+.{digits}f} [{interval.low:+.{digits}f}, {interval.high:+.{digits}f}]"
    few = "" if interval.clients == clients else f" (of {interval.clients} of {clients})"
    return f"**{text}**{few}" if interval.is_sure else f"{text}{few}"


def write_differences(found: Comparison, path: Path) -> Path:
    """All differences as CSV: for every method, client, class and measure, and their means."""
    return write_table(path, COLUMNS, _differences(found))


def _differences(found: Comparison) -> Iterator[dict[str, str]]:
    classes = [None, *(found.classes if len(found.classes) > 1 else [])]
    for method in found.methods:
        for measure in MEASURES:
            for name in classes:
                for client in (None, *found.clients):
                    interval = found.difference(method, measure, name, client)
                    if interval is not None:
                        where = (method, found.reference, client or MEAN, name or MEAN, measure)
                        numbers = (f"{number:.5f}" for number in interval[:3])
                        cells = (*where, *numbers, str(interval.seeds), str(interval.clients))
                        yield dict(zip(COLUMNS, cells, strict=True))


def _cells(found: Comparison, values: Values, digits: int) -> list[str]:
    """At every client, then their mean."""
    means = client_seed_means(values)
    columns = [list(means.get(client, {}).values()) for client in found.clients]
    columns.append(list(seed_means(values, found.clients).values()))
    return [_seeds_cell(column, digits, found.seeds) for column in columns]


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
    _plot_seeds(found, folder / "quality.png")


def _plot_seeds(found: Comparison, path: Path) -> Path:
    """Write the picture: Dice, mean over subjects and classes; the reference has a colour of its own."""
    figure = seed_figure(found)
    FigureCanvasAgg(figure)
    return write_atomically(path, figure.savefig)


def seed_figure(found: Comparison) -> Figure:
    """The picture of :func:`_plot_seeds`."""
    panels = {MEAN: {m: seed_means(found.values(m), found.clients) for m in found.methods}}
    for client in found.clients:
        panels[client] = {m: client_seed_means(found.values(m)).get(client, {}) for m in found.methods}
    size = (3.2 + 1.6 * len(panels), 0.9 + 0.27 * len(found.methods))
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, means) in zip(axes, panels.items(), strict=True):
        _draw(axis, means, found.reference)
        axis.set_title(
            literal(title), fontsize=9, loc="left", fontweight="bold" if title == MEAN else "normal"
        )
    axes[0].set_yticks(range(len(found.methods)), [*map(literal, found.methods)], fontsize=8)
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
