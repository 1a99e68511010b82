from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from ignite.engine import Events
from monai.engines.utils import CommonKeys as Keys
from monai.networks.nets import UNet

from shared_components.data.augmentation import SliceAugmentation
from shared_components.engines.adaptation_trainer import AdaptationTrainer, cosine_decay
from shared_components.errors import InputError
from shared_components.losses.masked_segmentation import KnownDiceCELoss
from shared_components.networks.discriminator import Discriminator
from shared_components.networks.translator import AdaptationNetwork, Translator


def batches(count: int) -> list[dict]:
    random = torch.Generator().manual_seed(3)

    def image():
        return torch.rand(4, 1, 24, 24, generator=random) * 2 - 1

    return [
        {
            "image": image(),
            "label": torch.zeros(4, 1, 24, 24, dtype=torch.long),
            "labelled": torch.zeros(4, dtype=torch.bool),
            "index": 4 * number + torch.arange(4),
            "domain": torch.ones(4, dtype=torch.long),
            "position": (torch.arange(4) + 0.5) / 4,
            "source": image(),
            "twin": image(),
            "source_label": (image() > 0).long(),
            "source_position": (torch.arange(4) + 0.5) / 4,
        }
        for number in range(count)
    ]


def trainer(phases, average: float = 0.0, **settings) -> AdaptationTrainer:
    torch.manual_seed(0)
    segmenter = UNet(2, 1, 2, channels=(4, 8), strides=(2,), norm="instance")
    discriminator = Discriminator(24, 2, 4, (8, 8, 6, 4), width=8)
    network = AdaptationNetwork(segmenter, Translator((4, 8)), discriminator, average)
    return AdaptationTrainer(
        device=torch.device("cpu"),
        network=network,
        optimizer=torch.optim.Adam(network.segmenter.parameters(), 1e-2),
        translator_optimizer=torch.optim.Adam(network.translator.parameters(), 1e-2),
        discriminator_optimizer=torch.optim.Adam(network.discriminator.parameters(), 1e-2),
        loss_function=KnownDiceCELoss(),
        phases=phases,
        **{
            "own_share": 0.5,
            "train_data_loader": batches(sum(phases)),
            "max_epochs": 1,
            "epoch_length": sum(phases),
            "augmentation": SliceAugmentation(),
        }
        | settings,
    )


def moved(engine: AdaptationTrainer) -> set[str]:
    before = {name: value.clone() for name, value in engine.network.state_dict().items()}
    engine.run()
    after = engine.network.state_dict()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_cosine_decay_ends():
    assert cosine_decay(0, 10) == 1.0 and cosine_decay(10, 10, 0.1) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ((2, 0, 0), {"translator", "discriminator"}),
        ((0, 2, 0), {"segmenter"}),
        ((0, 0, 2), {"segmenter"}),
        ((1, 1, 1), {"translator", "discriminator", "segmenter", "teacher"}),
    ],
)
def test_each_phase_moves_its_own_networks(phases, expected):
    assert moved(trainer(phases)) == expected


@pytest.mark.parametrize(
    ("phases", "expected"), [((2, 0, 0), {"translator", "discriminator"}), ((0, 2, 0), {"segmenter"})]
)
def test_what_is_left_of_an_epoch_belongs_to_the_last_phase(phases, expected):
    """A phase of 0 is left out, also where the others do not fill the last epoch."""
    engine = trainer(phases, epoch_length=3, train_data_loader=batches(3))
    seen = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: seen.append(set(engine.state.output[Keys.LOSS]))
    )
    assert moved(engine) == expected
    assert seen[2] == seen[1] and not any("self_training" in losses for losses in seen)


def test_the_teacher_is_the_segmenter_as_it_was_when_self_training_began():
    engine = trainer((0, 1, 2))
    kept = {}

    def keep(e):
        if e.state.iteration == 1:
            kept.update({n: v.clone() for n, v in e.network.segmenter.state_dict().items()})

    engine.add_event_handler(Events.ITERATION_COMPLETED, keep)
    engine.run()
    teacher = engine.network.teacher.state_dict()
    assert all(torch.equal(kept[name], teacher[name]) for name in kept)
    assert any(not torch.equal(kept[n], v) for n, v in engine.network.segmenter.state_dict().items())


def test_the_average_follows_the_segmenter_and_teaches():
    engine = trainer((0, 2, 1), average=0.5)
    seen = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: seen.append(copy.deepcopy(e.network.segmenter.state_dict()))
    )
    engine.run()
    for name, taught in engine.network.teacher.state_dict().items():
        torch.testing.assert_close(taught, seen[1][name] + 0.1 * (seen[0][name] - seen[1][name]))
    assert int(engine.network.average.n_averaged) == 3
    assert engine.network.result is engine.network.average.module


def test_each_round_of_self_training_begins_with_a_new_teacher_and_the_full_rate():
    engine = trainer((0, 1, 5), rounds=2)
    teachers, rates = [], []

    def note(e):
        teachers.append(copy.deepcopy(e.network.teacher.state_dict()))
        rates.append(e.optimizer.param_groups[0]["lr"])

    engine.add_event_handler(Events.ITERATION_COMPLETED, note)
    engine.run()
    name = next(iter(teachers[0]))
    changed = [not torch.equal(one[name], two[name]) for one, two in pairwise(teachers)]
    assert changed == [True, False, True, False, False]  # 2 and 3 updates
    assert rates[1] == rates[3] == 1e-2 and rates[2] < rates[1] and rates[5] < rates[4] < rates[3]


def test_rounds_are_checked():
    with pytest.raises(InputError, match=r"self_training_rounds: expected 1 to 2, .* found 3"):
        trainer((0, 1, 2), rounds=3)


def test_own_slices_have_an_augmentation_of_their_own():
    seen = []

    def noted(image, label):
        seen.append((image, label))
        return image, label

    engine = trainer((0, 1, 1), own_augmentation=noted, own_share=0.5, confidence=0.6)
    engine.run()
    ((image, label),) = seen
    assert torch.equal(image, batches(2)[1]["image"][:2]) and label.shape == image.shape
    scores = torch.softmax(engine.network.teacher(image), dim=1).amax(dim=1, keepdim=True)
    assert torch.equal(label == -1, scores < 0.6) and bool((label == -1).any())


def test_own_labels_take_the_place_of_the_teachers():
    engine = trainer((0, 0, 1))
    batch = batches(1)[0]
    batch["label"] = torch.ones_like(batch["label"])
    batch["labelled"] = torch.tensor([True, False, True, False])
    label = engine._own_labels(batch, 3)
    teacher = engine.network.teacher(batch["image"]).argmax(dim=1, keepdim=True)
    assert label.shape == (3, 1, 24, 24)
    assert bool((label[0] == 1).all()) and torch.equal(label[1], teacher[1]) and bool((label[2] == 1).all())


def test_the_teacher_labels_what_the_client_has_not_annotated():
    engine = trainer((0, 0, 1))
    batch = batches(1)[0]
    batch["label"] = torch.ones_like(batch["label"])
    batch["label"][:, :, :10] = -1
    batch["labelled"] = torch.ones_like(batch["labelled"])
    label = engine._own_labels(batch, 3)
    teacher = engine.network.teacher(batch["image"]).argmax(dim=1, keepdim=True)[:3]
    assert bool((label[:, :, 10:] == 1).all()) and torch.equal(label[:, :, :10], teacher[:, :, :10])


def segmentation_losses(own_labels: bool, **changes) -> float:
    """The loss of one update of phase 2, whose batch has one labelled own slice, changed by ``changes``."""
    engine = trainer((0, 1, 0), own_labels=own_labels)
    batch = {**batches(1)[0], "labelled": torch.tensor([True, False, False, False])} | changes
    engine.state.iteration = 1
    engine._iteration(engine, batch)
    return float(engine.state.output["loss"]["segmentation"])


def test_own_labels_train_the_segmentation_only_where_they_are_wanted():
    ones = torch.ones(4, 1, 24, 24, dtype=torch.long)
    nobody = {"labelled": torch.zeros(4, dtype=torch.bool)}
    assert segmentation_losses(True) != segmentation_losses(True, label=ones)
    assert segmentation_losses(False) == segmentation_losses(False, label=ones)
    assert segmentation_losses(True, **nobody) == segmentation_losses(False)


@pytest.mark.parametrize(
    ("phases", "size", "looks"),
    [
        ((0, 6, 0), 1, {"twin", "source"}),
        ((2, 6, 0), 2, {"twin", "source", "translation"}),
        ((0, 1, 6), 4, {"twin", "source"}),
    ],
)
def test_small_batches_get_every_look_in_turn(phases, size, looks):
    seen = []

    def noted(images, labels):
        seen.extend(images.mean(dim=(1, 2, 3)).round().int().tolist())
        return images, labels

    levels = {"twin": 2.0, "source": 5.0}
    made = [
        {k: torch.full_like(v, levels[k]) if k in levels else v for k, v in batch.items()}
        for batch in batches(sum(phases))
    ]
    cut = [{name: value[:size] for name, value in batch.items()} for batch in made]
    engine = trainer(phases, own_share=0.75, train_data_loader=cut, augmentation=noted)
    engine.own_augmentation = lambda images, labels: (images, labels)
    engine.run()
    seen = seen[sum(phases[1:2]) * size if phases[2] else 0 :]
    named = {2: "twin", 5: "source"}
    assert {named.get(level, "translation") for level in seen} == looks


def test_phases_that_never_come_are_pointed_out(caplog):
    trainer((0, 6, 6), epoch_length=2, max_epochs=2)
    assert "max_epochs (2 of 2 updates) ends before phases do, [0, 6, 6]" in caplog.text
    caplog.clear()
    trainer((0, 2, 2), epoch_length=3, max_epochs=2)
    assert "max_epochs" not in caplog.text


def test_without_twins_every_second_slice_is_translated():
    seen = []
    made = [{name: value for name, value in batch.items() if name != "twin"} for batch in batches(2)]
    trainer(
        (1, 1, 0),
        train_data_loader=made,
        augmentation=lambda images, labels: seen.append(images) or (images, labels),
    ).run()
    same = [torch.equal(image, source) for image, source in zip(seen[0], made[1]["source"], strict=True)]
    assert same == [False, True, False, True]


@pytest.mark.parametrize(
    ("more", "expected"), [({}, [0, 1, 0, 1]), ({"twin_domain": torch.tensor([1, 0, 0, 0])}, [1, 0, 0, 0])]
)
def test_translations_are_judged_as_what_they_are_to_look_like(monkeypatch, more, expected):
    own = {"domain": torch.tensor([0, 1, 0, 1])}
    engine = trainer((1, 0, 0), train_data_loader=[batches(1)[0] | own | more])
    judged = []
    passed = Discriminator.forward

    def noted(self, image, domain, position):
        judged.append(domain.tolist())
        return passed(self, image, domain, position)

    monkeypatch.setattr(Discriminator, "forward", noted)
    engine.run()
    assert judged == [[0, 1, 0, 1], expected, expected]  # own slices, then translations by both steps


@pytest.mark.parametrize("phases", [(0, 1, 1), (0, 0, 1)])
def test_synthetic_slices_fill_a_batch_of_self_training(phases):
    sizes = []

    class Loss(KnownDiceCELoss):
        def forward(self, scores, label):
            sizes.append(len(scores))
            return super().forward(scores, label)

    engine = trainer(phases, own_share=0.5)
    engine.loss_function = Loss()
    engine.run()
    assert set(sizes) == {4}


def test_phases_are_checked():
    with pytest.raises(InputError, match="phases: expected three numbers"):
        trainer((0, 1, -1))


@pytest.mark.parametrize("phases", [(1, 0, 1), (0, 1, 1)])
def test_phases_that_need_synthetic_slices_are_refused_without_any(phases):
    synthetic = ("source", "twin", "source_label", "source_position")
    own = [{k: v for k, v in batch.items() if k not in synthetic} for batch in batches(2)]
    with pytest.raises(InputError, match=r"phases: expected \[0, 0, .* has no synthetic slices .* found \["):
        trainer(phases, own_share=1.0, train_data_loader=own).run()


@pytest.mark.parametrize("phases", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_mixed_precision_stays_near(phases):
    found = []
    for amp in (False, True):
        engine = trainer(phases, amp=amp, r1_every=1)
        torch.manual_seed(1)
        engine.run()
        found.append(engine.state.metrics)
        assert all(p.dtype == torch.float32 for p in engine.network.parameters())
    plain, short = found
    assert plain != short
    for name, loss in plain.items():
        assert short[name] == pytest.approx(loss, rel=0.03, abs=0.01), name
