"""A bundle as a federated client: its own trainer, of which only the shared modules are exchanged."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from shared_components.engines.saved_state import RandomState, restore
from shared_components.errors import InputError
from shared_components.federation.aggregators import FedAvg
from shared_components.federation.aggregators.aggregation import check_finite, check_same_layout
from shared_components.federation.bundle_workflow import EXPORT, build_workflow, check_export, shared_names
from shared_components.federation.start import Start, carry_over_of, weights_of
from shared_components.files import load_tensors, save_tensors
from shared_components.tensors import misfit

TRAINER_ATTRIBUTES = ("epoch", "iteration", "best_metric", "best_metric_epoch")
BEGUN = "federation::begun"
"""Id of a bundle's config: called when a client begins, with the weights of the federation's start in the network."""
STATE = {"private", "objects", "trainer", "random"}  # what a client remembers


@dataclass(frozen=True)
class Update:
    """What a client sends after a round.

    Attributes:
        weights: name -> tensor on the CPU, of the shared modules only.
        images: the client's number of training images, its weight in the average; 0: no optimiser took a step in the
            round, as where labels are waited for, so that there is nothing to count.
        metrics: name -> mean over the round's updates.
        seconds: wall time of the round's training.
        released: how many protected updates have left the client, this one included; 0: none, since what it
            sends is not protected by noise.
    """

    weights: dict[str, Tensor]
    images: int
    metrics: dict[str, float]
    seconds: float
    released: int = 0

    @property
    def values(self) -> dict[str, float]:
        """All but the weights, by name."""
        released = {"released": self.released} if self.released else {}
        return {"images": self.images, "seconds": self.seconds, **self.metrics, **released}


class FederatedClient:
    """Builds a bundle's trainer and runs it one epoch, which is one round, at a time.

    N rounds give bit for bit what N epochs of ``python -m monai.bundle run`` give when nothing is mixed in
    from outside, since each round goes on with the trainer's own counters, optimisers and random state. The
    random state of torch, NumPy and Python is the process's; it is swapped around everything that the client
    does, so that several clients live in one process without touching each other's draws.

    The bundle's config may say ``federation::shared`` (names of the child modules of ``trainer.network`` to
    exchange), ``federation::images`` (number of training images), ``checkpoint_state`` (name -> object with a
    ``state_dict``) and ``federation::export``. A bundle without them, as the model zoo has, exchanges its
    whole network, is weighted by the length of its training dataset and keeps its one optimiser.

    Args:
        bundle_root: the bundle's folder.
        config_files: config files, merged in order.
        overrides: ids and values that replace the config's.
        updates: the trainer's iterations in a round.
        aggregator: the federation's, which may keep tensors at the client or steer its training; None: plain
            averaging.
    Raises:
        InputError: the bundle's epoch is not ``updates`` long, a shared module does not exist, a private one would be
            exported, or the aggregator does not suit the network.
    """

    def __init__(
        self,
        bundle_root: str,
        config_files: Sequence[str],
        overrides: Mapping[str, Any],
        updates: int,
        aggregator: FedAvg | None = None,
    ) -> None:
        self._aggregator = aggregator or FedAvg()
        self._random_state: dict[str, Any] | None = None
        self._checked_reload = False
        self.bundle_root = bundle_root
        with self._own_randomness():
            self._workflow = build_workflow(bundle_root, config_files, overrides)
            self.trainer = self._workflow.parser.get_parsed_content("train::trainer")
        with self._own_randomness(keep=False):  # plain training evaluates none of these
            self.images = int(self._content("federation::images", self._training_images))
            self._stateful = self._content("checkpoint_state", dict)
            shared = self._content("federation::shared", lambda: [""])
        self._check_epoch_length(updates)
        self._shared_names = shared_names(self.trainer.network, shared, self._aggregator, bundle_root)
        with self._own_randomness(keep=False):
            network, parser = self.trainer.network, self._workflow.parser
            check_export(parser, network, self._shared_names, self._aggregator, bundle_root)

    @property
    def shared_tensors(self) -> dict[str, Tensor]:
        """The exchanged tensors as they live in ``trainer.network``: name -> tensor."""
        tensors = self.trainer.network.state_dict()
        return {name: tensors[name] for name in self._shared_names}

    def shared_weights(self) -> dict[str, Tensor]:
        """Copies of the exchanged tensors, on the CPU: name in ``trainer.network`` -> tensor."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self.shared_tensors.items()}

    def load_shared(self, weights: Mapping[str, Tensor]) -> None:
        """Put the global weights into the network; they must have the layout of :meth:`shared_weights`.

        Raises:
            InputError: a name is missing or unknown, a shape or dtype differs, or a value is not finite.
        """
        own = self.shared_tensors
        check_same_layout(own, weights, reference="its bundle", found="the global model")
        check_finite(weights, "the global model")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(weights[name])

    def run_round(self, weights: Mapping[str, Tensor], number: int | None = None) -> Update:
        """Train one round from the global ``weights``.

        Args:
            weights: name -> tensor, as in :meth:`shared_weights`.
            number: of the round, which the trainer's ``state.round`` says; None: as many as the client has trained.
        Returns:
            The update to send.
        Raises:
            InputError: the network holds NaN or infinite values after it.
        """
        start = time.perf_counter()
        with self._own_randomness():
            self.load_shared(weights)
            state = self.trainer.state
            state.metrics.clear()  # a loss that is not of this round must not be reported with it
            state.max_epochs = state.epoch + 1
            state.round = state.max_epochs if number is None else number
            optimizers = self._optimizers()
            with (
                self._aggregator.local_training(optimizers, self._shared_parameters()),
                _steps(optimizers) as steps,
            ):
                self.trainer.run()
            self.trainer.network.zero_grad(set_to_none=True)  # memory for the other clients of this process
            check_finite(self.trainer.network.state_dict(), f"update {state.iteration}")
        images = self.images if steps or not optimizers else 0
        return Update(self.shared_weights(), images, self._metrics(), time.perf_counter() - start)

    def save_state(self, path: str | os.PathLike) -> None:
        """Write all that the client must remember between rounds and does not share: private tensors,
        optimisers and whatever else ``checkpoint_state`` names, the trainer's counters, the random state.

        Raises:
            InputError: some state cannot be loaded again without running code (told at the first save).
        """
        state = {
            "private": self._private(),
            "objects": {k: v.state_dict() for k, v in self._objects().items()},
            "trainer": {k: getattr(self.trainer.state, k) for k in TRAINER_ATTRIBUTES},
            "random": self._random_state,
        }
        save_tensors(path, state)
        if not self._checked_reload:
            load_tensors(path)
            self._checked_reload = True

    def load_state(self, path: str | os.PathLike) -> None:
        """Go on from what :meth:`save_state` wrote.

        Raises:
            InputError: the file is missing, damaged or of another bundle.
        """
        state = load_tensors(path, cure="put a copy of it back, or start the run over with --force")
        objects, private = self._objects(), self._private()
        if not state.keys() >= STATE or set(state["objects"]) != set(objects):
            raise InputError(f"{path}: holds the state of another bundle; start the run over with --force")
        fault = misfit(private, state["private"])
        if fault:
            raise InputError(
                f"{path}: holds the state of another bundle ({fault}); start the run over with --force"
            )
        with torch.no_grad():
            for name, tensor in private.items():
                tensor.copy_(state["private"][name])
        restore(objects, state["objects"], path, cure="start the run over with --force")
        for name in TRAINER_ATTRIBUTES:
            setattr(self.trainer.state, name, state["trainer"][name])
        self._random_state = state["random"]

    def go_on_from(self, path: str | os.PathLike) -> None:
        """Begin with what this client kept of an earlier run: private tensors, and modules of ``checkpoint_state``.

        Optimisers, counters and random state are new, as they are for clients without such a state.

        Raises:
            InputError: the file is missing or damaged, or its tensors do not fit.
        """
        cure = (
            "set the sizes of the networks to those of the earlier run, or start from its exported file alone"
        )
        state = load_tensors(path, cure=cure)
        carry_over = carry_over_of(self._workflow.parser, self.bundle_root)
        if not state.keys() >= STATE:
            raise InputError(f"{path}: holds no client's state; {cure}")
        earlier = carry_over(state["private"], {}) if carry_over else state["private"]
        known = {name.split(".", 1)[0] for name in earlier}  # the others were exchanged, and are as they come
        private = {k: v for k, v in self._private().items() if k.split(".", 1)[0] in known}
        fault = misfit(private, {name: earlier[name] for name in private if name in earlier})
        if fault:
            raise InputError(f"{path}: the client's state does not fit its network ({fault}); {cure}")
        with torch.no_grad():
            for name, tensor in private.items():
                tensor.copy_(earlier[name])
        for name, value in self._objects().items():
            before = state["objects"].get(name)
            if isinstance(value, nn.Module) and before and misfit(value.state_dict(), before) is None:
                value.load_state_dict(before)

    def begin(self, start: Start | None) -> None:
        """Let the bundle's ``federation::begun`` keep what it needs of the federation's start (None: there is none).

        It is called with the exchanged weights of the start in the network; the client's first round may be a later
        one, whose weights are others.

        Raises:
            InputError: the start does not fit the network.
        """
        parser = self._workflow.parser
        if BEGUN not in parser:
            return
        with self._own_randomness(keep=False):
            if start is not None:
                carry_over = carry_over_of(parser, self.bundle_root)
                self.load_shared(weights_of(start, carry_over, self.shared_weights()))
            parser.get_parsed_content(BEGUN)(start is not None)

    def _private(self) -> dict[str, Tensor]:
        """The tensors of the network that are not exchanged, as they live in it."""
        shared = set(self._shared_names)
        return {k: v for k, v in self.trainer.network.state_dict().items() if k not in shared}

    def export(self, weights: Mapping[str, Tensor]) -> bool:
        """Evaluate the bundle's ``federation::export`` with the global ``weights`` in the network.

        Returns:
            Whether the bundle has such an expression.
        """
        with self._own_randomness(keep=False):
            self.load_shared(weights)
            found = EXPORT in self._workflow.parser
            if found:
                content = self._workflow.parser.get_parsed_content(EXPORT)
                if callable(content):  # a component with ``_mode_: callable``
                    content()
        return found

    def _training_images(self) -> int:
        return len(self._workflow.parser.get_parsed_content("train::dataset"))

    def _content(self, id: str, default: Callable[[], Any]) -> Any:
        parser = self._workflow.parser
        return parser.get_parsed_content(id) if id in parser else default()

    @contextlib.contextmanager
    def _own_randomness(self, keep: bool = True) -> Iterator[None]:
        """The client's random state inside, the process's again outside; ``keep``: remember its draws."""
        outside = RandomState().state_dict()
        if self._random_state is not None:
            RandomState().load_state_dict(self._random_state)
        try:
            yield
            if keep:
                self._random_state = RandomState().state_dict()
        finally:
            RandomState().load_state_dict(outside)

    def _objects(self) -> dict[str, Any]:
        """What has a state besides network (its tensors are kept apart), trainer and random state."""
        elsewhere = (self.trainer.network, self.trainer)
        objects = {
            name: value
            for name, value in self._stateful.items()
            if not isinstance(value, RandomState) and not any(value is other for other in elsewhere)
        }
        for name in ("optimizer", "scaler"):  # the scaler is mixed precision's
            value = getattr(self.trainer, name, None)
            if value is not None and not any(value is other for other in objects.values()):
                objects[f"trainer {name}"] = value
        return objects

    def _optimizers(self) -> list[Optimizer]:
        """Those of ``checkpoint_state`` and of the trainer's attributes."""
        found = (*self._objects().values(), *vars(self.trainer).values())
        return list({id(value): value for value in found if isinstance(value, Optimizer)}.values())

    def _shared_parameters(self) -> list[nn.Parameter]:
        parameters = dict(self.trainer.network.named_parameters(remove_duplicate=False))
        return [parameters[name] for name in self._shared_names if name in parameters]

    def _check_epoch_length(self, updates: int) -> None:
        found = self.trainer.state.epoch_length
        if found != updates:
            raise InputError(
                f"{self.bundle_root}: expected epochs of {updates} updates (updates_per_round), "
                f"found {found}; let the config's trainer take epoch_length: '@epoch_length'"
            )

    def _metrics(self) -> dict[str, float]:
        """The trainer's scalar metrics; those of a stock trainer without any: its last loss."""
        found = self.trainer.state.metrics.items()
        metrics = {str(k): float(v) for k, v in found if _is_scalar(v)}  # MONAI's names may be an enum's
        output = self.trainer.state.output
        first = output[0] if isinstance(output, list) and output else output
        if not metrics and isinstance(first, dict) and _is_scalar(first.get("loss")):
            metrics = {"loss": float(torch.as_tensor(first["loss"]).detach())}
        return metrics


@contextlib.contextmanager
def _steps(optimizers: Sequence[Optimizer]) -> Iterator[list[Optimizer]]:
    """Whose each step is that optimisers take inside."""
    taken: list[Optimizer] = []
    hooks = [
        optimizer.register_step_post_hook(lambda stepped, *_: taken.append(stepped))
        for optimizer in optimizers
    ]
    try:
        yield taken
    finally:
        for hook in hooks:
            hook.remove()


def _is_scalar(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)
