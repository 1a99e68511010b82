"""What a study has spent of its clients' privacy: in the factory's training, in the source model's, and in both.

A labelled client takes part in both with the same patients: the factory reads their images, the source model their
images and labels. All its updates get noise of one multiplier, so those of both trainings compose as those of one do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared_components.federation.rounds_log import released
from shared_components.federation.run_folder import RunFolder
from shared_components.study.source_model import source_federations
from shared_components.study.study import Study


def epsilons(study: Study) -> dict[str, dict[str, Any]]:
    """Client to its ``epsilon`` in all trainings, and ``epsilons`` in each, by the name of the training's folder.

    Raises:
        InputError: a table of rounds is damaged, or says nothing of a client's updates.
    """
    privacy = study.federation.privacy
    if privacy is None or not privacy.noise:
        return {}
    trainings = [study.factory_federation, *source_federations(study).values()]
    counts: dict[str, dict[str, int]] = {}
    for training in trainings:
        folder = RunFolder(training.output_dir)
        for client, updates in released(folder.rounds_file).items():
            counts.setdefault(client, {})[folder.root.name] = updates
    return {client: _epsilons(study, updates) for client, updates in sorted(counts.items())}


def _epsilons(study: Study, updates: Mapping[str, int]) -> dict[str, Any]:
    spent = study.federation.privacy.spent
    each = {name: spent(number) for name, number in updates.items()}
    return {"epsilon": spent(sum(updates.values())), "epsilons": each}
