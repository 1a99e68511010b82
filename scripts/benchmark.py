"""Measure what the README states: ``python scripts/benchmark.py quality|real-head|kernels|slices …``.

Every quality row is a run of a bundle's configs, so nothing is measured that a user could not run. Speed and memory
are printed as ratios within one run.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path

from shared_components.command_line import run as run_command_line

REPOSITORY = Path(__file__).resolve().parent.parent
FEDERATIONS = {"head": ("heads", "quickstart.yaml")}


def quality(
    scenario: str = "head", seeds: int = 3, output_dir: str = "outputs/benchmark", report_only: bool = False
) -> None:
    """Run the whole study on freshly made phantoms for several seeds and print the table of Dice and HD95.

    Finished studies are kept, so an interrupted benchmark goes on where it was.

    Args:
        scenario: head.
        seeds: how many seeds, from 0 on; each makes its own subjects and trains everything anew.
        output_dir: folder of the studies; the table is written to <output_dir>/<scenario>/quality.md.
        report_only: print the table of the studies that are there.
    """
    from shared_components.errors import InputError

    if scenario not in FEDERATIONS:
        raise InputError(f"scenario: expected one of {', '.join(FEDERATIONS)}, found {scenario!r}")
    folder = Path(output_dir) / scenario
    studies = [folder / f"seed{seed}" for seed in range(seeds)]
    for seed, study in enumerate(studies):
        if not report_only and not (study / "report.html").is_file():
            _run_study(scenario, seed, study)
    rows = list(quality_rows([study for study in studies if (study / "study.json").is_file()]))
    if not rows:
        raise InputError(f"{folder}: holds no finished study; run without --report-only")
    table = quality_table(rows, scenario)
    (folder / "quality.md").write_text(table, encoding="utf-8")
    print(table)


def _run_study(scenario: str, seed: int, study: Path) -> None:
    """Phantoms and study of one seed, in processes of their own."""
    phantoms, federation = FEDERATIONS[scenario]
    data = study.parent / f"data{seed}"
    scripts = REPOSITORY / "scripts"
    subprocess.run(
        [sys.executable, str(scripts / "phantoms.py"), phantoms, str(data), "--seed", str(seed)], check=True
    )
    text = (scripts / federation).read_text(encoding="utf-8")
    study.mkdir(parents=True, exist_ok=True)
    file = study.parent / f"seed{seed}.yaml"
    file.write_text(text.replace("outputs/quickstart/data", str(data.resolve())), encoding="utf-8")
    command = [sys.executable, str(scripts / "federate.py"), "study", str(file), "--resume"]
    start = time.perf_counter()
    subprocess.run([*command, "--output-dir", str(study), "--seed", str(seed)], check=True, cwd=REPOSITORY)
    print(f"seed {seed}: {time.perf_counter() - start:.0f} s")


def quality_rows(studies: Iterable[Path]) -> Iterable[dict[str, object]]:
    """One row per study, client and method: mean Dice and HD95 (mm) over the test subjects and classes."""
    for study in studies:
        summary = json.loads((study / "study.json").read_text(encoding="utf-8"))
        for score in summary["scores"]:
            path = study / score["csv"]
            if path.is_file():
                with path.open(newline="") as file:
                    cases = list(csv.DictReader(file))
                client = summary["clients"][score["client"]]
                yield {
                    "study": study.name,
                    "domain": client["domain"],
                    "method": score["method"],
                    "dice": _mean(case["dice"] for case in cases),
                    "hd95": _mean(case["hd95_mm"] for case in cases),
                }


def _mean(values: Iterable[str]) -> float:
    numbers = [float(value) for value in values if value and value.lower() != "nan"]
    return statistics.fmean(numbers) if numbers else float("nan")


def quality_table(rows: Sequence[dict], scenario: str) -> str:
    """Markdown: a line per method, mean ± deviation over the seeds of the subjects' means, per domain."""
    domains = list(dict.fromkeys(row["domain"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    seeds = len({row["study"] for row in rows})
    head = [f"{d}: Dice" for d in domains] + [f"{d}: HD95 (mm)" for d in domains]
    lines = [f"| {scenario}, {seeds} seeds | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for method in methods:
        cells = []
        for key, digits in (("dice", 3), ("hd95", 1)):
            for domain in domains:
                values = [r[key] for r in rows if r["domain"] == domain and r["method"] == method]
                deviation = statistics.stdev(values) if len(values) > 1 else 0.0
                cells.append(
                    f"{statistics.fmean(values):.{digits}f} ± {deviation:.{digits}f}" if values else "–"
                )
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {date.today().isoformat()}"
    return "\n".join([*lines, "", f"Machine: {machine}."]) + "\n"


def kernels(repeats: int = 20) -> None:
    """Time network kernels against their equal alternatives (forward and backward, one thread, batch 4).

    Args:
        repeats: timed calls of each; the median counts.
    """
    import torch

    from shared_components.networks.feature_classifier import FeatureClassifier
    from shared_components.networks.style_layers import ModulatedConv2d

    torch.set_num_threads(1)
    print("| kernel | size (px) | ms | alternative | ms | ratio |\n|---|---|---|---|---|---|")
    for size in (8, 16, 32, 64, 128):
        layer, x, w = ModulatedConv2d(64, 64, 3, 128), torch.randn(4, 64, size, size), torch.randn(4, 128)
        times = []
        for fused in (False, True):
            layer.fused = fused
            times.append(_milliseconds(lambda: layer(x, w).sum().backward(), repeats))  # noqa: B023
        _row("modulated convolution, scaled activations", size, times[0], "grouped weights", times[1])
    channels, sizes = (64, 64, 64, 32, 16), (4, 8, 16, 32, 64)
    features = [torch.randn(4, c, s, s) for c, s in zip(channels, sizes, strict=True)]
    times = []
    for progressive in (True, False):
        classifier = FeatureClassifier(channels, 2, progressive=progressive)
        times.append(_milliseconds(lambda: classifier(features).sum().backward(), repeats))  # noqa: B023
    _row("feature classifier, progressive", 64, times[0], "every level at full size", times[1])


def slices(data_root: str, accesses: int = 200) -> None:
    """Time slice access with and without the cache, on a client data root.

    Args:
        data_root: the data root.
        accesses: random slices that are read.
    """
    import torch

    from shared_components.data import ClientRoot, SliceDataset

    root = ClientRoot.load(data_root)
    times = {}
    for cache in ("memory", "none"):
        dataset = SliceDataset(root.items("training")[:4], [root.domain], 48, 4.5, 16, cache=cache)
        order = torch.randint(len(dataset), (accesses,), generator=torch.Generator().manual_seed(0)).tolist()
        start = time.perf_counter()
        for index in order:
            dataset[index]
        times[cache] = (time.perf_counter() - start) * 1000 / accesses
    print("| kernel | size (px) | ms | alternative | ms | ratio |\n|---|---|---|---|---|---|")
    _row("slice from the cache", 48, times["memory"], "volume decoded each time", times["none"])


def real_head(ckpt_path: str, output_dir: str = "outputs/benchmark/real_head") -> None:
    """Segment the shipped head, untouched, and a 1 mm LPS oblique copy of it, and print the brain's Dice.

    Runs ``bundles/adaptation`` with its inference and evaluate configs, as anyone would.

    Args:
        ckpt_path: the T1 client's model, such as outputs/quickstart/clients/north/source_model/model.pt.
        output_dir: folder of the copies, segmentations and scores.
    """
    folder = Path(output_dir).resolve()
    _write_copies(folder / "data")
    configs = ",".join(
        f"'bundles/adaptation/configs/{name}.yaml'" for name in ("common", "inference", "evaluate")
    )
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", f"[{configs}]"]
    command += ["--bundle_root", "bundles/adaptation", "--dataset_dir", str(folder / "data")]
    command += ["--ckpt_path", str(Path(ckpt_path).resolve()), "--output_dir", str(folder / "segmentations")]
    subprocess.run(command, check=True, cwd=REPOSITORY)
    with (folder / "segmentations" / "scores.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            print(f"{row['case']}: Dice {float(row['dice']):.3f}, HD95 {float(row['hd95_mm']):.1f} mm")


def _write_copies(folder: Path) -> None:
    """The shipped head and mask as they are, and rotated by 12 degrees at 1 mm, stored LPS; with a dataset.json."""
    import nibabel as nib
    import numpy as np
    from scipy.ndimage import affine_transform

    shipped = REPOSITORY / "shared_components" / "data" / "phantoms" / "colin27"
    folder.mkdir(parents=True, exist_ok=True)
    for file, order in (("head_2mm.nii.gz", 1), ("brain_mask_2mm.nii.gz", 0)):
        (folder / file).write_bytes((shipped / file).read_bytes())
        image = nib.load(shipped / file)
        data = np.asanyarray(image.dataobj)
        angle = np.deg2rad(12)
        turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
        direction = turn @ np.diag([-1.0, -1.0, 1.0])
        shape = np.array([200, 236, 210])
        middle = image.affine @ np.append((np.array(data.shape) - 1) / 2, 1)
        affine = np.eye(4)
        affine[:3, :3] = direction
        affine[:3, 3] = middle[:3] - direction @ ((shape - 1) / 2)
        to_source = np.linalg.inv(image.affine) @ affine
        copy = affine_transform(
            data, to_source[:3, :3], to_source[:3, 3], output_shape=tuple(shape), order=order
        )
        nib.save(nib.Nifti1Image(copy, affine), folder / file.replace("2mm", "1mm_lps_oblique"))
    items = [
        {"image": f"head_{kind}.nii.gz", "label": f"brain_mask_{kind}.nii.gz"}
        for kind in ("2mm", "1mm_lps_oblique")
    ]
    content = {
        "name": "real head",
        "domain": "t1",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "brain"},
    }
    content |= {"training": [], "validation": [], "test": items}
    (folder / "dataset.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def _milliseconds(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[2:])


def _row(name: str, size: int, first: float, alternative: str, second: float) -> None:
    print(f"| {name} | {size} | {first:.3g} | {alternative} | {second:.3g} | {second / first:.1f} |")


COMMANDS = {"quality": quality, "kernels": kernels, "slices": slices, "real-head": real_head}

if __name__ == "__main__":
    run_command_line(COMMANDS)
