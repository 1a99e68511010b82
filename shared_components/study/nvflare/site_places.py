"""The trainings and stages of a study at the sites that have their data; what is released goes through the server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from shared_components.errors import InputError, shown
from shared_components.federation.coordinator import Coordinator
from shared_components.federation.federation import Federation
from shared_components.federation.file_digests import FileDigests, digest
from shared_components.federation.lane import Lane
from shared_components.federation.nvflare.asking import Asking
from shared_components.federation.nvflare.controller import NvflareSites, write_tensors
from shared_components.federation.nvflare.message import Message
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.sites import Committed
from shared_components.files import make_folder, remove_tree, write_atomically
from shared_components.study.nvflare.site_tasks import RELEASED, SOURCE_TASKS
from shared_components.study.nvflare.study_job import FACTORY, carried, handed_out
from shared_components.study.released import pack, unpack
from shared_components.study.settings import MILD, PLAIN, SOURCE
from shared_components.study.stage import LOG, Done, Stage
from shared_components.study.stage_places import StagePlaces, run_stage
from shared_components.study.study import EVERYBODY, Study
from shared_components.study_record import Sent

SERVER = "the server"
TOLD = {
    FACTORY: "the factory",
    PLAIN: "the federated source model, plain",
    MILD: "the federated source model, mild looks",
    SOURCE: "the federated source model",
}


class SitePlaces(StagePlaces):
    """Every client's stages at its own site, one at a time; those of nobody's images at the server.

    Args:
        study: as the server sees it.
        stages: all of them.
        described: site to the description of its data.
        asking: makes what asks a site; each site has its own, since they are asked from threads of their own.
        digests: of the files that the server's own stages read.
    """

    def __init__(
        self,
        study: Study,
        stages: Sequence[Stage],
        described: Mapping[str, Any],
        asking: Callable[[], Asking],
        digests: FileDigests,
    ) -> None:
        self._study, self._described, self._digests = study, dict(described), digests
        self._asking = {site: asking() for site in (*study.roots, *study.unseen)}
        self._carried = carried(stages)
        self._folder = study.folder / "exchange"  # archives, while the study runs
        self._at_site: set[tuple[str, str]] = set()  # site and what of others it has
        self.sent: list[Sent] = []

    def found(self, stage: Stage, before: Sequence[str]) -> Done | None:
        return None  # the place where it runs knows

    def is_free(self, stage: Stage, running: Sequence[Stage]) -> bool:
        return all(other.client != stage.client for other in running)

    def begin(self, stage: Stage, before: Sequence[str]) -> Future[Done]:
        run = self._here if stage.client == EVERYBODY else self._elsewhere
        return self._threads.submit(run, stage, before)

    def progress(self, stage: Stage) -> str:
        return stage.progress() if stage.client == EVERYBODY else "at work at its site"

    def log(self, stage: Stage) -> str:
        return str(stage.folder / LOG) if stage.client == EVERYBODY else f"the site's {LOG} of it"

    def __enter__(self) -> SitePlaces:
        remove_tree(self._folder)
        make_folder(self._folder)
        self._threads = ThreadPoolExecutor(len(self._asking) + 1)
        self._lane = Lane(self._study.federation.threads_per_worker).__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lane.__exit__(kind, error, trace)
        self._threads.shutdown(wait=error is None, cancel_futures=True)  # a site may be at work for long
        remove_tree(self._folder)

    def _here(self, stage: Stage, before: Sequence[str]) -> Done:
        done = stage.found(self._digests, before)
        if done is None:
            fingerprint = stage.fingerprint(self._digests, before)
            done = self._lane.submit(run_stage, stage, fingerprint).result()
        if stage.key in self._carried:
            pack(stage.name, stage.folder, self._archive(stage.key))
        return done

    def _elsewhere(self, stage: Stage, before: Sequence[str]) -> Done:
        request, new = self._request(stage, before)
        answer = self._asking[stage.client].ask("stage", {stage.client: request}, stage.key)[stage.client]
        if answer.failure is not None:
            raise InputError(answer.failure)
        self._at_site |= {(stage.client, what) for what in new}
        return self._received(stage, answer)

    def _request(self, stage: Stage, before: Sequence[str]) -> tuple[Message, list[str]]:
        """What a site is asked and sent, and the names of what it did not have."""
        client = stage.client
        files: dict[str, bytes] = {}
        needs: dict[str, dict[str, str]] = {}
        new = [n for n in stage.needs if not n.startswith(f"{client}/") and (client, n) not in self._at_site]
        for number, need in enumerate(new):
            archive = self._archive(need)
            needs[need] = {"file": f"need.{number}.zip", "sha256": digest(archive)}
            files[f"need.{number}.zip"] = archive.read_bytes()
            self._note(SERVER, client, f"{need.replace('/', ': ')}", archive)
        values: dict[str, Any] = {
            "stage": stage.key,
            "before": list(before),
            "clients": self._described,
            "needs": needs,
        }
        values["trained"] = {}
        for name, file in handed_out(self._study).items():
            if str(file) in stage.reads and (client, name) not in self._at_site:
                values["trained"][name] = {"file": f"{name}.pt", "sha256": digest(file)}
                files[f"{name}.pt"] = file.read_bytes()
                new.append(name)
                self._note(SERVER, client, TOLD[name], file)
        return Message(values, files=files), new

    def _received(self, stage: Stage, answer: Message) -> Done:
        """Put what has left a site into the study's folder here.

        Raises:
            InputError: it is not what it should be, or holds what may not leave a site.
        """
        values = answer.values
        if set(answer.files) != {RELEASED}:
            raise InputError(
                f"expected {RELEASED} alone, found {', '.join(sorted(answer.files)) or 'nothing'}"
            )
        seconds, outputs = values.get("seconds"), values.get("outputs")
        if not isinstance(seconds, int | float) or not re.fullmatch(r"[0-9a-f]{16}", str(outputs)):
            raise InputError(f"expected seconds and a digest of what it wrote, found {shown(values)}")
        archive, content = self._archive(stage.key), answer.files[RELEASED]
        write_atomically(archive, lambda place: place.write_bytes(content))
        if digest(archive) != values.get("sha256"):
            raise InputError(f"{RELEASED}: did not arrive as it was sent")
        names = unpack(stage.name, archive, stage.folder)
        self._note(stage.client, SERVER, f"{stage.name}: {_told(names)}", archive)
        if stage.key not in self._carried:
            remove_tree(archive)
        return Done(float(seconds), str(outputs))

    def _archive(self, key: str) -> Path:
        return self._folder / f"{key.replace('/', '.')}.zip"

    def _note(self, origin: str, target: str, what: str, file: Path) -> None:
        self.sent.append(Sent(origin, target, what, file.stat().st_size))


def _told(names: Sequence[str]) -> str:
    """``model.pt, metrics.csv, 24 synthetic volumes`` and so on."""
    volumes = sum(name.endswith(".nii.gz") for name in names)
    tables = [name for name in names if "/" not in name]
    return ", ".join([*tables, *([f"{volumes} files of synthetic volumes"] if volumes else [])]) or "nothing"


class SiteTrainings:
    """Trains a study's federations, the coordinator at the server.

    Args:
        study: as the server sees it.
        described: client to the description of its data, by which each site knows its part.
        asking: reaches the sites.
        quiet: print nothing.
    """

    def __init__(self, study: Study, described: Mapping[str, Any], asking: Asking, quiet: bool) -> None:
        self._study, self._described = study, dict(described)
        self._asking, self._quiet = asking, quiet
        self.sent: list[Sent] = []  # beside what rounds.csv counts

    def go_on(self, federation: Federation, folder: RunFolder, committed: Committed | None) -> None:
        """Train a federation of the study in its folder from a whole round on."""
        if Path(federation.output_dir) == self._study.factory.parent:
            sites = NvflareSites(federation, self._asking)
        else:
            sites = NvflareSites(federation, self._asking, SOURCE_TASKS, self._values(federation))
        Coordinator(federation, folder, sites, self._quiet, self._asking.check).go_on(committed)
        if federation.make_aggregator().personal:  # the source model alone may be, see plan_study()
            self._fetch_own(federation)

    def _values(self, federation: Federation) -> dict[str, Any]:
        """By which a site knows its part in training a source model."""
        return {"clients": self._described, "variant": Path(federation.output_dir).name}

    def _fetch_own(self, federation: Federation) -> None:
        """Get the source model of the client in whose look the others' synthetic volumes are labelled, which its
        site has kept so far.

        Raises:
            InputError: the site does not give it, or it is no file of tensors.
        """
        values = self._values(federation)
        source, file = self._study.source, handed_out(self._study)[values["variant"]]
        request = {source: Message(values)}
        answer = self._asking.ask(f"{SOURCE_TASKS}own", request, "handing out its source model")[source]
        if answer.failure is not None or set(answer.files) != {file.name}:
            found = answer.failure or f"expected {file.name} alone, found {', '.join(sorted(answer.files))}"
            raise InputError(f"client {source}, its source model: {found}; go on with --resume")
        write_tensors(file, answer.files[file.name])
        self.sent.append(
            Sent(source, SERVER, f"{TOLD[values['variant']]}, with its own norms", file.stat().st_size)
        )
