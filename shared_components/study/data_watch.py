"""Notices that images or labels were replaced while a study ran: some of its stages have read the old ones then."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from shared_components.errors import InputError
from shared_components.federation.client_entry import Client
from shared_components.federation.file_digests import FileDigests, data_changes, data_record, told


class DataWatch:
    """What clients train on, of those whose data are here, from now on.

    Args:
        clients: by their names.
        digests: of their files; a file is read again only where its size or times have changed.
    Raises:
        InputError: a ``dataset.json`` is faulty.
    """

    def __init__(self, clients: Mapping[str, Client], digests: FileDigests) -> None:
        self._clients, self._digests = clients, digests
        self._before = data_record(clients, digests)

    def changes(self) -> str:
        """The first changes since, in words; empty if there are none."""
        try:
            return told(data_changes(self._before, data_record(self._clients, self._digests)))
        except InputError as error:  # such as a dataset.json that is being written
            return str(error)

    def told(self) -> dict[str, str]:
        """A field of the study's record, with a warning; nothing where nothing has changed."""
        changed = self.changes()
        if not changed:
            return {}
        print(
            f"warning: the clients' data changed while the study ran: {changed}; what was made before that is of the "
            "old ones: put them back, or go on with --resume, which tells or makes up for what depends on them",
            file=sys.stderr,
            flush=True,
        )
        return {"changed": changed}
