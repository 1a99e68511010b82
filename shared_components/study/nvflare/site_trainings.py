"""The federated trainings of a study over its sites: the factory among all, the source model among the labelled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared_components.errors import InputError
from shared_components.federation.coordinator import Coordinator
from shared_components.federation.federation import Federation
from shared_components.federation.nvflare.asking import Asking
from shared_components.federation.nvflare.message import Message
from shared_components.federation.nvflare.nvflare_sites import NvflareSites, write_tensors
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.sites import Committed
from shared_components.study.nvflare.site_places import SERVER, TOLD
from shared_components.study.nvflare.site_tasks import SOURCE_TASKS
from shared_components.study.nvflare.study_job import handed_out
from shared_components.study.study import Study
from shared_components.study_record import Sent


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
