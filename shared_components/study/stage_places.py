"""Where the stages of a study run: on this machine, or each at the site that has its data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType

from shared_components.study.stage import Done, Stage


class StagePlaces(ABC):
    """Runs stages; for a ``with`` block, at whose end nothing that it has started is left at work."""

    @abstractmethod
    def found(self, stage: Stage, before: Sequence[str]) -> Done | None:
        """What is known here to be done already.

        Args:
            stage: one whose needs are done.
            before: digests of what the stages that it needs have written.
        """

    @abstractmethod
    def is_free(self, stage: Stage, running: Sequence[Stage]) -> bool:
        """Whether a stage can begin beside those at work."""

    @abstractmethod
    def begin(self, stage: Stage, before: Sequence[str]) -> Future[Done]:
        """Run a stage, or find that it is done where it runs."""

    @abstractmethod
    def progress(self, stage: Stage) -> str:
        """How far a stage at work is, in a few words."""

    @abstractmethod
    def log(self, stage: Stage) -> str:
        """Where what a stage has printed is to be found."""

    @abstractmethod
    def __enter__(self) -> StagePlaces:
        """Be ready for stages."""

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is at work, at once if the block failed."""
