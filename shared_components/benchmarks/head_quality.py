"""The quickstart's study over several seeds: methods of the adaptation side by side."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from shared_components.benchmarks.processes import REPOSITORY
from shared_components.benchmarks.tables import machine, markdown, mean, mean_and_deviation, read_table
from shared_components.errors import InputError
from shared_components.files import write_text


def head_quality(seeds: int, output_dir: str | Path, report_only: bool = False) -> str:
    """Run the whole study on freshly made phantoms for several seeds.

    Finished studies are kept, so an interrupted benchmark goes on where it was.

    Args:
        seeds: how many seeds, from 0 on; each makes its own subjects and trains everything anew.
        output_dir: folder of the studies is ``<output_dir>/head``; the table is written to ``quality.md`` there.
        report_only: read the studies that are there.
    Returns:
        The table of Dice and HD95.
    Raises:
        InputError: there is no finished study.
    """
    folder = Path(output_dir) / "head"
    studies = [folder / f"seed{seed}" for seed in range(seeds)]
    for seed, study in enumerate(studies):
        if not report_only and not (study / "report.html").is_file():
            _run_study(seed, study)
    rows = list(study_rows([study for study in studies if (study / "study.json").is_file()]))
    if not rows:
        raise InputError(f"{folder}: holds no finished study; run without --report-only")
    table = study_table(rows, "head")
    write_text(folder / "quality.md", table)
    return table


def _run_study(seed: int, study: Path) -> None:
    """Phantoms and study of one seed, in processes of their own."""
    data = study.parent / f"data{seed}"
    scripts = REPOSITORY / "scripts"
    subprocess.run(
        [sys.executable, str(scripts / "phantoms.py"), "heads", str(data), "--seed", str(seed)], check=True
    )
    text = (scripts / "quickstart.yaml").read_text(encoding="utf-8")
    study.mkdir(parents=True, exist_ok=True)
    file = study.parent / f"seed{seed}.yaml"
    file.write_text(text.replace("outputs/quickstart/data", str(data.resolve())), encoding="utf-8")
    command = [sys.executable, str(scripts / "federate.py"), "study", str(file), "--resume"]
    start = time.perf_counter()
    subprocess.run([*command, "--output-dir", str(study), "--seed", str(seed)], check=True, cwd=REPOSITORY)
    print(f"seed {seed}: {time.perf_counter() - start:.0f} s")


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
