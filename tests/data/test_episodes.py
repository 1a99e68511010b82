from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from shared_components.data.episodes import EpisodeLoader
from shared_components.data.slices import SliceDataset, SliceIndex
from shared_components.errors import InputError

SLICES = 4  # of every subject


class Numbers(Dataset):
    """Slices that are their own number; ``counts``: (labelled, unlabelled) subjects of each domain."""

    def __init__(self, **counts: tuple[int, int]) -> None:
        self.names = list(counts)
        self.items = [
            {"image": f"{domain}{n}", "domain": domain, "subject": f"{domain}{n}"}
            | ({"label": "l"} if n < labelled else {})
            for domain, (labelled, unlabelled) in counts.items()
            for n in range(labelled + unlabelled)
        ]
        self.index = [SliceIndex(item, n, SLICES) for item in range(len(self.items)) for n in range(SLICES)]
        self.labelled = [i for i, where in enumerate(self.index) if "label" in self.items[where.item]]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        item = self.index[number].item
        return {
            "number": torch.tensor(number),
            "subject": torch.tensor(item),
            "domain": torch.tensor(self.names.index(self.items[item]["domain"])),
            "labelled": torch.tensor("label" in self.items[item]),
        }


def domains(batch) -> list[int]:
    return batch["domain"].tolist()


def parts(batch) -> dict[int, int]:
    """Slices of each domain; fails unless those of one domain stand together."""
    found = domains(batch)
    borders = sum(a != b for a, b in pairwise(found))
    assert borders == len(set(found)) - 1
    return dict(Counter(found))


def numbers(iterations) -> list[list[int]]:
    return [
        episode[role]["number"].tolist()
        for iteration in iterations
        for episode in iteration.values()
        for role in ("meta_train", "meta_test")
    ]


THREE = {"a": (2, 3), "b": (1, 2), "c": (2, 0)}


def test_every_iteration_has_two_episodes_of_two_batches():
    loader = EpisodeLoader(Numbers(**THREE), batch_size=4, batches=5)
    iterations = list(loader)
    assert len(iterations) == len(loader) == 5
    for iteration in iterations:
        assert list(iteration) == ["labelled", "unlabelled"]
        for episode in iteration.values():
            assert {role: len(batch["number"]) for role, batch in episode.items()} == {
                "meta_train": 4,
                "meta_test": 4,
            }


def test_batches_are_domain_pure_parts_and_meta_test_is_another_domain():
    held = Counter()
    for iteration in EpisodeLoader(Numbers(**THREE), batch_size=4, batches=60):
        for episode in iteration.values():
            train, test = parts(episode["meta_train"]), parts(episode["meta_test"])
            assert sorted(train.values()) == [2, 2] and list(test.values()) == [4]
            assert not train.keys() & test.keys()
        labelled, unlabelled = iteration["labelled"], iteration["unlabelled"]
        assert parts(labelled["meta_test"]) == parts(unlabelled["meta_test"])  # one split for both
        held.update(set(domains(labelled["meta_test"])))
    assert held.keys() == {0, 1, 2} and min(held.values()) > 8


def test_labelled_episodes_have_labels_and_unlabelled_ones_all_slices():
    loader = EpisodeLoader(Numbers(**THREE), batch_size=4, batches=100)
    seen = {"labelled": set(), "unlabelled": set()}
    for iteration in loader:
        for kind, episode in iteration.items():
            for batch in episode.values():
                seen[kind] |= set(batch["number"].tolist())
                assert kind == "unlabelled" or bool(batch["labelled"].all())
    assert seen["labelled"] == set(loader.dataset.labelled)
    assert seen["unlabelled"] == set(range(len(loader.dataset)))


def test_the_remainder_goes_to_a_random_domain():
    loader = EpisodeLoader(Numbers(a=(2, 0), b=(2, 0), c=(2, 0)), batch_size=5, batches=60, unlabelled=False)
    larger = Counter()
    for iteration in loader:
        counts = parts(iteration["labelled"]["meta_train"])
        assert sorted(counts.values()) == [2, 3]
        larger[max(counts, key=counts.get)] += 1
    assert larger.keys() == {0, 1, 2}


def test_a_batch_smaller_than_the_number_of_domains_takes_random_ones():
    loader = EpisodeLoader(Numbers(**THREE), batch_size=1, batches=60, unlabelled=False)
    assert {domains(i["labelled"]["meta_train"])[0] for i in loader} == {0, 1, 2}


def test_several_meta_test_domains_share_the_batch():
    for iteration in EpisodeLoader(Numbers(**THREE), batch_size=4, batches=5, meta_test_domains=2):
        assert sorted(parts(iteration["labelled"]["meta_test"]).values()) == [2, 2]
        assert list(parts(iteration["labelled"]["meta_train"]).values()) == [4]


def test_a_domain_without_labels_takes_part_in_unlabelled_episodes_only():
    held = Counter()
    for iteration in EpisodeLoader(Numbers(a=(1, 0), b=(1, 1), c=(0, 2)), batch_size=4, batches=40):
        labelled, unlabelled = iteration["labelled"], iteration["unlabelled"]
        assert parts(labelled["meta_train"]).keys() | parts(labelled["meta_test"]).keys() == {0, 1}
        assert not parts(labelled["meta_train"]).keys() & parts(labelled["meta_test"]).keys()
        held.update(set(domains(unlabelled["meta_test"])))
        if 2 not in domains(unlabelled["meta_test"]):
            assert domains(labelled["meta_test"]) == domains(unlabelled["meta_test"])
    assert held.keys() == {0, 1, 2}


def test_one_labelled_domain_is_split_by_subjects():
    test_subjects = set()
    for iteration in EpisodeLoader(Numbers(a=(3, 1), b=(0, 2)), batch_size=4, batches=40):
        train, test = iteration["labelled"]["meta_train"], iteration["labelled"]["meta_test"]
        assert set(domains(train) + domains(test)) == {0}
        assert not set(train["subject"].tolist()) & set(test["subject"].tolist())
        assert set(train["subject"].tolist() + test["subject"].tolist()) == {0, 1, 2}
        test_subjects |= set(test["subject"].tolist())
        assert parts(iteration["unlabelled"]["meta_train"]) != parts(iteration["unlabelled"]["meta_test"])
    assert test_subjects == {0, 1, 2}


def test_images_of_one_patient_are_never_in_both_batches():
    dataset = Numbers(a=(4, 0))
    for number, item in enumerate(dataset.items):
        item["patient"] = "xy"[number // 2]
    for iteration in EpisodeLoader(dataset, batch_size=4, batches=20):
        train, test = iteration["labelled"]["meta_train"], iteration["labelled"]["meta_test"]
        assert {n // 2 for n in train["subject"].tolist()} ^ {n // 2 for n in test["subject"].tolist()} == {
            0,
            1,
        }


def test_one_subject_serves_both_batches():
    for iteration in EpisodeLoader(Numbers(a=(1, 0)), batch_size=2, batches=6):
        episode = iteration["labelled"]
        drawn = episode["meta_train"]["number"].tolist() + episode["meta_test"]["number"].tolist()
        assert sorted(drawn) == [0, 1, 2, 3]  # one pass over its four slices


def test_every_pool_is_passed_over_evenly():
    loader = EpisodeLoader(Numbers(a=(2, 0), b=(2, 0)), batch_size=4, batches=20, unlabelled=False)
    drawn = Counter(number for batch in numbers(loader) for number in batch)
    assert drawn == dict.fromkeys(range(16), 10)


def test_kinds_are_left_out_when_switched_off_or_empty():
    some, none = Numbers(**THREE), Numbers(a=(0, 2), b=(0, 2))
    assert list(next(iter(EpisodeLoader(some, 2, 1, labelled=False)))) == ["unlabelled"]
    assert list(next(iter(EpisodeLoader(some, 2, 1, unlabelled=False)))) == ["labelled"]
    assert list(next(iter(EpisodeLoader(none, 2, 1)))) == ["unlabelled"]
    with pytest.raises(InputError, match="no episodes: the training data have no labelled slices"):
        EpisodeLoader(none, 2, 1, unlabelled=False)


def test_restoring_torchs_random_state_repeats_the_epoch():
    loader = EpisodeLoader(Numbers(**THREE), batch_size=4, batches=5)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second = numbers(loader), numbers(loader)
    torch.set_rng_state(state)
    assert numbers(loader) == first != second


def test_slices_of_volumes_are_collated(tmp_path, save_image):
    items = []
    for number, domain in enumerate("aab"):
        image = np.random.default_rng(number).normal(size=(12, 10, 3)).astype(np.float32)
        path = save_image(tmp_path / f"{number}.nii.gz", image)
        label = save_image(tmp_path / f"{number}_seg.nii.gz", (image > 0).astype(np.uint8))
        items.append({"image": str(path), "label": str(label), "domain": domain, "subject": str(number)})
    slices = SliceDataset(items, "ab", size=16, spacing=None)
    batch = next(iter(EpisodeLoader(slices, batch_size=2, batches=1)))["labelled"]["meta_test"]
    assert batch["image"].shape == batch["label"].shape == (2, 1, 16, 16)
    assert batch["domain"].dtype == torch.int64 and len(set(domains(batch))) == 1


@pytest.mark.parametrize("sizes", [{"batch_size": 0}, {"batches": 0}, {"meta_test_domains": 0}])
def test_sizes_of_no_sense_are_refused(sizes):
    with pytest.raises(InputError, match="expected at least one slice a batch, one batch and one meta-test"):
        EpisodeLoader(Numbers(**THREE), **{"batch_size": 2, "batches": 1} | sizes)


def test_meta_test_domains_must_leave_one_to_train_on():
    with pytest.raises(InputError, match="meta_test_domains: expected fewer than the 3 domains"):
        EpisodeLoader(Numbers(**THREE), 2, 1, meta_test_domains=3)
