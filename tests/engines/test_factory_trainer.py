from __future__ import annotations

import pytest
import torch
from ignite.engine import Events

from shared_components.engines.factory_trainer import FactoryTrainer, lazy_adam
from shared_components.errors import InputError
from shared_components.losses.adversarial import PathLengthPenalty, r1_penalty
from shared_components.losses.domain_rehearsal import DomainRehearsal
from shared_components.losses.semantic_alignment import SemanticAlignment
from shared_components.networks.discriminator import Discriminator
from shared_components.networks.discriminator_augmentation import DiscriminatorAugmentation
from shared_components.networks.factory import FactoryNetwork
from shared_components.networks.frozen_discriminator import FrozenDiscriminator
from shared_components.networks.generator import Generator
from shared_components.networks.image_encoder import RandomEncoder
from tests.engines.device_reads import Reads

CHANNELS = (8, 8, 6, 4)
COARSE_ENTRANCES = ("discriminator.from_image.2", "discriminator.from_image.3")  # of 3 and 6 px


def batches(count: int) -> list[dict]:
    random = torch.Generator().manual_seed(7)
    return [
        {
            "image": torch.rand(4, 1, 24, 24, generator=random) * 2 - 1,
            "domain": torch.tensor([0, 1, 0, 1]),
            "interval": torch.tensor([[0.0, 0.25], [0.25, 0.5], [0.5, 0.75], [0.75, 1.0]]),
        }
        for _ in range(count)
    ]


def trainer(updates: int = 4, critic: type = Discriminator, encoding: int = 0, **settings) -> FactoryTrainer:
    torch.manual_seed(0)
    generator = Generator(
        24, 2, 4, CHANNELS, z_dim=8, w_dim=8, mapping_layers=2, mapping_lr=0.01, encoding=encoding
    )
    network = FactoryNetwork(generator, critic(24, 2, 4, CHANNELS, width=8))
    return FactoryTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=batches(updates),
        network=network,
        optimizer=lazy_adam(network.generator.parameters(), 2e-3, 4),
        discriminator_optimizer=lazy_adam(network.discriminator.parameters(), 2e-3, 16),
        epoch_length=updates,
        **{"r1_gamma": 10.0, "path_length_weight": 2.0, "ema_decay": 0.995} | settings,
    )


def test_lazy_adam_corrects_rate_and_betas():
    adam = lazy_adam([torch.nn.Parameter(torch.zeros(1))], 0.02, 4)
    group = adam.param_groups[0]
    assert group["lr"] == pytest.approx(0.016)
    assert group["betas"] == (0.0, pytest.approx(0.99**0.8))
    assert lazy_adam([torch.nn.Parameter(torch.zeros(1))], 0.02, 0).param_groups[0]["lr"] == 0.02


def test_lazy_adam_moves_some_more_slowly():
    generator = Generator(24, 2, 4, CHANNELS, z_dim=8, w_dim=8, mapping_layers=2, mapping_lr=0.01)
    adam = lazy_adam(generator.rated_parameters(0.1), 0.02, 4)
    assert [group["lr"] for group in adam.param_groups] == [pytest.approx(0.016), pytest.approx(0.0016)]
    slow = {id(parameter) for parameter in adam.param_groups[1]["params"]}
    assert slow == {id(layer.noise_strength) for layer in generator.layers}
    assert sum(len(group["params"]) for group in adam.param_groups) == len(list(generator.parameters()))
    (whole,) = lazy_adam(generator.rated_parameters(1.0), 0.02, 4).param_groups
    assert len(whole["params"]) == len(list(generator.parameters()))


def test_the_embedding_of_domains_may_move_faster():
    generator = Generator(24, 2, 4, CHANNELS, z_dim=8, w_dim=8, mapping_layers=2, mapping_lr=0.01)
    adam = lazy_adam(generator.rated_parameters(0.1, 5.0), 0.02, 4)
    rates = {id(p): group["lr"] for group in adam.param_groups for p in group["params"]}
    assert rates[id(generator.condition.linear.weight)] == pytest.approx(0.08)
    assert rates[id(generator.condition.linear.bias)] == pytest.approx(0.016)
    assert rates[id(generator.layers[0].noise_strength)] == pytest.approx(0.0016)
    assert len(rates) == len(list(generator.parameters()))


def test_lazy_terms_come_at_their_intervals():
    engine = trainer(4, r1_every=2, path_length_every=3)
    seen = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(set(e.state.output["loss"])))
    engine.run()
    assert ["r1" in names for names in seen] == [True, False, True, False]
    assert ["path_length" in names for names in seen] == [True, False, False, True]
    assert {"discriminator", "generator", "r1", "path_length"} <= engine.state.metrics.keys()


def test_r1_is_added_with_half_of_gamma_for_every_step_that_it_stands_for():
    batch, gradients = batches(1)[0], []
    told = batch["domain"], batch["interval"].mean(1)
    for gamma in (0.0, 10.0):
        engine = trainer(1, r1_gamma=gamma, r1_every=3)
        engine.state.iteration = 1
        engine._discriminator_step(batch["image"], *told)
        gradients.append({n: p.grad for n, p in engine.network.discriminator.named_parameters()})
    critic, real = trainer(1).network.discriminator, batch["image"].requires_grad_()
    (15 * r1_penalty(critic(real, *told), real)).backward()  # 10 / 2 · 3
    for name, parameter in critic.named_parameters():
        if parameter.grad is not None:
            added = gradients[1][name] - gradients[0][name]
            assert torch.allclose(added, parameter.grad, rtol=1e-3, atol=1e-5), name


def test_every_network_moves_and_the_average_lags():
    engine = trainer(4, growth={2: 2}, fade=2)
    before = {name: value.clone() for name, value in engine.network.state_dict().items()}
    engine.run()
    after = engine.network.state_dict()
    still = [n for n in before if torch.equal(before[n], after[n]) and not n.startswith(COARSE_ENTRANCES)]
    assert still == [], still
    name = "generator.constant"
    moved = (after[name] - before[name]).abs().sum()
    lagged = (after["generator_ema.constant"] - before[name]).abs().sum()
    assert 0 < float(lagged) < float(moved)


def test_steps_touch_their_own_network_only():
    engine = trainer(1, path_length_weight=0.0)
    engine.state.iteration = 1
    batch = batches(1)[0]
    generator = {n: p.clone() for n, p in engine.network.generator.named_parameters()}
    position = batch["interval"].mean(1)
    engine._discriminator_step(batch["image"], batch["domain"], position)
    assert all(torch.equal(generator[n], p) for n, p in engine.network.generator.named_parameters())
    discriminator = {n: p.clone() for n, p in engine.network.discriminator.named_parameters()}
    engine._generator_step(batch["domain"], position)
    assert all(torch.equal(discriminator[n], p) for n, p in engine.network.discriminator.named_parameters())
    assert not torch.equal(generator["constant"], engine.network.generator.constant)


def test_style_mixing_takes_rows_from_two_latents_only_when_asked():
    domain, position = torch.zeros(64, dtype=torch.long), torch.zeros(64)
    for probability, mixed in ((0.0, 0), (1.0, 64)):
        w_plus = trainer(1, style_mixing=probability)._w_plus(domain, position)
        differs = (w_plus != w_plus[:, :1]).any(dim=2)  # (64, rows)
        assert int(differs.any(dim=1).sum()) == mixed
        assert bool((differs.int().diff(dim=1) >= 0).all())  # one crossover: first latent, then the second


def test_path_length_mean_is_kept():
    penalty = PathLengthPenalty()
    trainer(1, path_length=penalty).run()
    assert float(penalty.mean) > 0


def test_growth_goes_from_coarse_to_fine_and_fades():
    engine = trainer(1, growth={4: 3, 2: 4}, fade=2)
    seen = [engine.growth.resolution(update) for update in range(10)]
    assert seen[:3] == [(1, 1.0)] * 3
    assert seen[3:7] == [(2, 0.5), (2, 1.0), (2, 1.0), (2, 1.0)]
    assert seen[7:] == [(3, 0.5), (3, 1.0), (3, 1.0)]
    assert trainer(1).growth.resolution(0) == (3, 1.0)
    with pytest.raises(
        InputError, match=r"growth: expected divisors of the image size among \[8, 4, 2\], found 16"
    ):
        trainer(1, growth={16: 3})


def test_coarse_training_leaves_the_fine_layers_alone():
    engine = trainer(2, growth={4: 2}, path_length_weight=0.0)
    before = {name: value.clone() for name, value in engine.network.generator.named_parameters()}
    engine.run()
    moved = {n for n, p in engine.network.generator.named_parameters() if not torch.equal(before[n], p)}
    assert "layers.2.convolution.weight" in moved and "to_image.1.weight" in moved
    assert not any(name.startswith(("layers.3", "layers.5", "to_image.2", "to_image.3")) for name in moved)
    assert int(engine.network.generator_ema.updates) == 2


def test_growth_goes_on_where_a_federation_does_not_exchange_the_counter():
    engine = trainer(2, growth={2: 3}, fade=0)
    levels = []
    step = engine._discriminator_step
    engine._discriminator_step = lambda *batch: (
        levels.append(engine.growth.resolution(engine._updates)[0]) or step(*batch)
    )
    for epoch in range(3):
        engine.state.max_epochs = epoch + 1
        engine.run()
        engine.network.generator.updates.zero_()
    assert levels == [2, 2, 2, 3, 3, 3]


def rehearsed(engine: FactoryTrainer) -> DomainRehearsal:
    return DomainRehearsal(engine.network.generator, 10.0, 4, ["a", "b"], rehearsed=["a"])


def test_rehearsal_holds_the_average_with_which_the_training_began():
    engine = trainer(2)
    engine.network.generator_ema.updates += 5  # it goes on from a trained one
    before = engine.network.generator_ema.constant.clone()
    engine.rehearsal = rehearsed(engine)
    engine.run()
    assert float(engine.state.metrics["rehearsal"]) > 0
    assert torch.equal(engine.rehearsal.teacher.constant, before)
    engine.state.max_epochs = 2
    engine.run()
    assert torch.equal(engine.rehearsal.teacher.constant, before)
    alone = trainer(2)
    alone.run()
    assert "rehearsal" not in alone.state.metrics


def test_an_average_that_does_not_come_with_the_trained_generator_begins_as_that_and_is_held():
    engine = trainer(2)
    with torch.no_grad():
        engine.network.generator.constant += 1
    engine.network.generator.updates += 5  # a federation has sent it, and keeps the average at each client
    before = engine.network.generator.constant.clone()
    engine.rehearsal = rehearsed(engine)
    engine.run()
    assert torch.equal(engine.rehearsal.teacher.constant, before)
    assert "rehearsal" in engine.state.metrics


def test_an_update_reads_no_value_of_the_device():
    augmentation = DiscriminatorAugmentation(target=0.6, images=500_000, every=2)
    augmentation.p.fill_(0.5)
    engine = trainer(1, growth={2: 2}, fade=2, augmentation=augmentation)
    for engine.state.iteration in (1, 2):
        with Reads() as reads:
            engine._iteration(engine, batches(1)[0])
        assert reads.found == []
    with Reads() as reads:
        float(augmentation.p)
    assert reads.found == ["_local_scalar_dense"]


def test_augmentation_at_0_shows_the_discriminator_the_images_as_they_are():
    losses = []
    for target in (None, 1.0):  # at 1 the overfitting is never above the target, p stays 0
        engine = trainer(1, augmentation=DiscriminatorAugmentation(target=target, images=500_000))
        engine.augmentation.forward = _with_state_kept(engine.augmentation.forward)
        engine.run()
        losses.append({name: engine.state.metrics[name] for name in ("discriminator", "generator", "r1")})
    assert losses[0] == losses[1]


def _with_state_kept(forward):
    """The random state outside is as if nothing had been drawn inside."""

    def call(images):
        with torch.random.fork_rng(devices=[]):
            return forward(images)

    return call


def test_the_augmentation_grows_with_the_overfitting_and_is_logged():
    augmentation = DiscriminatorAugmentation(target=-1.0, images=80, every=2)
    engine = trainer(6, augmentation=augmentation, r1_every=2)
    seen = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.append(float(augmentation.p)))
    engine.run()
    assert seen == pytest.approx([0.0, 0.1, 0.1, 0.2, 0.2, 0.3])
    assert engine.state.metrics["augmentation_p"] == pytest.approx(0.1)  # what was used, not what comes next
    assert -1 < engine.state.metrics["overfitting"] <= 1


def test_the_generator_learns_through_the_augmentation():
    augmentation = DiscriminatorAugmentation(target=0.6, images=500_000)
    augmentation.p.fill_(0.8)
    engine = trainer(1, augmentation=augmentation, path_length_weight=0.0)
    engine.state.iteration = 1
    before = {n: p.clone() for n, p in engine.network.generator.named_parameters()}
    engine._generator_step(batches(1)[0]["domain"], torch.rand(4))
    moved = {n for n, p in engine.network.generator.named_parameters() if not torch.equal(before[n], p)}
    assert moved == {n for n in before if not n.endswith("noise_strength")} | {
        n for n in moved if "noise" in n
    }


def test_heights_are_drawn_from_the_slices_intervals_and_single_slices_have_none():
    engine = trainer(1)
    engine.state.iteration = 1
    drawn = []
    step = engine._generator_step
    engine._generator_step = lambda domain, position, known: drawn.append(position) or step(domain, position)
    batch = batches(1)[0]
    batch["interval"][3] = torch.nan
    for _ in range(12):
        engine._iteration(engine, batch)
    heights = torch.stack(drawn)[:, :3]
    assert bool((heights >= batch["interval"][:3, 0]).all() and (heights <= batch["interval"][:3, 1]).all())
    assert float(heights.std(0).min()) > 0.02
    assert bool(torch.stack(drawn)[:, 3].isnan().all())
    generator = engine.network.generator
    assert generator.slices_seen.tolist() == [[0, 1], [1, 1]]
    assert all(bool(parameter.isfinite().all()) for parameter in engine.network.parameters())


def test_mixed_precision_stays_near_and_differentiates_twice_in_float32():
    losses = []
    for amp in (False, True):
        engine = trainer(1, amp=amp)
        engine.run()
        losses.append(engine.state.metrics)
        assert all(
            parameter.grad.dtype == torch.float32 for parameter in engine.network.generator.parameters()
        )
    assert losses[0]["r1"] == losses[1]["r1"]  # before any step, of the same weights and images
    assert losses[0]["generator"] != losses[1]["generator"]
    assert losses[0]["generator"] == pytest.approx(losses[1]["generator"], rel=0.02)
    assert losses[0]["path_length"] == pytest.approx(losses[1]["path_length"], rel=0.02)


@pytest.mark.parametrize("switch", [{"channels_last": True}, {"compiled": "aot_eager"}])
def test_faster_forms_compute_the_same(switch):
    """The first discriminator step: before it both forms have the same weights, and see the same images."""
    engines = [trainer(1), trainer(1, **switch)]
    for engine in engines:
        torch.manual_seed(1)
        engine.run()
    kernel = engines[1].network.generator.layers[0].convolution.weight
    last = kernel.is_contiguous(memory_format=torch.channels_last) and not kernel.is_contiguous()
    assert last == ("channels_last" in switch)
    for name in ("discriminator", "r1", "real_logit"):
        one, other = (engine.state.metrics[name] for engine in engines)
        assert other == pytest.approx(one, rel=1e-4, abs=1e-6), name
    first, second = (dict(engine.network.discriminator.named_parameters()) for engine in engines)
    for name, parameter in first.items():
        if parameter.grad is not None:
            assert torch.allclose(second[name].grad, parameter.grad, rtol=1e-3, atol=1e-5), name


def test_on_frozen_features_heads_learn_through_augmentation_growth_and_lazy_terms():
    augmentation = DiscriminatorAugmentation(target=-1.0, images=64, every=2)
    settings = {"augmentation": augmentation, "r1_every": 2, "growth": {2: 2}, "fade": 2}
    engine = trainer(4, FrozenDiscriminator, **settings)
    critic = engine.network.discriminator
    held = {name: value.clone() for name, value in critic.features.network.state_dict().items()}
    before = {name: value.clone() for name, value in engine.network.state_dict().items()}
    engine.run()
    after = engine.network.state_dict()
    still = {name for name in before if torch.equal(before[name], after[name])}
    assert still == {"discriminator.fingerprint"}
    assert all(torch.equal(held[name], value) for name, value in critic.features.network.state_dict().items())
    assert float(augmentation.p) == pytest.approx(0.25) and float(engine.state.metrics["r1"]) > 0
    assert not any("features" in name for name in after)


def test_a_discriminator_of_other_frozen_features_does_not_begin():
    engine = trainer(1, FrozenDiscriminator)
    engine.network.discriminator.fingerprint += 1
    with pytest.raises(InputError, match="frozen_features: expected the features"):
        engine.run()


def told(**settings) -> FactoryTrainer:
    """A trainer whose generator's condition is told the mean embedding of the slices of its second domain."""
    slices = [{"image": torch.zeros(1, 24, 24), "domain": torch.tensor(1)}]
    semantic = SemanticAlignment(RandomEncoder(), 0.0, slices, ["a", "b"], condition=99)
    return trainer(2, encoding=99, semantic=semantic, **settings)


def test_coarse_images_are_not_compared_with_the_mean_of_fine_ones():
    slices = [{"image": torch.zeros(1, 24, 24), "domain": torch.tensor(1)}]
    semantic = SemanticAlignment(RandomEncoder(), 1.0, slices, ["a", "b"])
    seen = []
    engine = trainer(3, semantic=semantic, growth={2: 2}, fade=1)
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: seen.append("semantic" in e.state.output["loss"])
    )
    engine.run()
    assert seen == [False, False, True]


def test_the_condition_is_told_the_clients_own_encoding_in_every_epoch_whatever_a_federation_sends():
    engine = told(encoded_share=1.0)
    engine.run()
    own, networks = engine.semantic.means[1], (engine.network.generator, engine.network.generator_ema)
    assert float(own.norm()) == pytest.approx(1, abs=1e-5)
    assert all(torch.equal(n.condition.encodings, torch.stack([own * 0, own])) for n in networks)
    assert engine.network.generator.condition.semantic.weight.grad.abs().sum() > 0
    with torch.no_grad():
        for network in networks:
            network.condition.encodings.mul_(0.25)  # an average with three that do not know it
    engine.state.max_epochs = 2
    engine.run()
    assert torch.equal(engine.network.generator_ema.condition.encodings[1], own)


def test_half_of_the_samples_are_told():
    engine = told(path_length_weight=0.0)
    engine.run()
    seen = []
    condition = engine.network.generator.condition
    condition.register_forward_hook(
        lambda module, inputs, output: seen.extend(of.float().mean() for of in inputs[2:])
    )
    engine._w_plus(torch.ones(4000, dtype=torch.long), torch.rand(4000))
    assert len(seen) == 2 and float(seen[0]) == float(seen[1]) == pytest.approx(0.5, abs=0.05)
    engine.network.generator.mapping(torch.randn(2, 8), torch.tensor([0, 1]), torch.rand(2))
    assert len(seen) == 2  # without being told whether, wherever it is known
