"""Intra-domain, inter-domain and cycle steps."""

from __future__ import annotations

import copy

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.utils import CommonKeys as Keys

from shared_components.engines.published_adaptation import CycleTrainer, SourcePretrainer
from shared_components.engines.saved_state import RandomState
from tests.engines.adaptation_parts import (
    SOURCE,
    TARGET,
    RandomBatches,
    batch,
    changed_children,
    critic,
    losses,
    paths,
    state,
)
from tests.engines.device_reads import Reads

MIXED, NO_TARGET_LABEL, ONE_TARGET_LABEL = [0, 2, 0, 2], [True, False, True, False], [True, True, True, False]
INTRA, INTER = {"intra_image", "intra_source_mask"}, {"cycle_image", "cycle_source_mask", "translated_mask"}


def trainer(network, epochs: int = 1, data=None, **kwargs) -> CycleTrainer:
    if kwargs.get("adversarial_weight"):
        kwargs["discriminator"] = critic()
        optimizer = torch.optim.Adam(kwargs["discriminator"].parameters(), lr=1e-2)
        kwargs["discriminator_optimizer"] = optimizer
    return CycleTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=data or RandomBatches(MIXED, NO_TARGET_LABEL),
        network=network,
        optimizer=torch.optim.Adam(network.adapter.adaptation_parameters(), lr=1e-2),
        **(losses() | kwargs),
    )


def loss_names(engine: CycleTrainer) -> list[set[str]]:
    names: list[set[str]] = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: names.append(set(e.state.output[Keys.LOSS]))
    )
    engine.run()
    return names


def touched(engine: CycleTrainer, loss: torch.Tensor) -> set[str]:
    """Children of the adapter that receive gradient from one loss."""
    adapter = engine.network.adapter
    adapter.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)
    children = dict(adapter.named_children())
    return {
        name
        for name, child in children.items()
        if any(p.grad is not None and p.grad.abs().sum() > 0 for p in child.parameters())
    }


def inter_losses(engine: CycleTrainer, labelled: list[bool]) -> dict[str, torch.Tensor]:
    slices = engine._prepared(batch(MIXED, labelled))
    assert slices["other"].domain.tolist() == [TARGET, SOURCE, TARGET, SOURCE]
    adapter = engine.network.train().adapter
    adapter.injection.advance()
    return engine._inter(slices, adapter.decode(slices["image"], slices["own"], slices["other"]))


def test_steps_alternate():
    engine = trainer(paths(), data=RandomBatches(MIXED, NO_TARGET_LABEL, 4))
    assert isinstance(engine, SupervisedTrainer)
    assert loss_names(engine) == [INTRA, INTER, INTRA, INTER]
    assert engine.state.metrics.keys() >= INTRA | INTER


def test_labelled_target_slices_have_their_own_losses():
    engine = trainer(paths(), data=RandomBatches(MIXED, ONE_TARGET_LABEL))
    assert loss_names(engine) == [INTRA | {"intra_target_mask"}, INTER | {"cycle_target_mask"}]


def test_two_updates_change_encoder_injection_and_target_classifier_only():
    network = paths()
    before = state(network.adapter)
    trainer(network).run()
    assert changed_children(network.adapter, before) == {"encoder", "injection", "target_classifier"}


def test_the_discriminator_is_fine_tuned_outside_the_network():
    network = paths()
    before = state(network.adapter)
    engine = trainer(network, adversarial_weight=0.1)
    critic_before = state(engine.discriminator)
    assert loss_names(engine) == [INTRA, INTER | {"adversarial", "discriminator"}]
    assert changed_children(network.adapter, before) == {"encoder", "injection", "target_classifier"}
    changed = [
        n for n, t in engine.discriminator.state_dict().items() if not torch.equal(t, critic_before[n])
    ]
    # of coarser images
    entrances = {f"from_image.{n}" for n in range(1, len(engine.discriminator.from_image))}
    expected = {n for n, _ in engine.discriminator.named_parameters() if not n.startswith(tuple(entrances))}
    assert set(changed) == expected


def test_gradient_routing_of_intra_losses():
    engine = trainer(paths(), data=RandomBatches(MIXED, ONE_TARGET_LABEL))
    engine.network.adapter.injection.advance()
    slices = engine._prepared(batch(MIXED, ONE_TARGET_LABEL))
    routed = {name: touched(engine, loss) for name, loss in engine._intra(slices).items()}
    assert routed == {
        "intra_image": {"encoder", "injection"},
        "intra_source_mask": {"encoder", "injection"},
        "intra_target_mask": {"encoder", "injection", "target_classifier"},
    }


def test_gradient_routing_of_inter_losses():
    engine = trainer(paths(), adversarial_weight=1.0)
    routed = {name: touched(engine, loss) for name, loss in inter_losses(engine, ONE_TARGET_LABEL).items()}
    assert all(p.grad is None for p in engine.discriminator.parameters())
    assert routed == {
        "translated_mask": {"target_classifier"},
        "adversarial": {"encoder", "injection"},
        "cycle_image": {"encoder", "injection"},
        "cycle_source_mask": {"encoder", "injection"},
        "cycle_target_mask": {"encoder", "injection", "target_classifier"},
    }


def test_the_source_classifier_keeps_its_running_statistics():
    network = paths()
    before = state(network.adapter.source_classifier)
    trainer(network, data=RandomBatches(MIXED, NO_TARGET_LABEL, 4)).run()
    after = network.adapter.source_classifier.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_batch_without_source_slices_still_trains_on_images():
    engine = trainer(paths(), data=RandomBatches([TARGET] * 2, [False] * 2))
    assert loss_names(engine) == [{"intra_image"}, {"cycle_image"}]


def test_an_update_reads_no_value_of_the_device():
    engine = trainer(paths(), adversarial_weight=0.1, r1_every=1)
    (
        engine.optimizer,
        engine.discriminator_optimizer,
    ) = (  # Adam counts its steps on the host, which looks the same
        torch.optim.SGD(parameters, lr=1e-2)
        for parameters in (engine.network.adapter.adaptation_parameters(), engine.discriminator.parameters())
    )
    loaded = batch(MIXED, ONE_TARGET_LABEL)
    prepared = engine._prepared(loaded)  # looks at what has not gone to the device yet
    engine._prepared = lambda batchdata: prepared
    for names in (INTRA, INTER):
        with Reads() as reads:
            engine._iteration(engine, loaded)
        assert reads.found == [] and names <= set(engine.state.output[Keys.LOSS])


@pytest.mark.parametrize("interrupted_after", [1, 2])
def test_resumed_equals_uninterrupted(interrupted_after):
    """The turn of intra and inter survives too, at an odd number of updates."""

    def run(network, epochs, saved=None):
        engine = trainer(network, epochs, RandomBatches(MIXED, NO_TARGET_LABEL, 1), adversarial_weight=0.1)
        entries = [
            network,
            engine.discriminator,
            engine.optimizer,
            engine.discriminator_optimizer,
            RandomState(),
        ]
        torch.manual_seed(5)
        for entry, content in zip(entries, saved or [], strict=saved is not None):
            entry.load_state_dict(content)
        engine.run()
        return copy.deepcopy([entry.state_dict() for entry in entries])

    whole = run(paths(), epochs=4)
    part = run(paths(), epochs=interrupted_after)
    resumed = run(paths(), 4 - interrupted_after, part)
    for number in (0, 1):  # the network and the discriminator
        for name, tensor in whole[number].items():
            assert torch.equal(tensor, resumed[number][name]), name


def test_an_adversarial_weight_needs_a_discriminator():
    network = paths()
    with pytest.raises(ValueError, match="expected a discriminator and its optimizer"):
        CycleTrainer(
            device=torch.device("cpu"),
            max_epochs=1,
            train_data_loader=[],
            network=network,
            optimizer=torch.optim.SGD(network.adapter.adaptation_parameters(), lr=0.1),
            adversarial_weight=1.0,
            epoch_length=1,
            **losses(),
        )


def source_pretrainer_trainer(network, epochs: int, data=None, **kwargs) -> SourcePretrainer:
    return SourcePretrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=data or RandomBatches([SOURCE] * 3, [True] * 3),
        network=network,
        optimizer=torch.optim.Adam(network.adapter.source_parameters(), lr=1e-2),
        **(losses() | kwargs),
    )


def test_two_updates_change_encoder_injection_and_source_classifier_only():
    network = paths(target=SOURCE)
    before = state(network.adapter)
    engine = source_pretrainer_trainer(network, epochs=1)
    engine.run()
    assert isinstance(engine, SupervisedTrainer) and engine.state.iteration == 2
    assert changed_children(network.adapter, before) == {"encoder", "injection", "source_classifier"}
    assert int(network.adapter.injection.updates) == 2


def test_only_the_norms_of_the_source_change():
    network = paths(target=SOURCE)
    before = state(network.adapter.encoder)
    source_pretrainer_trainer(network, epochs=1).run()
    after = network.adapter.encoder.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    norms = {name.split("norms.")[1][0] for name in changed if "norms." in name}
    assert norms == {str(SOURCE)}


class Recorder:
    """A handler that keeps each epoch's metrics."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def attach(self, engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: self.epochs.append(dict(e.state.metrics)))


def test_handlers_find_the_means_of_the_epoch():
    recorder = Recorder()
    engine = source_pretrainer_trainer(
        paths(target=SOURCE), 1, RandomBatches([SOURCE] * 2, [True] * 2, 1), train_handlers=[recorder]
    )
    engine.run()
    output = {name: float(loss) for name, loss in engine.state.output[Keys.LOSS].items()}
    assert set(output) == {"image", "mask"}
    assert recorder.epochs == [pytest.approx(output)]


def test_weights_scale_the_losses():
    def mean_losses(**weights):
        torch.manual_seed(3)
        engine = source_pretrainer_trainer(
            paths(target=SOURCE), 1, RandomBatches([SOURCE] * 2, [True] * 2, 1), **weights
        )
        engine.run()
        return engine.state.metrics

    plain, scaled = mean_losses(), mean_losses(image_weight=2.0, mask_weight=0.5)
    assert scaled["image"] == pytest.approx(2 * plain["image"], rel=1e-5)
    assert scaled["mask"] == pytest.approx(0.5 * plain["mask"], rel=1e-5)


def test_learns_one_batch():
    fixed = next(iter(RandomBatches([SOURCE] * 2, [True] * 2, 1)))
    fixed["label"] = (fixed["image"] > 0).long()
    fixed["label"][:, :, :16] = 0
    engine = source_pretrainer_trainer(paths(target=SOURCE), epochs=15, data=[fixed] * 2)
    history = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: history.append(e.state.metrics["mask"]))
    engine.run()
    assert history[-1] < 0.8 * history[0]


def test_resumed_equals_uninterrupted_of_source_pretrainer():
    whole = paths(target=SOURCE)
    torch.manual_seed(5)
    source_pretrainer_trainer(whole, epochs=2).run()

    first = paths(target=SOURCE)
    engine = source_pretrainer_trainer(first, epochs=1)
    torch.manual_seed(5)
    engine.run()
    saved = (state(first), engine.optimizer.state_dict(), RandomState().state_dict())

    second = paths(target=SOURCE)
    engine = source_pretrainer_trainer(second, epochs=1)
    second.load_state_dict(saved[0])
    engine.optimizer.load_state_dict(saved[1])
    RandomState().load_state_dict(saved[2])
    engine.run()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
