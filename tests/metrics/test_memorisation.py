from __future__ import annotations

import pytest
import torch

from shared_components.metrics.memorisation import (
    data_copying,
    distance_ratio,
    membership_inference,
    memorisation,
    nearer_to_training,
    nearest,
)


@pytest.fixture
def sets():
    """Training, held-out and fresh points of one distribution."""
    random = torch.Generator().manual_seed(0)
    return tuple(torch.randn(count, 20, generator=random) for count in (200, 150, 300))


def test_nearest_of_points_on_a_line():
    references = torch.tensor([[0.0], [2.0], [5.0]])
    found = nearest(torch.tensor([[1.9], [6.0]]), references, 2)
    assert found.index.tolist() == [[1, 0], [2, 1]]
    assert torch.allclose(found.distance, torch.tensor([[0.1, 1.9], [1.0, 4.0]]))


def test_ratio_by_hand():
    training = torch.tensor([[0.0], [1.0], [3.0]])
    found = distance_ratio(torch.tensor([[0.0], [-1.0]]), training)
    assert torch.allclose(found.distance[:, 0], torch.tensor([0.0, 1 / ((1 + 2 + 4) / 3)]))
    assert found.index[:, 0].tolist() == [0, 0]


def test_fresh_samples_are_not_memorised(sets):
    training, held_out, fresh = sets
    found = memorisation(fresh, training, held_out)
    assert not found.flagged and found.rate.value < 0.05
    assert found.chance.value == 0.01


def test_smoothed_samples_are_not_taken_for_copies_though_they_are_near_to_everything(sets):
    training, held_out, fresh = sets
    assert not memorisation(0.3 * fresh, training, held_out).flagged
    assert data_copying(0.3 * fresh, training, held_out) < -10, "the published test does"


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_noisy_copies_are_counted(sets, share):
    training, held_out, fresh = sets
    copies = int(share * 300)
    generated = torch.cat([training.repeat(2, 1)[:copies] + 0.1 * fresh[:copies], fresh[copies:]])
    found = memorisation(generated, training, held_out)
    assert found.flagged and found.rate.low <= share <= found.rate.high + 0.02
    assert found.index[:copies].tolist() == [*range(200), *range(200)][:copies]


def test_few_held_out_samples_flag_nothing_small(sets):
    training, held_out, fresh = sets
    generated = torch.cat([training[:30], fresh[:270]])  # a tenth are copies
    assert memorisation(generated, training, held_out).flagged
    assert not memorisation(generated, training, held_out[:5]).flagged


def test_two_held_out_samples_flag_nothing(sets):
    training, held_out, fresh = sets
    copies = training + 0.01 * fresh[:200]
    found = memorisation(copies, training, held_out[:2])
    assert found.rate.value == 1.0 and not found.flagged and found.chance.high > 0.8
    assert memorisation(copies, training, held_out[:10]).flagged


def toy(seed: int, alike: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training and held-out slices of ten volumes of twenty each, and what an honest factory draws of new volumes.

    Args:
        seed: of the draws.
        alike: correlation of the slices of a volume.
    """
    random = torch.Generator().manual_seed(seed)

    def draw(number: int, slices: int) -> torch.Tensor:
        centre = alike**0.5 * torch.randn(number, 1, 20, generator=random)
        return (centre + (1 - alike) ** 0.5 * torch.randn(number, slices, 20, generator=random)).flatten(0, 1)

    return draw(400, 1), draw(10, 20), draw(10, 20)


def test_slices_of_one_volume_do_not_count_as_so_many_patients():
    """Of strongly alike slices a fifth of honest factories would be flagged."""
    volumes = torch.arange(200) // 20
    alone = [memorisation(*toy(seed, 0.9)).flagged for seed in range(25)]
    together = [memorisation(*toy(seed, 0.9), volumes).flagged for seed in range(25)]
    assert sum(alone) >= 3 and not any(together)


def test_copies_are_counted_though_slices_of_a_volume_are_alike():
    generated, training, held_out = toy(0, 0.5)
    generated[:120] = training[:120] + 0.05 * generated[:120]
    assert memorisation(generated, training, held_out, torch.arange(200) // 20).flagged


def own_patients(*sets: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Each slice is of another patient."""
    return tuple(torch.arange(len(of)) for of in sets)


def test_nearer_to_training_is_a_half_for_fresh_samples_however_many_trained(sets):
    training, held_out, fresh = sets
    share = nearer_to_training(fresh, training, held_out[:60], own_patients(training, held_out[:60])).share
    assert share.low < 0.5 < share.high
    copied = nearer_to_training(training, training, held_out, own_patients(training, held_out)).share
    assert copied.value == pytest.approx(0.875, abs=0.04) and copied.low > 0.65


def test_distances_to_the_nearest_are_of_as_many(sets):
    """Of ten times as many training slices the nearest would be nearer by chance."""
    training, held_out, fresh = sets
    found = nearer_to_training(fresh, training, held_out[:20], own_patients(training, held_out[:20]))
    assert found.training == pytest.approx(found.held_out, rel=0.05)
    found = nearer_to_training(fresh, training, fresh, own_patients(training, fresh))
    assert found.held_out == 0.0 < found.training or found.held_out < 0.2 * found.training


def test_patients_and_not_their_slices_are_drawn():
    """Of many training patients as many slices as few held-out ones have would still show many people."""
    shares, above = [], 0
    for seed in range(20):
        generated, training, _ = toy(seed, 0.8)
        held_out = toy(seed + 100, 0.8)[1][:60]
        patients = torch.arange(200) // 20, torch.arange(60) // 20
        share = nearer_to_training(generated, training, held_out, patients, seed).share
        shares.append(share.value)
        above += share.low > 0.5
    assert sum(shares) / len(shares) == pytest.approx(0.5, abs=0.06)
    assert above <= 3, "nearly all, with intervals over slices"


def test_of_two_patients_slices_are_drawn(sets):
    training, held_out, fresh = sets
    two = torch.arange(len(held_out)) // 75
    assert nearer_to_training(fresh, training, held_out, (torch.arange(200), two)) == nearer_to_training(
        fresh, training, held_out, own_patients(training, held_out)
    )


def test_meehans_score_counts_alike_slices_of_a_patient_as_one():
    def extreme(patients: torch.Tensor | None) -> int:
        return sum(abs(data_copying(*toy(seed, 0.8), patients)) > 3 for seed in range(20))

    assert extreme(None) >= 3
    assert extreme(torch.arange(200) // 20) <= 1


def test_meehans_score_is_near_zero_for_fresh_samples(sets):
    training, held_out, fresh = sets
    assert abs(data_copying(fresh, training, held_out)) < 3
    assert data_copying(training, training, held_out) == pytest.approx(-((3 * 200 * 150 / 351) ** 0.5))


def points(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 10, generator=torch.Generator().manual_seed(seed))


def volumes(count: int) -> torch.Tensor:
    return torch.arange(count) // 10


def test_copies_give_every_member_away():
    training, held_out = points(60, 0), points(40, 1)
    found = membership_inference(training, held_out, training + 1e-3, (volumes(60), volumes(40)))
    assert found == (1.0, 1.0, 1.0)


def test_fresh_samples_tell_nothing():
    training, held_out, fresh = points(60, 0), points(40, 1), points(500, 2)
    found = membership_inference(training, held_out, fresh, (volumes(60), volumes(40)))
    assert found.low < 0.5 < found.high and abs(found.value - 0.5) < 0.15


def test_slices_are_drawn_where_there_are_few_volumes():
    training, held_out, fresh = points(60, 0), points(40, 1), points(500, 2)
    one = torch.zeros(60, dtype=torch.int64), torch.zeros(40, dtype=torch.int64)
    found = membership_inference(training, held_out, fresh, one)
    assert found.high - found.low > 0.1, "one volume on each side would make it a point"
