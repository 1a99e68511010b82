"""A scenario's study over several seeds, further rows beside it, and the tables that compare them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared_components.benchmarks.comparison import (
    Comparison,
    comparison_tables,
    legend,
    pooled,
    write_comparison,
)
from shared_components.benchmarks.quality_bench import Bench
from shared_components.benchmarks.quality_rows import ROWS, row_stages
from shared_components.benchmarks.quality_scenarios import FEW, SCENARIOS, QualityScenario, write_few
from shared_components.benchmarks.quality_scores import KNOWN, Found, choice_table, read_studies
from shared_components.benchmarks.runs import Runs, StudyStage, check_failures, study_stage
from shared_components.benchmarks.tables import check_reference, machine
from shared_components.command_line import chosen, names
from shared_components.errors import InputError
from shared_components.study.roles import plan_study

NONE = "none"
MEANS = "Mean ± deviation over seeds of the means over subjects and classes."
CLASSES = "Dice, mean over the clients"
FEW_ROWS = ("few", "few_adaptation")


@dataclass(frozen=True)
class StudyQuality:
    """A scenario with labels at some clients, in a folder of its own.

    Args:
        name: key of ``SCENARIOS``.
        output_dir: the folder lies in it, see :attr:`folder`.
        labelled: domains with labels.
        fast: a third of the updates of everything.
        smoke: the smallest sizes.
    """

    name: str
    output_dir: Path
    labelled: tuple[str, ...]
    fast: bool = False
    smoke: bool = False

    @property
    def scenario(self) -> QualityScenario:
        return SCENARIOS[self.name]

    @property
    def folder(self) -> Path:
        """``<output_dir>/<scenario>``, with the labelled domains where it is not the first alone, and the size."""
        others = ["+".join(self.labelled)] if self.labelled != self.scenario.chosen(None) else []
        size = [word for word in ("fast", "smoke") if getattr(self, word)]
        return (self.output_dir / "_".join([self.name, *others, *size])).resolve()

    def data(self, seed: int) -> Path:
        """Folder of a seed's data roots."""
        return self.folder / f"data{seed}"

    def stage(self, seed: int) -> StudyStage:
        """The study of a seed."""
        values = self.scenario.values(self.data(seed), seed, self.fast, self.smoke)
        return study_stage(f"seed{seed}", values, self.folder / f"seed{seed}")

    def run(self, seeds: int, rows: Sequence[str], jobs: int) -> None:
        """Make the data, run the studies and the rows that are not done, a seed after the other.

        Raises:
            InputError: some runs failed; all that can be done without them is.
        """
        runs, failures = Runs(self.folder), []
        with runs.alone():
            for seed in range(seeds):
                self._make(seed)
                failures += runs.run([self.stage(seed)]) or self._run_rows(runs, seed, rows, jobs)
                self.report()
        check_failures(failures)

    def _make(self, seed: int) -> None:
        data = self.data(seed)
        self.scenario.make(data, seed, self.labelled, self.smoke)
        for root in list(data.glob("*_labelled")):
            write_few(root, data / f"{root.name.removesuffix('_labelled')}_few", FEW)

    def _run_rows(self, runs: Runs, seed: int, rows: Sequence[str], jobs: int) -> list[InputError]:
        if not rows:
            return []
        bench = Bench(plan_study(self.stage(seed).federation()), self.scenario, self.data(seed))
        return runs.run([*bench.study_stages.values(), *row_stages(bench, rows)], jobs)

    def report(self, reference: str | None = None) -> str | None:
        """Write the tables and what lies beside them, see :func:`write_comparison`.

        Returns:
            The tables; None where nothing is finished.
        """
        found = self.found()
        if not found.scores:
            return None
        comparison = found.comparison(self.scenario.design, reference)
        table = "\n".join([*self._parts(found, comparison), machine(), ""])
        write_comparison(self.folder, table, comparison, found.scores)
        return table

    def found(self) -> Found:
        """What is finished."""
        places = {int(path.name.removeprefix("seed")): path for path in self.folder.glob("seed[0-9]*")}
        return read_studies({seed: places[seed] for seed in sorted(places)})

    def _parts(self, found: Found, comparison: Comparison) -> Iterator[str]:
        words = f"{self.name}, labels at {' and '.join(self.labelled)}, seeds: {comparison.seeds}"
        words += ", a third of the updates" if self.fast else ", at the smallest sizes" if self.smoke else ""
        yield f"{words}. {MEANS}\n"
        yield legend(comparison.reference)
        yield from comparison_tables(comparison, CLASSES)
        if any(ROWS[key].name in comparison.methods for key in FEW_ROWS):
            yield f"Few labelled slices: {self.scenario.few_slices}.\n"
        if choices := found.choices():
            yield choice_table(choices)
        home = [f"{domain} {dice:.3f}" for domain, dice in found.at_home().items()]
        if home:
            yield f"Dice of a source model in its own domain: {', '.join(home)}.\n"


def study_quality(
    scenario: str,
    seeds: int,
    output_dir: str | Path,
    report_only: bool = False,
    rows: str | Sequence[str] | None = None,
    labelled: str | Sequence[str] | None = None,
    jobs: int = 2,
    fast: bool = False,
    smoke: bool = False,
    reference: str | None = None,
) -> str:
    """Run a scenario's study and the rows beside it for several seeds, and compare all methods.

    What is finished is kept, so an interrupted benchmark goes on where it was.

    Args:
        scenario: key of ``SCENARIOS``.
        seeds: how many, from 0 on; each trains everything anew, on subjects of its own where they are made.
        output_dir: see :attr:`StudyQuality.folder`.
        report_only: run nothing.
        rows: keys of ``ROWS``; all by default; ``none`` for the study alone.
        labelled: domains with labels, such as ``ceitec``; ``ceitec+ucl`` for both, and several of these for one
            after the other.
        jobs: rows at a time.
        fast: a third of the updates of everything.
        smoke: the smallest sizes.
        reference: the method that the others are compared with; by default what clients have chosen without labels,
            or the adaptation.
    Returns:
        The tables, one after the other, and of several variants one more with all of them.
    Raises:
        InputError: an unknown name, nothing is finished, or some runs failed.
    """
    keys = [] if rows == NONE else chosen(rows, tuple(ROWS), "rows")
    if not report_only:  # else what has been found says what it may be
        check_reference(reference, KNOWN)
    tables, chosen_labels = [], [SCENARIOS[scenario].chosen(words) for words in _variants(labelled)]
    variants = [StudyQuality(scenario, Path(output_dir), names, fast, smoke) for names in chosen_labels]
    for benchmark in variants:
        if not report_only:
            benchmark.run(seeds, keys, jobs)
        table = benchmark.report(reference)
        if table is None:
            raise InputError(f"{benchmark.folder}: holds no finished study; run without --report-only")
        tables.append(table)
    return "\n".join([*tables, *([_in_turn(variants, reference)] if len(variants) > 1 else [])])


def _in_turn(variants: Sequence[StudyQuality], reference: str | None) -> str:
    """All variants as one table, written beside their folders; a client's scores are means over those in which it had
    no labels.
    """
    first = variants[0]
    found = pooled(
        {"+".join(one.labelled): one.found().comparison(one.scenario.design, reference) for one in variants}
    )
    labels = ", ".join("+".join(one.labelled) for one in variants)
    head = f"{first.name}, labels at each of {labels} in turn, seeds: {found.seeds}. {MEANS}\n"
    table = "\n".join([head, legend(found.reference), *comparison_tables(found, CLASSES), machine(), ""])
    size = [word for word in ("fast", "smoke") if getattr(first, word)]
    write_comparison(first.output_dir.resolve() / "_".join([first.name, "in_turn", *size]), table, found)
    return table


def _variants(labelled: str | Sequence[str] | None) -> list[list[str] | None]:
    """``a+b,c`` or ``(a+b, c)`` to the labelled domains of each variant; by default the scenario's own."""
    return [None] if labelled is None else [word.split("+") for word in names(labelled)]
