"""Stages that failed at clients that adapt: the others' go on without them, and what is missing is named."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from shared_components.errors import InputError
from shared_components.study.audits import NAME as AUDIT
from shared_components.study.stage import Stage
from shared_components.study.stages import stop_at_failure
from shared_components.study.study import Study


class FailedStages:
    """Told whenever a stage has ended, see :func:`run_stages`.

    What a client that adapts makes is its own; nobody else's model waits for it, nor for any client's audit of the
    factory. Another failure of a labelled client, or one of a stage that is everybody's, ends the study: others go on
    from what it makes.

    Args:
        study: whose stages they are.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._failed: list[tuple[Stage, InputError]] = []

    def __call__(self, stage: Stage, failure: InputError | None) -> None:
        """Note a failure.

        Raises:
            InputError: the failure, if the study makes no sense without the stage.
        """
        if failure is None:
            return
        if stage.client not in self._study.targets and stage.name != AUDIT:
            stop_at_failure(stage, failure)
        self._failed.append((stage, failure))

    def told(self, stages: Sequence[Stage], done: Collection[str]) -> dict[str, Any]:
        """What ``study.json`` says about it: nothing where all is done.

        Args:
            stages: all of the study's.
            done: keys of those that are done.
        """
        failed = [
            {"client": stage.client, "stage": stage.name, "cause": str(failure)}
            for stage, failure in self._failed
        ]
        keys = {stage.key for stage, _ in self._failed} | set(done)
        waiting = [stage.key for stage in stages if stage.key not in keys]
        return {"failed": failed, "waiting": waiting} if failed else {}

    def check(self) -> None:
        """Once the report is written: say what is not in it.

        Raises:
            InputError: a stage has failed.
        """
        if self._failed:
            clients = ", ".join(dict.fromkeys(stage.client for stage, _ in self._failed))
            name = self._study.federation.name
            head = f"{name}: the report is written without what failed at {clients}; mend it and go on with --resume:"
            raise InputError("\n".join([head, *(f"  {failure}" for _, failure in self._failed)]))
