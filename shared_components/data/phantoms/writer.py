"""Client data roots on disk: the same bytes for the same seed, whatever the number of processes."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from shared_components.data.dataset_json import dataset_head, write_dataset
from shared_components.data.phantoms.cases import SPLITS, Case, Phantom, PhantomRoot
from shared_components.errors import InputError
from shared_components.files import write_atomically, write_text
from shared_components.steps import steps
from shared_components.value_rules import number
from shared_components.worker_processes import WorkerProcesses

RECORD = "phantoms.json"  # what a folder was made with; says whether it is whole
COARSENESS = number(0.5, 10)  # finer than the made images are, and too coarse to show an organ
RECIPE = 1  # rises when the same seed gives other images than before

Renderer = Callable[[Case], Phantom]


@dataclass(frozen=True)
class Scenario:
    """What is to be written.

    Attributes:
        render: makes one volume; a module-level function, since worker processes import it.
        cases: the volumes of every client, by domain.
    """

    name: str
    labels: dict[int, str]
    render: Renderer
    clients: Sequence[PhantomRoot]
    seed: int
    coarseness: float
    cases: dict[str, list[Case]]
    label_all: bool = False

    def record(self, complete: bool) -> dict:
        """All that decides the bytes, as written to ``phantoms.json``."""
        return {
            "recipe": RECIPE,
            "scenario": self.name,
            "seed": self.seed,
            "coarseness": self.coarseness,
            "label_all": self.label_all,
            "clients": [client.described() for client in self.clients],
            "roots": sorted(self.roots()),
            "complete": complete,
        }

    def roots(self) -> dict[str, list[Case]]:
        """The volumes of every folder to be written, clients without any left out.

        With ``label_all`` also ``<domain>_labelled``: a copy with all labels of a client that withholds some.
        """
        roots = {domain: cases for domain, cases in self.cases.items() if cases}
        if self.label_all:
            for domain, cases in list(roots.items()):
                if not all(case.labelled for case in cases):
                    whole = [case for case in cases if not case.only_slice]
                    roots[f"{domain}_labelled"] = [replace(case, labelled=True) for case in whole]
        return roots


def write_scenario(out: str | Path, scenario: Scenario, workers: int = 2, force: bool = False) -> list[Path]:
    """Write every client data root of a scenario below ``out``.

    A folder made with the same parameters is kept as it is; one whose making was cut short is made again.

    Args:
        out: folder for the client data roots; it must be new or empty unless ``force``.
        workers: processes of one thread each; 1 or less does everything in this process.
        force: replace the phantoms of other parameters, or write into a folder that holds other files.
    Returns:
        The client data roots.
    Raises:
        InputError: ``out`` is a file, or holds something else and ``force`` is not given; no volume, or a coarseness
            beyond all use.
    """
    if fault := COARSENESS.fault("coarseness", scenario.coarseness):
        raise InputError(fault)
    if not any(scenario.cases.values()):
        raise InputError("subjects: expected at least one volume of one client, found none")
    out = Path(out)
    roots = scenario.roots()
    paths = [out / root for root in roots]
    if _whole(out, scenario, force):
        print(f"{out}: made with these parameters already, kept")
        return paths
    write_text(out / RECORD, json.dumps(scenario.record(complete=False), indent=1) + "\n")
    names = {root: {case.name for case in cases} for root, cases in roots.items()}
    jobs = [
        (case, [str(out / root) for root in roots if case.name in names[root]])
        for cases in scenario.cases.values()
        for case in cases
    ]
    for _ in steps(_done(jobs, scenario.render, workers), scenario.name, "volume", total=len(jobs)):
        pass
    clients = {client.domain: client for client in scenario.clients}
    for root, cases in roots.items():
        _write_datalist(out / root, scenario, clients[cases[0].domain], cases)
    write_text(out / RECORD, json.dumps(scenario.record(complete=True), indent=1) + "\n")
    return paths


def _whole(out: Path, scenario: Scenario, force: bool) -> bool:
    """Whether ``out`` holds just this; clears what an earlier run left there, and nothing else."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder to write into, found a file; name another folder")
    if not out.exists() or not any(out.iterdir()):
        return False
    record = _read_record(out / RECORD)
    same = record is not None and record | {"complete": None} == scenario.record(True) | {"complete": None}
    if (
        same
        and record["complete"]
        and all((out / root / "dataset.json").is_file() for root in record["roots"])
    ):
        return True
    if not same and not force:
        found = "phantoms of other parameters" if record else "other files"
        raise InputError(f"{out}: expected a new or empty folder, found {found}; name another or add --force")
    for root in (record or {}).get("roots", []):
        if (out / root).resolve().parent == out.resolve():
            shutil.rmtree(out / root, ignore_errors=True)
    return False


def _read_record(path: Path) -> dict | None:
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return record if isinstance(record, dict) and {"roots", "complete"} <= set(record) else None


def _done(jobs: list[tuple[Case, list[str]]], render: Renderer, workers: int) -> Iterator[None]:
    work = partial(_write_volume, render)
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from map(work, jobs)
        return
    with WorkerProcesses(workers, threads=1) as pool:
        for written in [pool.submit(work, job) for job in jobs]:
            yield written.result()


def _write_volume(render: Renderer, job: tuple[Case, list[str]]) -> None:
    case, roots = job
    phantom = render(case)
    image, label = _nifti(phantom.image, phantom.affine), _nifti(phantom.label, phantom.affine)
    for root in roots:
        folder = Path(root)
        _write_bytes(folder / "images" / f"{case.name}{case.suffix}", image)
        if case.labelled or folder.name.endswith("_labelled"):
            _write_bytes(folder / "labels" / f"{case.name}{case.suffix}", label)


def _nifti(volume: np.ndarray, affine: np.ndarray) -> bytes:
    image = nib.Nifti1Image(volume, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code="scanner")
    image.set_sform(affine, code="scanner")
    return image.to_bytes()


def _write_bytes(path: Path, content: bytes) -> None:
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=2, mtime=0)  # neither date nor name in the header
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def _write_datalist(root: Path, scenario: Scenario, client: PhantomRoot, cases: Sequence[Case]) -> None:
    head = dataset_head(root.name, client.domain, client.modality, scenario.labels)
    items = {split: [_item(case) for case in cases if case.split == split] for split in SPLITS}
    write_dataset(root, head | items)


def _item(case: Case) -> dict[str, str]:
    file = f"{case.name}{case.suffix}"
    return {"image": f"images/{file}"} | ({"label": f"labels/{file}"} if case.labelled else {})
