"""A stage of a study: one run of a bundle's workflow at one client, and what says that it is done."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monai.bundle

from shared_components.errors import InputError
from shared_components.federation.bundle_workflow import without_remarks
from shared_components.federation.file_digests import FileDigests, digest
from shared_components.files import make_folder, remove_tree
from shared_components.records import found_record, write_record

DONE = "done.json"
LOG = "log.txt"
NO_OUTPUTS = (DONE, LOG, "checkpoint.pt", "tensorboard", "cache")
"""What nobody reads once the stage is done: it may be removed."""


@dataclass(frozen=True)
class Done:
    """What was noted when a stage ended.

    Attributes:
        seconds: how long it took.
        outputs: digest of everything that it has written.
    """

    seconds: float
    outputs: str


@dataclass(frozen=True)
class Stage:
    """One run of a bundle's workflow at one client.

    Attributes:
        client: whose stage it is.
        name: what it is, unique at the client.
        bundle: the bundle's folder.
        configs: config files below ``<bundle>/configs``, merged in this order.
        overrides: ids and values, merged last; ``output_dir`` is the stage's folder unless one is given.
        folder: where it writes, and nobody else.
        needs: keys of the stages that must be done before.
        reads: further files and folders that it depends on.
    """

    client: str
    name: str
    bundle: str
    configs: tuple[str, ...]
    overrides: Mapping[str, Any]
    folder: Path
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Names the stage in a study."""
        return f"{self.client}/{self.name}"

    @property
    def config_files(self) -> list[str]:
        """The bundle's config files."""
        return [str(Path(self.bundle) / "configs" / name) for name in self.configs]

    def fingerprint(self, digests: FileDigests, before: Sequence[str] = ()) -> str:
        """Changes when the stage would do something else.

        Args:
            digests: of the files that it reads.
            before: digests of what the stages that it needs have written.
        """
        files = [digest(file) for file in self.config_files] + [digests.of(file) for file in self.reads]
        bundle = Path(self.bundle).name  # wherever it lies: each job of a federation has a copy of its own
        return short_digest([bundle, self.configs, dict(self.overrides), files, list(before)])

    def prepare(self, fingerprint: str) -> None:
        """Make its folder ready: what an interrupted or outdated run has left is thrown away."""
        remove_tree(self.folder)
        make_folder(self.folder)

    def work(self) -> None:
        """Do it in this process, as ``python -m monai.bundle run`` does.

        Raises:
            InputError: its folder went away meanwhile.
        """
        overrides = {"bundle_root": self.bundle, "output_dir": str(self.folder), **self.overrides}
        last = write_record(self.folder / "overrides.yaml", overrides)
        files = [*self.config_files, str(last)]
        with without_remarks():
            print(
                f'python -m monai.bundle run --config_file "{files}" --bundle_root {self.bundle}', flush=True
            )
            monai.bundle.run(config_file=files, bundle_root=self.bundle, logging_file=False)
        if not last.is_file():
            raise InputError(f"{self.folder}: was removed or replaced while the stage wrote to it")

    def progress(self) -> str:
        """A few words on how far it is."""
        return stage_progress(self.folder)

    def outputs(self) -> list[Path]:
        """Files that it has written for others."""
        files = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return [path for path in files if path.relative_to(self.folder).parts[0] not in NO_OUTPUTS]

    def done(self, fingerprint: str) -> Done | None:
        """What was noted when it ended; None when it is still to do, was something else, or has lost an output."""
        noted = found_record(self.folder / DONE)
        if noted is None or noted["fingerprint"] != fingerprint or self.lost(noted["outputs"]):
            return None
        return Done(noted["seconds"], short_digest(noted["outputs"]))

    def lost(self, outputs: Mapping[str, Sequence] | None = None) -> list[str]:
        """Files that the stage has written and that are missing or hold something else now.

        Args:
            outputs: file to size and digest; by default what was noted when it ended.
        """
        if outputs is None:
            outputs = (found_record(self.folder / DONE) or {}).get("outputs", {})
        return [name for name, noted in outputs.items() if _described(self.folder / name) != list(noted)]

    def note(self, fingerprint: str, seconds: float) -> Done:
        """Write ``done.json``: the stage has ended."""
        outputs = {path.relative_to(self.folder).as_posix(): _described(path) for path in self.outputs()}
        noted = {"fingerprint": fingerprint, "seconds": seconds, "config_file": self.config_files}
        write_record(self.folder / DONE, {**noted, "outputs": outputs})
        return Done(seconds, short_digest(outputs))


def _described(file: Path) -> list | None:
    """Size and digest of a file; None where there is none."""
    return [file.stat().st_size, digest(file)] if file.is_file() else None


def short_digest(content: Any) -> str:
    """Changes when any of ``content``, of JSON's kinds, does."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def stage_progress(folder: Path) -> str:
    """A few words: the last row of a training's ``metrics.csv``, else the volumes that it has written."""
    row = _last_row(folder / "metrics.csv")
    if row:
        loss = f", loss {float(row['loss']):.3f}" if row.get("loss") else ""
        return f"epoch {row['epoch']}, update {row['update']}{loss}"
    volumes = sum(1 for _ in folder.rglob("*.nii.gz"))
    if volumes:
        return "1 volume written" if volumes == 1 else f"{volumes} volumes written"
    return "reading its images" if folder.is_dir() else "starting"


def _last_row(table: Path) -> dict[str, str]:
    try:
        text = table.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    return ([{}, *csv.DictReader(io.StringIO(text))])[-1]
