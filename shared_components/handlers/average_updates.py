"""A running average of the weights that follows a training."""

from __future__ import annotations

from ignite.engine import Engine, Events

from shared_components.networks.weight_average import AveragedNetwork


class AverageUpdates:
    """Moves a network's running average after every update; ``network`` holds it, so that its state is saved with it.

    The engine's own updates count where a federation leaves the average's counter as it was, as with ``privacy``.

    Args:
        network: what is trained.
    Deviation: ignite's ``EMAHandler`` keeps its average outside the network, where no federation exchanges it.
    """

    def __init__(self, network: AveragedNetwork) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._update)

    def _update(self, engine: Engine) -> None:
        self.network.update_average(engine.state.iteration - 1)
