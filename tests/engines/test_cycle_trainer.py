"""Intra-domain, inter-domain and cycle steps."""

from __future__ import annotations

import copy

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.utils import CommonKeys as Keys

from shared_components.engines.cycle_trainer import CycleTrainer
from shared_components.engines.random_state import RandomState
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
    entrances = {
        f"from_image.{n}" for n in range(1, len(engine.discriminator.from_image))
    }  # of coarser images
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
