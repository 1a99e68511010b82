"""A federated training as one stage of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_components.federation.federation import Federation
from shared_components.federation.federation_file import read_federation
from shared_components.federation.file_digests import FileDigests
from shared_components.records import found_record, write_record
from shared_components.study.federated_run import FederatedRun, by_engine
from shared_components.study.stage import LOG, Stage

FILE = "federation.yaml"
BEGUN = "begun.json"
RUN = "run"  # of the stage's folder: the federation's


@dataclass(frozen=True)
class FederationStage(Stage):
    """What ``federate.py run FILE --resume`` does, in the stage's folder.

    Bundle and config files are the federation's; the overrides are the content of its file.
    """

    def prepare(self, fingerprint: str) -> None:
        """What an interrupted run of the same federation has left is kept: it goes on from there."""
        begun = found_record(self.folder / BEGUN)
        if begun is None or begun["fingerprint"] != fingerprint:
            super().prepare(fingerprint)
        write_record(self.folder / BEGUN, {"fingerprint": fingerprint})

    def federation(self) -> Federation:
        """The federation, whose file is written into the folder."""
        return read_federation(write_record(self.folder / FILE, self.overrides))

    def work(self) -> None:
        run = FederatedRun(self.federation())
        with run.folder.lock.held():
            run.open(resume=True, force=False, digests=FileDigests())
            run.train(by_engine(quiet=False))

    def progress(self) -> str:
        """The last line that it has told."""
        log = self.folder / LOG
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        return lines[-1] if lines else super().progress()

    def outputs(self) -> list[Path]:
        """The models that it exports."""
        federation = self.federation()
        return sorted({federation.client_export_path(name) for name in federation.clients})


def federation_stage(
    client: str, name: str, federation: Federation, folder: Path, needs: tuple[str, ...] = ()
) -> FederationStage:
    """The stage of a federation, which runs in a folder below the stage's.

    Args:
        client: whose stage it is.
        name: of the stage.
        federation: its output folder is the stage's ``run``.
        folder: of the stage.
        needs: keys of the stages that must be done before.
    """
    values: Mapping[str, Any] = {**federation.as_dict(), "output_dir": str(folder / RUN)}
    roots = tuple(root for one in federation.clients.values() for root in one.data_roots)
    return FederationStage(client, name, federation.bundle, federation.configs, values, folder, needs, roots)
