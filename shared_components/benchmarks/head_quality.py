"""The quickstart's study over several seeds: methods of the adaptation side by side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from shared_components.benchmarks.repository import SCRIPTS
from shared_components.benchmarks.runs import Runs, check_failures
from shared_components.benchmarks.study_stage import StudyStage, study_stage
from shared_components.benchmarks.tables import machine, markdown, mean, mean_and_deviation, read_table
from shared_components.data.phantoms import make_heads
from shared_components.errors import InputError
from shared_components.files import write_text

SMOKE = {"subjects": (2, 1, 1), "coarseness": 3.0}  # of the phantoms


def head_quality(seeds: int, output_dir: str | Path, report_only: bool = False, smoke: bool = False) -> str:
    """Run the whole study on freshly made phantoms for several seeds.

    Finished studies are kept, so an interrupted benchmark goes on where it was.

    Args:
        seeds: how many seeds, from 0 on; each makes its own subjects and trains everything anew.
        output_dir: folder of the studies is ``<output_dir>/head``; the table is written to ``quality.md`` there.
        report_only: read the studies that are there.
        smoke: the smallest sizes, in ``<output_dir>/head_smoke``.
    Returns:
        The table of Dice and HD95.
    Raises:
        InputError: there is no finished study, or one failed.
    """
    folder = (Path(output_dir) / ("head_smoke" if smoke else "head")).resolve()
    studies = [folder / f"seed{seed}" for seed in range(seeds)]
    if not report_only:
        _run(Runs(folder), folder, studies, smoke)
    rows = list(study_rows([study for study in studies if (study / "study.json").is_file()]))
    if not rows:
        raise InputError(f"{folder}: holds no finished study; run without --report-only")
    table = study_table(rows, "head")
    write_text(folder / "quality.md", table)
    return table


def _run(runs: Runs, folder: Path, studies: Sequence[Path], smoke: bool) -> None:
    """Phantoms and study of every seed, one study at a time."""
    stages = []
    with runs.alone():
        for seed, study in enumerate(studies):
            data = folder / f"data{seed}"
            make_heads(data, seed=seed, **(SMOKE if smoke else {}))
            stages.append(_stage(seed, data, study, smoke))
        check_failures(runs.run(stages))


def _stage(seed: int, data: Path, study: Path, smoke: bool) -> StudyStage:
    """The quickstart's study of one seed's phantoms."""
    file = SCRIPTS / ("quickstart_smoke.yaml" if smoke else "quickstart.yaml")
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    clients = {
        name: {**client, "data_root": str(data / client["domain"])}
        for name, client in values["clients"].items()
    }
    return study_stage(study.name, {**values, "clients": clients, "seed": seed}, study)


def study_rows(studies: Iterable[Path]) -> Iterable[dict[str, object]]:
    """One row per study, client and method: mean Dice and HD95 (mm) over the test subjects and classes."""
    for study in studies:
        summary = json.loads((study / "study.json").read_text(encoding="utf-8"))
        for score in summary["scores"]:
            path = study / score["csv"]
            if path.is_file():
                cases = read_table(path)
                client = summary["clients"][score["client"]]
                yield {
                    "study": study.name,
                    "domain": client["domain"],
                    "method": score["method"],
                    "dice": mean(case["dice"] for case in cases),
                    "hd95": mean(case["hd95_mm"] for case in cases),
                }


def study_table(rows: Sequence[dict], scenario: str) -> str:
    """Markdown: a line per method, mean ± deviation over the seeds of the subjects' means, per domain."""
    domains = list(dict.fromkeys(row["domain"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    seeds = len({row["study"] for row in rows})
    head = [f"{d}: Dice" for d in domains] + [f"{d}: HD95 (mm)" for d in domains]
    lines = []
    for method in methods:
        cells = [
            mean_and_deviation(
                [r[key] for r in rows if r["domain"] == domain and r["method"] == method], digits
            )
            for key, digits in (("dice", 3), ("hd95", 1))
            for domain in domains
        ]
        lines.append([method, *cells])
    return f"{markdown([f'{scenario}, {seeds} seeds', *head], lines)}\n{machine()}\n"
