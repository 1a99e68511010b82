"""Which updates an iteration makes, of what, and from what."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

from shared_components.engines.meta_trainer import MetaTrainer
from shared_components.errors import InputError
from shared_components.losses.generalisation import GeneralisationLoss
from shared_components.networks.adain_decoder import AdainDecoder
from shared_components.networks.disentangled import AnatomySegmenter, DisentangledNetwork
from shared_components.networks.pseudo_labels import FrozenTeacher
from shared_components.networks.style_encoder import StyleEncoder
from tests.engines.test_factory_trainer import Reads
from tests.losses.test_generalisation import PUBLISHED


def network() -> DisentangledNetwork:
    torch.manual_seed(0)
    unet = UNet(2, 1, 4, (4, 8), (2,), norm="instance")
    encoder = StyleEncoder(channels=(4,), style=3, domain=2, hidden=6, grid=2)
    return DisentangledNetwork(unet, encoder, AdainDecoder(4, 5, channels=4, hidden=6), classes=2, domains=2)


def half(seed: int, domain: int) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {
        "image": torch.rand(2, 1, 16, 16, generator=random) * 2 - 1,
        "label": torch.randint(2, (2, 1, 16, 16), generator=random),
        "domain": torch.full((2,), domain),
        "labelled": torch.tensor([True, False]),
        "index": 2 * seed + torch.arange(2),
    }


def episode(seed: int) -> dict[str, dict[str, torch.Tensor]]:
    return {"meta_train": half(seed, 0), "meta_test": half(seed + 1, 1)}


BATCHES = [{"labelled": episode(n), "unlabelled": episode(n + 10)} for n in (1, 3)]


def trained(batches=BATCHES, **options) -> tuple[MetaTrainer, nn.Module]:
    module = options.pop("network", None) or network()
    defaults = {
        "optimizer": torch.optim.SGD(module.parameters(), lr=0.1),
        "loss_function": GeneralisationLoss(2, **PUBLISHED, pixels=50),
    }
    trainer = MetaTrainer(
        device=torch.device("cpu"), max_epochs=1, train_data_loader=batches, network=module,
        **(defaults | options),
    )  # fmt: skip
    torch.manual_seed(1)
    trainer.run()
    return trainer, module


def weights(module: nn.Module) -> torch.Tensor:
    trained = [p.detach().flatten() for p in module.parameters() if p.requires_grad]
    return torch.cat(trained or [p.detach().flatten() for p in module.parameters()])


def test_every_module_learns_and_every_term_is_reported():
    trainer, module = trained()
    before = network()
    for name, child in module.named_children():
        assert not torch.equal(weights(child), weights(getattr(before, name))), name
    terms = {"reconstruction", "domain", "dice", "focal", "regression", "kl", "hsic", "rank"}
    assert set(trainer.state.metrics) == terms | {"meta_test", "unlabelled"}


def test_an_inner_step_of_length_zero_is_no_inner_step():
    second, first = (weights(trained(inner_rate=0.0, second_order=order)[1]) for order in (True, False))
    assert torch.allclose(second, first, atol=1e-6)
    assert not torch.allclose(weights(trained(inner_rate=0.5)[1]), first, atol=1e-6)


def test_the_second_order_and_the_choice_of_parameters_matter():
    options = ({}, {"second_order": False}, {"adapted": ["decoder"]}, {"meta_learning": False})
    results = [weights(trained(inner_rate=0.5, **option)[1]) for option in options]
    for number, one in enumerate(results):
        assert all(not torch.allclose(one, other, atol=1e-6) for other in results[number + 1 :])


def test_plain_training_is_gradient_descent_on_both_halves_together():
    batch = [{"labelled": episode(1)}]
    _, found = trained(batch, meta_learning=False, clip_value=None)
    expected, loss = network().train(), GeneralisationLoss(2, **PUBLISHED, pixels=50)
    joined = {key: torch.cat([h[key] for h in episode(1).values()]) for key in half(1, 0)}
    torch.manual_seed(1)
    sum(loss.meta_train(expected(joined["image"]), joined, True).values()).backward()
    with torch.no_grad():
        for parameter in expected.parameters():
            if parameter.requires_grad:
                parameter.sub_(0.1 * parameter.grad)
    assert torch.allclose(weights(found), weights(expected), atol=1e-6)


def test_the_teacher_labels_what_has_no_label_from_its_epoch_on():
    seen = []

    class Loss(GeneralisationLoss):
        def meta_train(self, output, batch, labelled):
            seen.append((labelled, batch["label"].clone()))
            return super().meta_train(output, batch, labelled)

    module = network()
    teacher = FrozenTeacher(AnatomySegmenter(module.anatomy_encoder, 2))
    trainer = MetaTrainer(
        device=torch.device("cpu"), max_epochs=2, train_data_loader=[{"unlabelled": episode(1)}], network=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1), teacher_epochs=[2],
        loss_function=Loss(2, **PUBLISHED, pixels=50), teacher=teacher,
    )  # fmt: skip
    trainer.run()
    assert [labelled for labelled, _ in seen] == [False, True]
    batch = episode(1)["meta_train"]
    assert torch.equal(seen[1][1][0], batch["label"][0])  # its own label
    assert torch.equal(seen[1][1][1], teacher(batch["image"], batch["index"])[1])
    partly = batch | {"label": torch.where(torch.arange(16) < 5, -1, batch["label"])}
    taught = trainer._taught(partly, partly["index"])["label"]
    assert torch.equal(taught[0, ..., 5:], batch["label"][0, ..., 5:])
    assert torch.equal(taught[0, ..., :5], teacher(batch["image"], batch["index"])[0, ..., :5])


def test_the_warm_up_trains_the_anatomy_encoder_alone_with_plain_steps():
    trainer, module = trained([{"labelled": episode(1), "unlabelled": episode(2)}], warm_up_epochs=1)
    changed = {
        n
        for n, child in module.named_children()
        if not torch.equal(weights(child), weights(getattr(network(), n)))
    }
    assert changed == {"anatomy_encoder", "averaged_encoder"}
    assert set(trainer.state.metrics) == {"dice", "focal"}


def test_gradients_are_clipped_after_what_was_to_be_done_with_them_before_the_trainer_was_made():
    """Such as their mean over several processes."""
    steps = []

    def enlarged(optimizer, *_):
        for parameter in optimizer.param_groups[0]["params"]:
            if parameter.grad is not None:
                parameter.grad *= 1e3

    for clip in (1e-4, None):
        module = network()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        optimizer.register_step_pre_hook(enlarged)
        before = weights(module)
        trained([{"labelled": episode(1)}], network=module, optimizer=optimizer, clip_value=clip)
        steps.append((weights(module) - before).abs().max())
    assert steps[0] <= 1.01 * 0.1 * 1e-4 < steps[1]


def test_gradients_are_clipped_by_value():
    _, module = trained([{"labelled": episode(1)}], clip_value=1e-4)
    assert (weights(module) - weights(network())).abs().max() <= 0.1 * 1e-4 * 1.01


def test_augmentation_sees_both_halves_once_an_episode():
    sizes = []

    def augmentation(image, label):
        sizes.append(len(image))
        return -image, label

    plain, mirrored = trained()[1], trained(augmentation=augmentation)[1]
    assert sizes == [4, 4, 4, 4]
    assert not torch.equal(weights(plain), weights(mirrored))


def test_an_update_without_any_loss_is_told():
    loss = GeneralisationLoss(2)
    for meta_learning in (True, False):
        with pytest.raises(InputError, match="unlabelled_updates: false"):
            trained(loss_function=loss, meta_learning=meta_learning)
    trained([{"labelled": episode(1)}], loss_function=loss)  # the ablation without them
    teacher = FrozenTeacher(AnatomySegmenter(network().anatomy_encoder, 2))
    waiting, _ = trained(loss_function=loss, teacher=teacher, teacher_epochs=[2])
    assert "unlabelled" not in waiting.state.metrics


def test_without_disentanglement_plain_training_makes_class_scores_alone():
    """Neither codes nor reconstruction, which cost more than half of the time; the losses are the same."""
    plain = GeneralisationLoss(2)
    assert not plain.disentangles and GeneralisationLoss(2, regression=0.1).disentangles
    batch = [{"labelled": episode(1)}]
    trainer, found = trained(batch, loss_function=plain, meta_learning=False)
    before = network()
    assert torch.equal(weights(found.style_encoder), weights(before.style_encoder))
    assert torch.equal(weights(found.decoder), weights(before.decoder))
    warm, same = trained(batch, loss_function=plain, warm_up_epochs=1)  # the same update by another name
    assert torch.equal(weights(found), weights(same)) and trainer.state.metrics == warm.state.metrics


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"inner_rate": -1}, "inner_rate: expected 0 or more, found -1"),
        ({"clip_value": 0}, "clip_value: expected a number above 0, or null for no clipping, found 0"),
        ({"warm_up_epochs": None}, "warm_up_epochs: expected a whole number from 0 up, found None"),
        (
            {"teacher_epochs": 3},
            r"teacher_epochs: expected a list of epochs, from 1 on, found 3; \[\] for no",
        ),
        ({"teacher_epochs": [0]}, r"teacher_epochs: expected a list .* found \[0\]"),
        ({"adapted": ["encoder"]}, "'encoder' names no trained parameter"),
        (
            {"adapted": "decoder"},
            r"adapted: expected a list of modules, found 'decoder'; write \['decoder'\]",
        ),
    ],
)
def test_wrong_settings_are_told(option, message):
    with pytest.raises(InputError, match=message):
        trained(**option)


def test_a_warm_up_without_end_is_pointed_out(caplog):
    trained(warm_up_epochs=1)
    assert "warm_up_epochs (1) leaves none of the 1 epochs for what comes after" in caplog.text
    caplog.clear()
    trained()
    assert "warm_up_epochs" not in caplog.text


@pytest.mark.parametrize(
    ("warm_up", "epochs", "expected"),
    [
        (
            0,
            [9],
            "teacher_epochs (9) lie after the last of the 1 epochs: slices without labels teach nothing",
        ),
        (1, [1], "teacher_epochs begin with 1, within the warm-up of 1 epochs"),
        (0, [1], ""),
        (1, [], ""),
    ],
)
def test_a_teacher_that_never_teaches_or_too_early_is_pointed_out(caplog, warm_up, epochs, expected):
    teacher = FrozenTeacher(AnatomySegmenter(network().anatomy_encoder, 2))
    trained(teacher=teacher, warm_up_epochs=warm_up, teacher_epochs=epochs)
    assert expected in caplog.text and ("teacher_epochs" in caplog.text) == bool(expected)


class Unchecked(GeneralisationLoss):
    """Labels are looked at where the host has them, before they are sent, and on a GPU not again."""

    def check_label(self, label):
        pass


@pytest.mark.parametrize("warm_up", [0, 1])
@pytest.mark.parametrize("teacher_epochs", [[], [1]])
def test_an_iteration_reads_nothing_of_the_device(teacher_epochs, warm_up):
    """But for the rank's eigenvectors, one small matrix of each update, which the host finds."""
    module = network()
    teacher = FrozenTeacher(AnatomySegmenter(module.anatomy_encoder, 2))
    engine, _ = trained(
        network=module, optimizer=torch.optim.SGD(module.parameters(), lr=0.1), teacher=teacher,
        teacher_epochs=teacher_epochs, warm_up_epochs=warm_up, loss_function=Unchecked(2, **PUBLISHED, pixels=50),
    )  # fmt: skip
    with Reads() as reads:
        engine._iteration(engine, BATCHES[0])
    assert reads.found == []


def test_labels_are_checked_before_they_are_sent():
    broken = episode(1)
    broken["meta_test"]["label"][0] = 2
    with pytest.raises(InputError, match=r"label: expected 0\.\.1, found 0\.\.2"):
        trained()[0]._on_device(broken)


@pytest.mark.parametrize(
    "options", [{}, {"second_order": False}, {"meta_learning": False}, {"warm_up_epochs": 1}]
)
def test_mixed_precision_stays_near(options):
    plain, short = (
        trained([{"labelled": episode(1)}], amp=amp, **options)[0].state.metrics for amp in (False, True)
    )
    for name, loss in plain.items():
        assert short[name] == pytest.approx(loss, rel=0.03, abs=0.01), name
    assert plain != short
    once = {"reconstruction", "domain", "rank"} & plain.keys()
    exact = options == {}  # the first half of an episode, which is differentiated twice
    assert all((plain[name] == short[name]) == exact for name in once)
