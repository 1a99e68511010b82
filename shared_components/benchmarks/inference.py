"""Throughput of a bundle's inference against the zoo's stock pattern, same network and volumes, in one run.

Also how well the shipped head, untouched, is segmented and scored by the bundles' own configs.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from scipy.ndimage import affine_transform

from shared_components.benchmarks import BUNDLES, REPOSITORY
from shared_components.benchmarks.runs import Runs, check_failures
from shared_components.benchmarks.tables import machine, markdown, read_table
from shared_components.data.dataset_json import dataset_head, write_dataset
from shared_components.errors import InputError
from shared_components.files import write_text
from shared_components.study.stage import Stage

CONFIGS = BUNDLES / "adaptation" / "configs"
WAYS = ("bundle", "stock")
STOCK: dict[str, Any] = {
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "@orientation"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": "$[@spacing, @spacing, -1]", "mode": "bilinear"},
            {
                "_target_": "ScaleIntensityRangePercentilesd", "keys": "image", "lower": "$@percentiles[0]",
                "upper": "$@percentiles[1]", "b_min": -1, "b_max": 1, "clip": True,
            },
            {"_target_": "DivisiblePadd", "keys": "image", "k": "$[@multiple, @multiple, 1]", "value": -1},
        ],
    },
    "dataset": {
        "_target_": "Dataset", "data": "$[{'image': case['image']} for case in @cases]",
        "transform": "@preprocessing",
    },
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "shuffle": False},
    "inferer": {"_target_": "SliceInferer", "roi_size": "@window", "spatial_dim": 2, "sw_batch_size": 1},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {
                "_target_": "Invertd", "keys": "pred", "orig_keys": "image", "transform": "@preprocessing",
                "nearest_interp": False, "to_tensor": True,
            },
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {
                "_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir", "output_postfix": "seg",
                "separate_folder": False, "output_dtype": "$np.uint8", "print_log": False,
            },
        ],
    },
    "evaluator": {
        "_target_": "SupervisedEvaluator", "device": "@device", "val_data_loader": "@dataloader",
        "network": "@network", "inferer": "@inferer", "postprocessing": "@postprocessing",
        "val_handlers": "@handlers", "amp": False,
    },
}  # fmt: skip
"""The pattern of the model zoo's bundles: MONAI's dictionary transforms throughout, one slice in a pass."""

VOXEL = (0.9, 0.9, 4.0)  # mm
DISTINCT = 4  # different volumes; the others are links to them
SHIPPED = REPOSITORY / "shared_components" / "data" / "phantoms" / "colin27"
KINDS = ("2mm", "1mm_lps_oblique", "2mm_wide")
TURN = 12  # degrees about x, of the oblique copy
SHAPE = np.array([200, 236, 210])  # voxels of 1 mm, of the oblique copy
WIDE = 420  # mm in-plane, of the copy with air around
NOISE = 0.03  # of its brightest voxel, deviation of each of the two channels whose magnitude air shows


def inference_benchmark(
    volumes: int = 100, shape: tuple[int, ...] = (256, 256, 32), output_dir: str = "outputs/benchmark",
    threads: int = 1, ckpt_path: str | None = None, turns: int = 1,
) -> str:  # fmt: skip
    """Segment ``volumes`` volumes in both ways, each in a fresh process, and return a table.

    Args:
        volumes: how many.
        shape: of each, voxels of 0.9 × 0.9 × 4 mm.
        output_dir: the volumes, both ways' segmentations and ``inference.md`` go into ``<output_dir>/inference``.
        threads: of torch, in both ways.
        ckpt_path: weights of the adaptation bundle's network; ``None``: as it is initialised with seed 0.
        turns: times that both ways are run, in turns; the fastest counts.
    Raises:
        InputError: a run failed.
    """
    folder = Path(output_dir).resolve() / "inference"
    _make_volumes(folder / "images", volumes, tuple(shape))
    weights = Path(ckpt_path).resolve() if ckpt_path else _weights(folder / "model.pt")
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(turns):
        for way in WAYS:
            runs[way].append(_measured(way, folder, weights, threads))
    best = {way: min(found, key=lambda run: run["seconds"]) for way, found in runs.items()}
    table = _table(best, volumes, tuple(shape), threads) + f"\n{_agreement(folder)}\n"
    write_text(folder / "inference.md", table)
    return table


def _make_volumes(folder: Path, count: int, shape: tuple[int, ...]) -> None:
    """Noisy ellipsoids as 16-bit ``.nii.gz``; a few different ones, and links to them."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    places = [np.linspace(-1, 1, size) for size in shape]
    for number in range(count):
        path = folder / f"case{number:04d}.nii.gz"
        if number >= DISTINCT:
            path.unlink(missing_ok=True)
            path.symlink_to(f"case{number % DISTINCT:04d}.nii.gz")
            continue
        axes = random.uniform(0.5, 0.8, 3)
        x, y, z = (place / axis for place, axis in zip(places, axes, strict=True))
        distance = np.sqrt(x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None] ** 2)
        voxels = 900 * (distance < 1) * (1.5 - distance) + random.normal(0, 20, shape) * (distance < 1.2)
        nib.save(nib.Nifti1Image(voxels.astype(np.int16), np.diag([-VOXEL[0], -VOXEL[1], VOXEL[2], 1])), path)


def _config(folder: Path, weights: Path, way: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / "common.yaml"), str(CONFIGS / "inference.yaml")])
    parser["imports"] = [*parser["imports"], "$import numpy as np"]
    parser.update({
        "dataset_dir": str(folder / "images"), "output_dir": str(folder / way), "ckpt_path": str(weights),
        "bundle_root": str(CONFIGS.parent), "device": "$torch.device('cpu')",
    })  # fmt: skip
    return parser


def _weights(path: Path) -> Path:
    torch.manual_seed(0)
    network = _config(path.parent, path, "bundle").get_parsed_content("network_def")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": network.state_dict()}, path)
    return path


def _measured(way: str, folder: Path, weights: Path, threads: int) -> dict[str, float]:
    """Run one way in a process of its own."""
    command = [sys.executable, "-m", __name__, way, str(folder), str(weights), str(threads)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no output"])[-1]
        raise InputError(f"{way}: expected segmentations, the run failed ({last}); run `{' '.join(command)}`")
    return json.loads(ended.stdout.strip().splitlines()[-1])


def _run_way(way: str, folder: str | Path, weights: str | Path, threads: int) -> dict[str, float]:
    """Segment every volume of ``<folder>/images`` in this process.

    Returns:
        ``seconds`` and ``cpu_seconds`` a volume (the first, which warms up, does not count), and the peak memory
        (MB) of the process after a tenth of the volumes, ``early``, and at the end, ``peak``.
    """
    torch.set_num_threads(threads)
    parser = _config(Path(folder), Path(weights), way)
    parser["handlers"] = parser["handlers"][:1]  # no progress bar
    if way == "stock":
        parser.update(STOCK)
    evaluator = parser.get_parsed_content("evaluator")
    moments: list[tuple[float, float, float]] = []
    evaluator.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda: moments.append((time.perf_counter(), time.process_time(), _peak_megabytes())),
    )
    evaluator.run()
    (start, cpu_start, _), (end, cpu_end, peak) = moments[0], moments[-1]
    count = len(moments) - 1
    return {
        "seconds": (end - start) / count, "cpu_seconds": (cpu_end - cpu_start) / count,
        "early": moments[max(1, count // 10)][2], "peak": peak,
    }  # fmt: skip


def _peak_megabytes() -> float:
    """Peak resident memory of this process (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _table(runs: dict[str, dict[str, float]], volumes: int, shape: tuple[int, ...], threads: int) -> str:
    bundle, stock = (runs[way] for way in WAYS)
    head = ["inference", "volumes a minute", "CPU seconds a volume", "peak memory (MB)", "after a tenth (MB)"]
    lines = [
        [
            name,
            f"{60 / run['seconds']:.0f}",
            f"{run['cpu_seconds']:.2f}",
            f"{run['peak']:.0f}",
            f"{run['early']:.0f}",
        ]
        for name, run in (("this bundle", bundle), ("stock pattern", stock))
    ]
    ratio = f"{stock['seconds'] / bundle['seconds']:.2f}× the throughput"
    cpu = f"{stock['cpu_seconds'] / bundle['cpu_seconds']:.2f}× less CPU time"
    size = "×".join(map(str, shape))
    return (
        f"{markdown(head, lines)}\n{ratio}, {cpu}; {volumes} volumes of {size} voxels, {threads} thread(s) of torch. "
        f"{machine()}\n"
    )


def _agreement(folder: Path) -> str:
    """How alike the labels of the first volumes are; the stock pattern resamples without anti-aliasing."""
    shares = []
    for number in range(DISTINCT):
        paths = [folder / way / f"case{number:04d}_seg.nii.gz" for way in WAYS]
        if all(path.is_file() for path in paths):
            ours, stock = (np.asarray(nib.load(path).dataobj) for path in paths)
            shares.append(float((ours == stock).mean()))
    return f"Labels agree in {100 * min(shares):.1f} % of the voxels or more."


def segment_real_head(
    ckpt_path: str | Path | None, output_dir: str | Path, bundle: str = "adaptation"
) -> list[str]:
    """Segment the head and its copy with the bundle's own configs.

    Args:
        ckpt_path: a model of T1 heads; None: the bundle's demo weights.
        output_dir: folder of the copies, segmentations and scores.
        bundle: folder in ``bundles``.
    Returns:
        A line of the brain's Dice and HD95 per volume.
    """
    folder = Path(output_dir).resolve()
    write_copies(folder / "data")
    runs = Runs(folder)
    with runs.alone():
        check_failures(runs.run([_stage(ckpt_path, folder, bundle)]))
    return [
        f"{bundle}, {row['case']}: Dice {float(row['dice']):.3f}, HD95 {float(row['hd95_mm']):.1f} mm"
        for row in read_table(folder / bundle / "scores.csv")
    ]


def _stage(ckpt_path: str | Path | None, folder: Path, bundle: str) -> Stage:
    """Inference and evaluation."""
    data, configs = str(folder / "data"), ("common.yaml", "inference.yaml", "evaluate.yaml")
    model = str(Path(ckpt_path).resolve()) if ckpt_path else None
    own = {"dataset_dir": data, "ckpt_path": model} if model else {"dataset_dir": data}
    return Stage(
        "real head",
        bundle,
        str(BUNDLES / bundle),
        configs if model else (*configs, "demo.yaml"),
        own,
        folder / bundle,
        reads=(data, model) if model else (data,),
    )


def write_copies(folder: Path) -> None:
    """The shipped head and mask as they are, rotated at 1 mm and stored LPS, and with air around; a dataset.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, order in (("head_2mm.nii.gz", 1), ("brain_mask_2mm.nii.gz", 0)):
        (folder / file).write_bytes((SHIPPED / file).read_bytes())
        shipped = nib.load(SHIPPED / file)
        nib.save(_oblique_copy(shipped, order), folder / file.replace("2mm", "1mm_lps_oblique"))
        nib.save(_wide_copy(shipped, NOISE if order else 0), folder / file.replace("2mm", "2mm_wide"))
    items = [{"image": f"head_{kind}.nii.gz", "label": f"brain_mask_{kind}.nii.gz"} for kind in KINDS]
    head = dataset_head("real head", "t1", "MRI", {0: "background", 1: "brain"})
    write_dataset(folder, head | {"training": [], "validation": [], "test": items})


def _oblique_copy(image: nib.Nifti1Image, order: int) -> nib.Nifti1Image:
    """The image about its own middle; ``order`` of the interpolation."""
    data = np.asanyarray(image.dataobj)
    angle = np.deg2rad(TURN)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    direction = turn @ np.diag([-1.0, -1.0, 1.0])
    middle = image.affine @ np.append((np.array(data.shape) - 1) / 2, 1)
    affine = np.eye(4)
    affine[:3, :3] = direction
    affine[:3, 3] = middle[:3] - direction @ ((SHAPE - 1) / 2)
    to_source = np.linalg.inv(image.affine) @ affine
    copy = affine_transform(data, to_source[:3, :3], to_source[:3, 3], output_shape=tuple(SHAPE), order=order)
    return nib.Nifti1Image(copy, affine)


def _wide_copy(image: nib.Nifti1Image, noise: float) -> nib.Nifti1Image:
    """The image in a field of view of ``WIDE`` mm in-plane, with the noise of a scanner's magnitude."""
    data = np.asanyarray(image.dataobj).astype(np.float32)
    sides = [
        math.ceil((WIDE / mm - n) / 2) for n, mm in zip(data.shape, image.header.get_zooms(), strict=True)
    ]
    sides[2] = 0
    data = np.pad(data, [(side, side) for side in sides])
    if noise:
        real, imaginary = np.random.default_rng(0).normal(0, noise * data.max(), (2, *data.shape))
        data = np.hypot(data + real, imaginary).astype(np.float32)
    affine = image.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ sides
    return nib.Nifti1Image(data, affine)


if __name__ == "__main__":
    print(json.dumps(_run_way(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))))
